"""What docs/sparse-spiking.md shows, runs and prints what the page says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sparse-spiking.md").read_text(encoding="utf-8")


def test_the_page_runs_and_prints_what_it_shows():
    parts = re.findall(r"```(python|text)\n(.*?)```", PAGE, flags=re.DOTALL)
    assert [kind for kind, _ in parts] == ["python", "text", "python"]
    names: dict = {}
    printed = ""
    for kind, content in parts:
        if kind == "python":
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream):
                exec(compile(content, "docs/sparse-spiking.md", "exec"), names)
            printed = stream.getvalue().strip()
        else:
            assert printed == content.strip()
    assert float(names["loss"].detach()) > 0
    assert all(net.synapses.values.grad is not None for net in (names["net"][i] for i in (0, 1, 2)))
