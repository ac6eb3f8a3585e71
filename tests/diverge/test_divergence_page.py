"""What docs/divergence.md shows, is so."""

import contextlib
import io
import re
from pathlib import Path

from snnkit.hw.divergence.result import CAUSES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "divergence.md").read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    """Leave out digits and folds: other processors may add floats in another order."""
    return re.sub(r"-?[\d][\d,.e%-]*", "N", text).split()


def test_the_page_prints_what_it_shows() -> None:
    names: dict = {}
    shown = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(shown) == len(blocks) == 2
    for block, expected in zip(blocks, shown, strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(block, names)
        assert words(printed.getvalue())[:40] == words(expected)[:40]
    assert "were 193 instead of 153" in " ".join(printed.getvalue().split())


def test_the_page_names_every_cause() -> None:
    assert not [cause for cause in CAUSES if f"`{cause}`" not in PAGE]
