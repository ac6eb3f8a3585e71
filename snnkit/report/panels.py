"""The report's drawn panels: which figures stand together, their sizes and their alternative texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnkit.report import figures
from snnkit.report.data import Histogram, ReportData
from snnkit.report.stages import STAGES
from snnkit.report.style import COLOURS, new_figure, to_svg

__all__ = [
    "Panel",
    "confusion_panels",
    "histogram_panels",
    "history_panel",
    "raster_panels",
    "shift_panel",
]

_WIDTH = 340.0
"""Points. About a phone's width, so that text there keeps its size; wider screens enlarge the drawing."""
_SMALL_WIDTH = 290.0
"""Points, for drawings that stand three in a row."""


@dataclass(frozen=True)
class Panel:
    """One drawing with its heading and caption."""

    title: str
    svg: str
    caption: str = ""


def history_panel(data: ReportData) -> Panel:
    """Loss above training accuracy, over the epochs of both stages."""
    figure = new_figure(_WIDTH, 270)
    loss, accuracy = figure.subplots(2, 1, sharex=True)
    figures.history_curve(loss, data.history, "loss")
    figures.history_curve(accuracy, data.history, "train_accuracy")
    last = data.history[-1]
    stages = [stage for stage in STAGES if any(record.stage == stage for record in data.history)]
    counts = " and ".join(
        f"{sum(record.stage == stage for record in data.history)} epochs of {STAGES[stage].training}"
        for stage in stages
    )
    alt = f"Loss and training accuracy over {counts}; the last epoch reached {last.train_accuracy:.1%}."
    return Panel("Learning", to_svg(figure, alt, "history"), f"{counts[0].upper()}{counts[1:]}.")


def confusion_panels(data: ReportData) -> list[Panel]:
    """One confusion matrix for each of float net, fine-tuned net and chip."""
    panels = []
    for key, stage in STAGES.items():
        if key not in data.predictions:
            continue
        words = stage.title
        counts = figures.confusion_counts(data.labels, data.predictions[key], len(data.classes))
        figure = new_figure(_SMALL_WIDTH, _SMALL_WIDTH * 0.95)
        figures.confusion_matrix(figure.subplots(), counts, data.classes, COLOURS[stage.colour])
        right, n = int(np.trace(counts)), data.labels.size
        wrong = n - right
        alt = f"Confusion matrix of {words.lower()}: {right} of {n} right. {_largest_confusion(data, counts)}"
        panels.append(Panel(words, to_svg(figure, alt.strip(), f"confusion-{key}"), f"{wrong} of {n} wrong"))
    return panels


def _largest_confusion(data: ReportData, counts: np.ndarray) -> str:
    off = counts - np.diag(np.diag(counts))
    if not off.any():
        return ""
    true, answered = np.unravel_index(int(off.argmax()), off.shape)
    return f"Most often wrong: {data.classes[true]} answered as {data.classes[answered]} ({off.max()} times)."


def raster_panels(data: ReportData) -> list[Panel]:
    """The sample's events in the net, and beside it in the chip."""
    sample = data.sample
    steps = max(sample.net_output.shape[0], sample.chip_output.shape[0], sample.input.shape[0])
    net = _Rows(sample.input, sample.net_hidden, sample.net_output)
    chip = _Rows(sample.input, sample.chip_hidden, sample.chip_output)
    net_svg = _raster_svg(net, data.classes, "tuned", steps)
    chip_svg = _raster_svg(chip, data.classes, "chip", steps, compared=net, delay=sample.delay)
    return [Panel("Net in torch", net_svg, net.total()), Panel("Chip", chip_svg, chip.total())]


@dataclass(frozen=True)
class _Rows:
    """Events of one recording, each ``(time, rows)``."""

    input: np.ndarray
    hidden: np.ndarray
    output: np.ndarray

    def total(self) -> str:
        return f"{int(self.hidden.sum()):,} hidden and {int(self.output.sum()):,} output events"


def _different(net: np.ndarray, chip: np.ndarray, delay: int) -> np.ndarray:
    """Return a mask over the chip's steps: True where the net, ``delay`` steps earlier, had other events."""
    steps = max(0, min(net.shape[0], chip.shape[0] - delay))
    mask = np.zeros(chip.shape, dtype=bool)
    mask[delay : delay + steps] = chip[delay : delay + steps] != net[:steps]
    return mask


def _raster_svg(
    rows: _Rows,
    classes: Sequence[str],
    key: str,
    steps: int,
    *,
    compared: _Rows | None = None,
    delay: int = 0,
) -> str:
    sizes = [rows.input.shape[1], rows.hidden.shape[1], rows.output.shape[1]]
    named = len(classes) <= figures.NAMED_ROWS
    heights = [20 + 3.5 * min(sizes[0], 16), 150, max(45, 13 * len(classes)) if named else 80]
    figure = new_figure(_WIDTH, sum(heights) + 95)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=heights)
    figures.raster(top, rows.input, colour=COLOURS["muted"]).set_title("input")
    hidden = None if compared is None else _different(compared.hidden, rows.hidden, 0)
    output = None if compared is None else _different(compared.output, rows.output, delay)
    figures.raster(middle, rows.hidden, colour=COLOURS[key], different=hidden).set_title("hidden")
    figures.raster(bottom, rows.output, colour=COLOURS[key], names=classes, different=output)
    bottom.set_title("output")
    bottom.set_xlabel("time step")
    bottom.set_xlim(-1, steps)
    alt = (
        f"Event raster of the {'net' if key == 'tuned' else 'chip'} over {steps} steps: "
        f"{int(rows.input.sum())} input events in {sizes[0]} channels, "
        f"{rows.total()} in {sizes[1]} and {sizes[2]} neurons."
    )
    return to_svg(figure, alt, f"raster-{key}")


def histogram_panels(histograms: Sequence[Histogram], kind: str) -> list[Panel]:
    """One panel for each histogram; ``kind`` is "weight" or "state".

    Each neuron's largest weight is meant to lie at the limit; a state there has lost information.
    """
    panels = []
    for index, data in enumerate(histograms):
        figure = new_figure(_SMALL_WIDTH, 150)
        lost = kind == "state" and data.saturated > 0
        figures.histogram(
            figure.subplots(), data, COLOURS["tuned" if kind == "weight" else "chip"], alarm=lost
        )
        count = int(data.counts.sum())
        told = f"{data.saturated:,} at the limit" if data.saturated else "none at the limit"
        span = f"from {data.edges[0]:g} to {data.edges[-1]:g}"
        alt = f"Histogram of {count:,} values of {data.name}, {span}; {told}."
        panels.append(Panel(data.name, to_svg(figure, alt, f"{kind}-{index}"), f"{count:,} values, {told}"))
    return panels


def shift_panel(data: ReportData) -> Panel:
    """Accuracy above saturations, against the weight shift."""
    figure = new_figure(_WIDTH, 250)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.7, 1])
    figures.shift_accuracy(upper, data.shift_curve, data.shift_chosen)
    figures.shift_saturations(lower, data.shift_curve)
    points = ", ".join(f"{p.shift}: {p.accuracy:.1%} with {p.saturations:,}" for p in data.shift_curve)
    alt = f"Chip accuracy and saturations by weight shift: {points}."
    chosen = "" if data.shift_chosen is None else f" Deployed: {data.shift_chosen}, the filled point."
    caption = f"A larger shift counts states in finer units, until they run into their limits.{chosen}"
    return Panel("Weight shift", to_svg(figure, alt, "shift"), caption)
