"""What docs/teleport-training.md shows, runs and prints what the page says."""

import re

from pages import DOCS, page, run_page


def test_the_page_runs_and_prints_what_it_shows():
    run = run_page("teleport-training.md")
    assert run.printed == run.shown
    assert len(run.shown) == 2


def test_the_figures_of_the_page_are_there():
    figures = re.findall(r"\]\((images/[^)]+)\)", page("teleport-training.md"))
    assert figures
    assert all((DOCS / figure).is_file() for figure in figures)
