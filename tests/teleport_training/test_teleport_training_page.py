"""What docs/teleport-training.md shows, runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "teleport-training.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_shows():
    names: dict = {}
    printed, shown = [], []
    for kind, content in re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL):
        if kind == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(content, "docs/teleport-training.md", "exec"), names)
            printed.append(stream.getvalue())
        else:
            shown.append(content)
    assert printed == shown
    assert len(shown) == 2


def test_the_figures_of_the_page_are_there():
    figures = re.findall(r"\]\((images/[^)]+)\)", PAGE)
    assert figures
    assert all((Path(__file__).resolve().parents[2] / "docs" / figure).is_file() for figure in figures)
