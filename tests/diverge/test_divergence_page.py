"""What docs/divergence.md shows, is so."""

import re

from pages import page, run_page

from snnkit.hw.divergence.result import CAUSES


def words(text: str) -> list[str]:
    """Leave out digits and folds: other processors may add floats in another order."""
    return re.sub(r"-?[\d][\d,.e%-]*", "N", text).split()


def test_the_page_prints_what_it_shows() -> None:
    run = run_page("divergence.md")
    assert len(run.shown) == len(run.printed) == 2
    for printed, expected in zip(run.printed, run.shown, strict=True):
        assert words(printed)[:40] == words(expected)[:40]
    assert "were 193 instead of 153" in " ".join(run.printed[-1].split())


def test_the_page_names_every_cause() -> None:
    assert not [cause for cause in CAUSES if f"`{cause}`" not in page("divergence.md")]
