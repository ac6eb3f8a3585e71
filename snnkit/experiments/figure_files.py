"""Figures as SVG files that look right on light and dark pages, and are the same for the same numbers."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

from snnkit.report.style import COLOURS
from snnkit.utilities.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_figure"]


def write_figure(figure: "Figure", path: Path) -> Path:
    """Write ``figure`` as SVG on the report's paper; call inside :func:`snnkit.report.style.drawing`."""
    target = io.StringIO()
    metadata = {"Date": None, "Creator": None}
    figure.savefig(target, format="svg", facecolor=COLOURS["paper"], metadata=metadata)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", target.getvalue(), flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", _rounded, text)
    return write_text(path, re.sub(r">\s*\n\s*<", "><", text).strip() + "\n")


def _rounded(tag: re.Match[str]) -> str:
    """Cut numbers inside a tag to hundredths of a point, which nobody sees; texts between tags stay."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", tag.group())
