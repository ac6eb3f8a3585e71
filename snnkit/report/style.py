"""How the report's figures look, and how a figure becomes SVG that follows the page's light and dark themes.

Figures are drawn in the light theme's colours, so they look right outside the page too; in the page each
colour becomes the CSS variable of its name.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from snnkit.utilities.backends import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "bare", "drawing", "new_figure", "to_svg"]

COLOURS = {
    "ink": "#1a1f26",
    "muted": "#5c6672",
    "line": "#d5dae1",
    "float": "#5b7083",
    "tuned": "#b06a12",
    "chip": "#0d7a70",
    "bad": "#c0341d",
    "paper": "#fefefe",
}
"""Colour of each role in the light theme; the page's style sheet holds the dark theme's."""

_POINTS = 72.0
_STYLE: Any = {  # matplotlib types the keys as literals
    "font.size": 10,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # class names may hold a dollar sign
    "text.color": COLOURS["ink"],
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.facecolor": "none",
    "axes.titlesize": 10,
    "axes.titleweight": "normal",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "xtick.color": COLOURS["line"],
    "ytick.color": COLOURS["line"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.labelcolor": COLOURS["muted"],
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "lines.linewidth": 1.6,
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "snnkit",
    "svg.image_inline": True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the report's matplotlib settings inside a ``with`` block, and only there."""
    require("matplotlib", "report", "The report")
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of ``width`` x ``height`` points, independent of any window or global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / _POINTS, height / _POINTS))


def bare(axes: "Axes", *, grid: str | None = None) -> "Axes":
    """Remove tick marks; ``grid`` may be "x" or "y"."""
    axes.tick_params(length=0)
    if grid:
        axes.grid(axis=grid, color=COLOURS["line"], linewidth=0.6)  # type: ignore[arg-type]
        axes.set_axisbelow(True)
    return axes


def to_svg(figure: "Figure", alt: str, name: str) -> str:
    """Return ``figure`` as inline SVG: small, themed, described by ``alt``; ``name`` keeps its ids unique."""
    target = io.StringIO()
    figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = target.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg).replace("xlink:href=", "href=")
    svg = svg.replace("url(#", f"url(#{name}-")
    svg = re.sub(r"(\d+\.\d\d)\d+", r"\1", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r">\s+<", "><", svg)
    for role, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{role})")
    box = re.search(r'viewBox="([^"]+)"', svg)
    described = f'<svg viewBox="{box.group(1) if box else ""}" role="img" aria-label="{escape(alt)}">'
    return re.sub(r"^<svg[^>]*>", lambda _: described, svg).strip()
