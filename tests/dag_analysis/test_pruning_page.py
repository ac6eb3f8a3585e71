"""What docs/pruning.md shows, runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "pruning.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_shows():
    parts = re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    printed = ""
    for kind, content in parts:
        if kind == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(content, "docs/pruning.md", "exec"), names)
            printed = stream.getvalue().strip()
        else:
            # Rounding in float64 differs between processors.
            shown, found = (re.sub(r"difference \S+", "", text) for text in (content.strip(), printed))
            assert found == shown
    assert "seq.0_neurons    14" in printed
