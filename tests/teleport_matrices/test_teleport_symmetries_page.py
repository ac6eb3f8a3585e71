"""What docs/teleport-symmetries.md shows, runs and prints what the page says."""

from pages import run_page


def test_the_page_runs_and_prints_what_it_shows():
    run = run_page("teleport-symmetries.md")
    assert run.differing() == []
    assert len(run.pairs) == 4
