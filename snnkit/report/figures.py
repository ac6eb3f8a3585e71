"""The report's figures: each function draws on the matplotlib Axes that it is given and returns it.

They work on any Axes, in a notebook as in the report, whose look :func:`snnkit.report.style.drawing` gives.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from snnkit.report.data import EpochRecord, Histogram, ShiftPoint
from snnkit.report.stages import STAGES
from snnkit.report.style import COLOURS, bare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "NAMED_ROWS",
    "confusion_counts",
    "confusion_matrix",
    "histogram",
    "history_curve",
    "raster",
    "shift_accuracy",
    "shift_saturations",
    "shorten",
]

_NUMBERED_CLASSES = 12
_NAMED_CLASSES = 24
NAMED_ROWS = 16
_LOG_RATIO = 30


def shorten(name: str, length: int = 12) -> str:
    """Cut the middle out of a long name: its end often tells it from its neighbours."""
    if len(name) <= length:
        return name
    end = (length - 1) // 3
    return f"{name[: length - 1 - end]}…{name[-end:]}"


def history_curve(axes: "Axes", history: Sequence[EpochRecord], field: str) -> "Axes":
    """Draw ``field`` ("loss" or "train_accuracy") over all epochs, one line for each stage of training."""
    from matplotlib.ticker import MaxNLocator

    start = 0
    for stage, group in groupby(history, key=lambda record: record.stage):
        values = np.array([getattr(record, field) for record in group], dtype=float)
        values = np.where(np.isfinite(values), values, np.nan)
        if field == "train_accuracy":
            values = values * 100
        colour = COLOURS[STAGES[stage].colour] if stage in STAGES else COLOURS["ink"]
        epochs = np.arange(start + 1, start + 1 + values.size)
        axes.plot(epochs, values, color=colour, marker="o" if values.size == 1 else None, markersize=4)
        if start:
            axes.axvline(start + 0.5, color=COLOURS["line"], linewidth=0.8)
        start += values.size
    bare(axes, grid="y")
    axes.set_xlim(0.5, max(start, 1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if field == "train_accuracy":
        axes.set_ylim(top=101.5)
        axes.set_title("training accuracy, %")
        axes.set_xlabel("epoch")
    else:
        axes.set_title("loss")
        _log_when_wide(axes, [getattr(record, field) for record in history])
    return axes


def _log_when_wide(axes: "Axes", values: Sequence[float]) -> None:
    finite = [value for value in values if np.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) / min(finite) > _LOG_RATIO:
        axes.set_yscale("log")
        axes.set_title(f"{axes.get_title(loc='left')}, logarithmic")
        _plain_log_ticks(axes)


def _plain_log_ticks(axes: "Axes") -> None:
    """Write 0.01 and 1,000 rather than powers of ten: those need a typesetter that SVG text lacks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    )
    axes.yaxis.set_minor_formatter(NullFormatter())


def confusion_counts(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Return counts ``[true class, answered class]``, shape ``(classes, classes)``."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def confusion_matrix(axes: "Axes", counts: np.ndarray, classes: Sequence[str], colour: str) -> "Axes":
    """Draw a confusion matrix; a cell's strength is its share of the recordings of its true class."""
    from matplotlib.patches import Rectangle

    n = len(classes)
    for (true, answered), count in np.ndenumerate(counts):
        if not count:
            continue
        share = count / counts[true].sum()
        fill = colour if true == answered else COLOURS["bad"]
        corner = (answered - 0.5, true - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=fill, alpha=0.12 + 0.88 * share, linewidth=0))
        if n <= _NUMBERED_CLASSES:
            text_colour = COLOURS["paper"] if share > 0.45 else COLOURS["ink"]
            axes.text(answered, true, f"{count}", ha="center", va="center", color=text_colour, fontsize=9)
    edges = np.arange(n + 1) - 0.5
    axes.vlines(edges, -0.5, n - 0.5, color=COLOURS["line"], linewidth=0.5)
    axes.hlines(edges, -0.5, n - 0.5, color=COLOURS["line"], linewidth=0.5)
    _class_ticks(axes, classes)
    axes.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5), aspect="equal")
    axes.spines[:].set_visible(False)
    axes.set_xlabel("answered")
    axes.set_ylabel("true")
    return bare(axes)


def _class_ticks(axes: "Axes", classes: Sequence[str]) -> None:
    n = len(classes)
    if n > _NAMED_CLASSES:
        return
    names, size = [shorten(name, 11) for name in classes], 9 if n <= _NUMBERED_CLASSES else 6.5
    upright = max(map(len, names)) > 2
    axes.set_xticks(range(n), names, rotation=45 if upright else 0, ha="right" if upright else "center")
    if upright:
        for label in axes.get_xticklabels():
            label.set_rotation_mode("anchor")
    axes.set_yticks(range(n), names)
    axes.tick_params(labelsize=size)


def raster(
    axes: "Axes",
    events: np.ndarray,
    *,
    colour: str,
    names: Sequence[str] | None = None,
    different: np.ndarray | None = None,
) -> "Axes":
    """Draw events ``(time, neurons)`` as ticks, fainter for one event a step than for several.

    ``different`` is a mask of the same shape; what it marks is drawn in the colour of errors, faintly where
    there is no event.
    """
    time, neurons = events.shape
    marked = np.zeros(events.shape, dtype=bool) if different is None else different
    for mask, shade, alpha in (
        ((events == 1) & ~marked, colour, 0.65),
        ((events > 1) & ~marked, colour, 1.0),
        (marked & (events > 0), COLOURS["bad"], 1.0),
        (marked & (events == 0), COLOURS["bad"], 0.3),
    ):
        steps, rows = np.nonzero(mask)
        if steps.size:
            axes.plot(*_ticks(steps, rows), color=shade, alpha=alpha, linewidth=_tick_width(time))
    axes.set(xlim=(-1, max(time, 1)), ylim=(neurons - 0.4, -0.6))
    bare(axes)
    if names is not None and len(names) <= NAMED_ROWS and neurons % len(names) == 0:
        each = neurons // len(names)  # a class may have several output neurons, side by side
        middles = np.arange(len(names)) * each + (each - 1) / 2
        axes.set_yticks(middles, [shorten(name, 10) for name in names])
    else:
        axes.set_yticks([0, neurons - 1] if neurons > 1 else [0])
    return axes


def _ticks(steps: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one line with gaps: far smaller as SVG than a line for each event."""
    gap = np.full(steps.size, np.nan)
    x = np.column_stack([steps, steps, gap]).ravel()
    y = np.column_stack([rows - 0.42, rows + 0.42, gap]).ravel()
    return x, y


def _tick_width(time: int) -> float:
    return float(np.clip(200 / max(time, 1), 0.7, 2.2))


def histogram(axes: "Axes", data: Histogram, colour: str, *, alarm: bool = False) -> "Axes":
    """Draw a histogram with the chip's limits as lines, in the colour of errors with ``alarm``."""
    axes.stairs(data.counts, data.edges, fill=True, color=colour, alpha=0.85, linewidth=0)
    occupied = data.counts[data.counts > 0]
    if occupied.size and occupied.max() / np.median(occupied) > _LOG_RATIO:
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.7)
        _plain_log_ticks(axes)
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    limits = [limit for limit in (data.limit_low, data.limit_high) if limit is not None]
    low, high = min([data.edges[0], *limits]), max([data.edges[-1], *limits])
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    shade = COLOURS["bad"] if alarm else COLOURS["muted"]
    for limit in limits:
        axes.axvline(limit, color=shade, linewidth=1.2, linestyle=(0, (3, 2)))
    ticks = [*limits, 0.0] if low < 0 < high else limits or [data.edges[0], data.edges[-1]]
    axes.set_xticks(sorted(ticks), [f"{tick:,.0f}" for tick in sorted(ticks)])
    return bare(axes, grid="y")


def shift_accuracy(axes: "Axes", points: Sequence[ShiftPoint], chosen: int | None = None) -> "Axes":
    """Draw chip accuracy against the weight shift; the deployed shift is a filled point."""
    shifts, values = [p.shift for p in points], [100 * p.accuracy for p in points]
    axes.plot(shifts, values, color=COLOURS["chip"], zorder=2)
    axes.plot(shifts, values, "o", color=COLOURS["chip"], markerfacecolor=COLOURS["paper"], markersize=5)
    for point in points:
        if point.shift == chosen:
            axes.plot(point.shift, 100 * point.accuracy, "o", color=COLOURS["chip"], markersize=8)
    axes.set_title("accuracy, %")
    low, high = min(values), max(values)
    axes.set_ylim(low - max(2.0, 0.12 * (high - low)), high + max(2.0, 0.12 * (high - low)))
    axes.set_xticks(shifts)
    return bare(axes, grid="y")


def _compact(count: int) -> str:
    """``48k`` for 48,211: labels of neighbouring bars must not meet."""
    if count < 10_000:
        return f"{count:,}"
    return f"{count / 1e3:.0f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


def shift_saturations(axes: "Axes", points: Sequence[ShiftPoint]) -> "Axes":
    """Draw how often a state was cut off at its limit, against the weight shift."""
    shifts, counts = [p.shift for p in points], [p.saturations for p in points]
    axes.bar(shifts, counts, color=COLOURS["bad"], width=0.55, alpha=0.85)
    top = max(counts)
    for shift, count in zip(shifts, counts, strict=True):
        axes.annotate(
            _compact(count),
            (shift, count),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=COLOURS["muted"],
        )
    axes.set_title("saturations")
    axes.set_ylim(0, max(top, 1) * 1.2)
    axes.set_yticks([])
    axes.set_xticks(shifts)
    axes.set_xlabel("weight shift")
    axes.spines["left"].set_visible(False)
    return bare(axes)
