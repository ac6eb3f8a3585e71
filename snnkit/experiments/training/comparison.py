"""Numbers that an experiment with training tells: boxes, learning rates, the best of each, tuned alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.experiments.findings import Table, to_plain
from snnkit.experiments.matrix import Record
from snnkit.experiments.training.curves import at_epoch
from snnkit.experiments.training.grouping import Labels, by_label, grouped

__all__ = ["Panel", "Tuned", "panels_of", "tuned_table"]

METRIC = "val_accuracy"
_RATE = "optimizer.kwargs.lr"


@dataclass(frozen=True)
class Tuned:
    """One way to train at its best learning rate of the grid, which validation accuracy chose."""

    way: str
    setting: str
    validation: float
    test: tuple[float, ...]
    """Test accuracy of each run, in the order of runs."""
    diverged: int
    """Runs at any learning rate whose loss stopped being a number."""


@dataclass(frozen=True)
class Panel:
    """The results of one data set and model.

    Args:
        title: Which.
        boxes: Series -> epoch -> validation accuracy of all runs, whatever their learning rate.
        rates: Series -> learning rates, mean and standard error of the validation accuracy at the end.
        tuned: Way of teleporting -> its best.
    """

    title: str
    boxes: Mapping[str, Mapping[int, tuple[float, ...]]]
    rates: Mapping[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]]
    tuned: tuple[Tuned, ...]

    def lead(self, epoch: int, way: str, other: str) -> float:
        """Return how far the mean of all boxes of ``way`` is above that of ``other``, in points."""
        means = []
        for wanted in (way, other):
            values = [v for label, b in self.boxes.items() if _way(label) == wanted for v in b[epoch]]
            means.append(float(np.mean(values)))
        return 100 * (means[0] - means[1])

    def tuned_lead(self, way: str, other: str) -> tuple[float, float]:
        """Return how far ``way`` is above ``other`` on test images, both tuned: points, standard error."""
        found = {tuned.way: np.array(tuned.test) for tuned in self.tuned}
        difference = 100 * (found[way] - found[other])
        error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.nan
        return float(difference.mean()), float(error)

    def has(self, *ways: str) -> bool:
        """Whether there are results of all these ways."""
        return {tuned.way for tuned in self.tuned} >= set(ways)

    def to_json(self) -> dict[str, Any]:
        """Return what the figures need as plain values."""
        return to_plain({"title": self.title, "boxes": self.boxes, "rates": self.rates})


def _way(label: str) -> str:
    return label.split(" · ", maxsplit=1)[0]


def panels_of(
    records: Sequence[Record], panel_by: Sequence[str], box_epochs: Sequence[int]
) -> tuple[Panel, ...]:
    """Return the panels of a matrix: one for each label of ``panel_by``, series by teleport and optimizer."""
    labels = Labels(record.job for record in records)
    inner = [key for key in labels.varying if key.startswith("optimizer.") and key != _RATE]
    found = []
    for title, part in by_label(records, labels, panel_by, short=True).items():
        series = by_label(part, labels, ["teleport", *inner])
        boxes = {
            label: {epoch: tuple(at_epoch(some, METRIC, epoch).tolist()) for epoch in box_epochs}
            for label, some in series.items()
        }
        rates = {label: _over_rates(some) for label, some in series.items()}
        ways = grouped(part, labels, ["teleport"])
        tuned = tuple(_tuned(way, some, labels) for (way,), some in ways.items())
        found.append(Panel(title, boxes, rates, tuned))
    return tuple(found)


def _over_rates(
    records: Sequence[Record],
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    by_rate: dict[float, list[float]] = {}
    for record in records:
        by_rate.setdefault(record.job.optimizer.lr, []).append(record.result["curves"][METRIC][-1])
    rates = tuple(sorted(by_rate))
    means = tuple(float(np.mean(by_rate[rate])) for rate in rates)
    errors = tuple(
        float(np.std(by_rate[r], ddof=1) / np.sqrt(len(by_rate[r]))) if len(by_rate[r]) > 1 else 0.0
        for r in rates
    )
    return rates, means, errors


def _tuned(way: str, records: Sequence[Record], labels: Labels) -> Tuned:
    by_optimizer = grouped(records, labels, ["optimizer"])
    means = {
        name: float(np.mean([r.result["curves"][METRIC][-1] for r in some]))
        for (name,), some in by_optimizer.items()
    }
    best = max(means, key=lambda name: means[name])
    runs = sorted(by_optimizer[(best,)], key=lambda record: record.job.run)
    diverged = sum(record.result["diverged_at"] is not None for record in records)
    tests = tuple(float(record.result["test_accuracy"]) for record in runs)
    return Tuned(way, best, means[best], tests, diverged)


def tuned_table(panels: Sequence[Panel]) -> Table:
    """Return the table of all tuned ways: chosen by validation accuracy, told on the test images."""
    rows = []
    for panel in panels:
        for tuned in panel.tuned:
            test = 100 * np.array(tuned.test)
            error = test.std(ddof=1) / np.sqrt(len(test)) if len(test) > 1 else np.nan
            rows.append(
                (
                    panel.title,
                    tuned.way,
                    tuned.setting,
                    f"{100 * tuned.validation:.1f}",
                    f"{test.mean():.1f} ± {error:.1f}" if np.isfinite(error) else f"{test.mean():.1f}",
                    tuned.diverged,
                )
            )
    return Table(
        "Each way at its best learning rate (chosen on validation images), accuracy in %",
        (
            "",
            "way",
            "best optimizer",
            "validation",
            "test, mean ± standard error",
            "diverged, all rates",
        ),
        tuple(rows),
    )
