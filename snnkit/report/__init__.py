"""The report of a run: its data, its figures, and one self-contained HTML page."""

from typing import TYPE_CHECKING

from snnkit.report.data import (
    DeploymentRow,
    Divergence,
    EpochRecord,
    Exactness,
    Histogram,
    ReportData,
    Resource,
    SampleTrace,
    ShiftPoint,
    Timing,
)

if TYPE_CHECKING:
    from snnkit.report.page import draw, render

__all__ = [
    "DeploymentRow",
    "Divergence",
    "EpochRecord",
    "Exactness",
    "Histogram",
    "ReportData",
    "Resource",
    "SampleTrace",
    "ShiftPoint",
    "Timing",
    "draw",
    "render",
]


def __getattr__(name: str) -> object:
    # The page needs matplotlib and jinja2; the data must load without them.
    if name in {"draw", "render"}:
        from snnkit.report import page

        return getattr(page, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
