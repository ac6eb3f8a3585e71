"""Plots of any results by any fields: what ``snnkit experiment plot`` draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnkit.experiments.figure_files import write_figure
from snnkit.experiments.matrix import Record, Store
from snnkit.experiments.training.curves import at_epoch, band
from snnkit.experiments.training.figures import WORDS, boxes, lines, panels
from snnkit.experiments.training.grouping import Labels, by_label
from snnkit.report.style import drawing
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Plot", "draw_plots"]

_MOST_SERIES = 24


@dataclass(frozen=True)
class Plot:
    """What to draw of the results in a folder.

    Args:
        metrics: Names of :data:`~snnkit.experiments.training.curves.METRICS`; each makes one figure.
        group_by: Fields of the jobs whose values are told apart by colour: "teleport", "optimizer",
            "optimizer.kwargs.lr", ... Everything else is averaged over.
        panel_by: Fields whose values have panels of their own.
        box_epochs: Epochs of the boxes; without any, curves of means are drawn.
    """

    metrics: Sequence[str] = ("val_accuracy",)
    group_by: Sequence[str] = ("teleport", "optimizer")
    panel_by: Sequence[str] = ("dataset", "model")
    box_epochs: Sequence[int] = ()


def draw_plots(store: Store, plot: Plot, folder: Path) -> list[Path]:
    """Draw the results of all finished jobs of ``store`` into ``folder``; return the SVG files.

    Raises:
        ConfigurationError: no such metric or field, an epoch that no run reached, or too many series.
        FileFormatError: there are no results.
    """
    records = store.records()
    longest = max(len(record.result["curves"]["lr"]) for record in records) - 1
    beyond = [epoch for epoch in plot.box_epochs if not 0 <= epoch <= longest]
    if beyond:
        raise ConfigurationError(f"Epochs {beyond} are beyond those of the runs, 0 to {longest}.")
    labels = Labels(record.job for record in records)
    of_panels = {
        title: by_label(part, labels, plot.group_by)
        for title, part in by_label(records, labels, plot.panel_by, short=True).items()
    }
    order = list(dict.fromkeys(label for series in of_panels.values() for label in series))
    if len(order) > _MOST_SERIES:
        raise ConfigurationError(
            f"{', '.join(plot.group_by)} make {len(order)} groups; at most {_MOST_SERIES} can be told apart. "
            "Group by fewer fields, or give some of them panels of their own."
        )
    return [_draw(metric, of_panels, order, plot.box_epochs, folder) for metric in plot.metrics]


def _draw(
    metric: str,
    of_panels: dict[str, dict[str, list[Record]]],
    order: list[str],
    box_epochs: Sequence[int],
    folder: Path,
) -> Path:
    scale = 100.0 if metric == "val_accuracy" else 1.0
    with drawing():
        figure, places = panels(len(of_panels), order, of_boxes=bool(box_epochs))
        for axes, (title, series) in zip(places, of_panels.items(), strict=True):
            if box_epochs:
                values = {
                    label: {epoch: (scale * at_epoch(some, metric, epoch)).tolist() for epoch in box_epochs}
                    for label, some in series.items()
                }
                boxes(axes, values, order)
            else:
                curves = {}
                for label, some in series.items():
                    found = band(some, metric)
                    error = np.nan_to_num(found.error)
                    epochs = np.arange(found.mean.size, dtype=float)
                    mean, spread = scale * found.mean, scale * error
                    curves[label] = (epochs.tolist(), mean.tolist(), spread.tolist())
                lines(axes, curves, order)
            axes.set(title=title, xlabel="epoch", ylabel=WORDS.get(metric, metric))
        kind = "boxes" if box_epochs else "curves"
        return write_figure(figure, folder / f"{metric}-{kind}.svg")
