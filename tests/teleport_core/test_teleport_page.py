"""What docs/teleport.md shows, runs and prints what the page says."""

from pages import run_page


def test_the_page_runs_and_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = run_page("teleport.md")
    assert run.differing() == []
    assert len(run.pairs) == 4
