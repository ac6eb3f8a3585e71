"""What docs/sparse-spiking.md shows, runs and prints what the page says."""

from pages import run_page


def test_the_page_runs_and_prints_what_it_shows():
    run = run_page("sparse-spiking.md")
    assert run.kinds == ["python", "text", "python"]
    assert run.differing() == []
    assert float(run.names["loss"].detach()) > 0
    assert all(net.synapses.values.grad is not None for net in (run.names["net"][i] for i in (0, 1, 2)))
