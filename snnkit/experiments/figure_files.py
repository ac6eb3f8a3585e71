"""Figures as SVG files that look right on light and dark pages, and are the same for the same numbers."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from snnkit.report.style import COLOURS
from snnkit.utilities.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_figure"]


def write_figure(figure: "Figure", path: Path) -> Path:
    """Write ``figure`` as SVG on the report's paper; call inside :func:`snnkit.report.style.drawing`."""
    target = io.BytesIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(target, format="svg", facecolor=COLOURS["paper"], metadata=metadata)
    return write_bytes(path, target.getvalue())
