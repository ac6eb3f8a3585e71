"""What docs/sparse-pruning.md shows, runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

from snnkit.experiments.registry import experiment_names

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sparse-pruning.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_shows():
    parts = re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    shown = 0
    for (kind, content), (following, expected) in zip(parts, [*parts[1:], ("", "")], strict=True):
        if kind == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(content, "docs/sparse-pruning.md", "exec"), names)
            if following == "text":
                assert stream.getvalue().strip() == expected.strip()
                shown += 1
    assert shown == 3


def test_the_experiments_that_the_page_names_exist():
    named = re.findall(r"snnkit experiment run (\S+)", PAGE)
    assert named
    assert set(named) <= set(experiment_names())
