"""What docs/sparse.md shows, runs and prints what the page says."""

from pages import run_page


def test_the_page_runs_and_prints_what_it_shows():
    run = run_page("sparse.md")
    assert run.differing() == []
    assert run.printed[-1].startswith("StructureChange")
