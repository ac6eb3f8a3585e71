"""What the figures of the measurements share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["legend_above", "plain_log"]


def legend_above(figure: "Figure", columns: int) -> None:
    """Put one legend above all axes, with every label once."""
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        found, labels = axes.get_legend_handles_labels()
        for handle, label in zip(found, labels, strict=True):
            handles.setdefault(str(label), handle)
    figure.legend(
        handles=list(handles.values()),
        labels=list(handles),
        loc="outside upper left",
        ncols=columns,
        fontsize=8,
        frameon=False,
    )


def plain_log(axis: "Axis", ticks: Sequence[float] | None = None) -> None:
    """Write plain numbers at a logarithmic axis: formulas are not parsed in the report's look."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    if ticks is not None:
        axis.set_major_locator(FixedLocator(list(ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
