"""What docs/pruning.md shows, runs and prints what the page says."""

import re

from pages import run_page


def test_the_page_runs_and_prints_what_it_shows():
    run = run_page("pruning.md")
    for printed, said in run.pairs:
        # Rounding in float64 differs between processors.
        shown, found = (re.sub(r"difference \S+", "", text.strip()) for text in (said, printed))
        assert found == shown
    assert "seq.0_neurons    14" in run.printed[-1]
