"""Figures of training results: curves of means, boxes at chosen epochs, accuracy over the learning rate."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from snnkit.report.style import COLOURS, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["WORDS", "boxes", "lines", "look", "over_rates", "panels"]

_HUES = tuple(COLOURS[role] for role in ("chip", "tuned", "float", "bad", "ink", "muted"))
_STYLES = ("-", "--", ":", "-.")
_MARKERS = "osD^vP"
_FILLS = dict(zip(_STYLES, (0.4, 0.1, 0.25, 0.7), strict=True))
_JOINT = " · "
WORDS = {
    "val_accuracy": "validation accuracy, %",
    "val_loss": "validation loss",
    "train_loss": "training loss",
    "lr": "learning rate",
}
_PANEL_WIDTH, _PANEL_HEIGHT, _LEGEND_LINE = 236.0, 176.0, 15.0


def look(label: str, order: Sequence[str]) -> dict[str, str]:
    """Return colour, line style and marker of a series among all, ``order``.

    Of labels in two parts ("teleport · momentum=0.9") the first decides the colour and the second the style,
    as long as the styles suffice; otherwise the place in ``order`` decides all.
    """
    heads = list(dict.fromkeys(one.partition(_JOINT)[0] for one in order))
    rests = list(dict.fromkeys(one.partition(_JOINT)[2] for one in order))
    if len(heads) <= len(_HUES) and len(rests) <= len(_STYLES):
        head, _, rest = label.partition(_JOINT)
        hue, style = heads.index(head), rests.index(rest)
        marker = style
    else:
        hue, style = order.index(label) % len(_HUES), order.index(label) // len(_HUES) % len(_STYLES)
        marker = hue
    return {"color": _HUES[hue], "linestyle": _STYLES[style], "marker": _MARKERS[marker]}


def panels(
    count: int, series: Sequence[str], columns: int = 2, *, of_boxes: bool = False
) -> tuple["Figure", list["Axes"]]:
    """Return a figure of ``count`` axes in ``columns`` columns, with one legend of all series above them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from snnkit.report.style import new_figure

    columns = min(columns, count)
    rows = -(-count // columns)
    in_line = max(1, columns * 2 if max((len(s) for s in series), default=0) < 24 else columns)
    legend = _LEGEND_LINE * -(-len(series) // in_line)
    figure = new_figure(_PANEL_WIDTH * columns, _PANEL_HEIGHT * rows + legend)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[count:]:
        unused.set_visible(False)
    handles: list[Any] = []
    for label in series:
        style: dict[str, Any] = look(label, series)
        if of_boxes:
            handles.append(Patch(label=label, **_box(style)))
        else:
            handles.append(Line2D([], [], markersize=4, label=label, **style))
    figure.legend(
        handles=handles, loc="outside upper left", ncols=in_line, frameon=False, fontsize=8, borderpad=0.1
    )
    return figure, axes[:count]


def lines(
    axes: "Axes",
    series: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    order: Sequence[str],
    *,
    markers: bool = False,
) -> "Axes":
    """Draw series of x, mean and standard error; a label's look follows its place in ``order``."""
    bare(axes, grid="y")
    for label, (x, mean, error) in series.items():
        style = look(label, order)
        if not markers:
            style.pop("marker")
        low, high = np.subtract(mean, error), np.add(mean, error)
        axes.plot(x, mean, markersize=3.5, **style)  # type: ignore[arg-type]
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    return axes


def boxes(axes: "Axes", series: Mapping[str, Mapping[int, Sequence[float]]], order: Sequence[str]) -> "Axes":
    """Draw a box of each series at each epoch: quartiles, whiskers at 1.5 times their distance, the rest."""
    bare(axes, grid="y")
    epochs = sorted({epoch for of_epochs in series.values() for epoch in of_epochs})
    width = 0.8 / max(len(order), 1)
    for label, of_epochs in series.items():
        place, style = order.index(label), look(label, order)
        colour = style["color"]
        offset = (place - (len(order) - 1) / 2) * width
        drawn = axes.boxplot(
            [np.asarray(of_epochs[epoch])[np.isfinite(of_epochs[epoch])] for epoch in epochs],
            positions=[index + offset for index in range(len(epochs))],
            widths=width * 0.8,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": COLOURS["ink"], "linewidth": 1.2},
            boxprops=_box(style),
            whiskerprops={"color": colour, "linewidth": 0.8},
            capprops={"color": colour, "linewidth": 0.8},
            flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour, "alpha": 0.6},
        )
        drawn["boxes"][0].set_label(label)
    axes.set_xticks(range(len(epochs)), [str(epoch) for epoch in epochs])
    axes.set_xlim(-0.6, len(epochs) - 0.4)
    return axes


def _box(style: Mapping[str, str]) -> dict[str, Any]:
    from matplotlib.colors import to_rgba

    colour = style["color"]
    return {"facecolor": to_rgba(colour, _FILLS[style["linestyle"]]), "edgecolor": colour}


def over_rates(axes: "Axes", rates: Sequence[float]) -> "Axes":
    """Give ``axes`` a logarithmic axis of learning rates, ticked at those of the grid."""
    axes.set(xlabel="learning rate", xscale="log")
    axes.set_xticks(list(rates), [f"{rate:g}" for rate in rates])
    axes.set_xticks([], minor=True)
    return axes
