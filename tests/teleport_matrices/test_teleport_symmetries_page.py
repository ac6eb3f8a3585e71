"""What docs/teleport-symmetries.md shows, runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "teleport-symmetries.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_shows():
    names: dict = {}
    printed = ""
    shown = 0
    for kind, content in re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL):
        if kind == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(content, "docs/teleport-symmetries.md", "exec"), names)
            printed = stream.getvalue().strip()
        else:
            assert printed == content.strip()
            shown += 1
    assert shown == 4
