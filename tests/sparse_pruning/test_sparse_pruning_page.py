"""What docs/sparse-pruning.md shows, runs and prints what the page says."""

import re

from pages import page, run_page

from snnkit.experiments.registry import experiment_names


def test_the_page_runs_and_prints_what_it_shows():
    run = run_page("sparse-pruning.md")
    assert run.differing() == []
    assert len(run.pairs) == 3


def test_the_experiments_that_the_page_names_exist():
    named = re.findall(r"snnkit experiment run (\S+)", page("sparse-pruning.md"))
    assert named
    assert set(named) <= set(experiment_names())
