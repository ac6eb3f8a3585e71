"""``metrics.json``: the numbers of a run that other programs read.

``stage_seconds`` holds the time that each stage took, and ``seconds`` is their sum: the whole run, whether
its stages were done at once, one by one, or with an interruption between.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_json, write_json

__all__ = ["read_metrics", "record_seconds", "timed", "update_metrics"]


def read_metrics(folder: RunFolder) -> dict[str, Any]:
    """Return the metrics written so far; empty where there are none."""
    if not folder.metrics.exists():
        return {}
    metrics = read_json(folder.metrics)
    numbers = ("accuracy", "stage_seconds")
    if not isinstance(metrics, dict) or not all(_are_numbers(metrics.get(key, {})) for key in numbers):
        raise FileFormatError(
            f"{folder.metrics} does not hold metrics of a run. Remove it; the stages write it anew."
        )
    return metrics


def _are_numbers(table: Any) -> bool:
    return isinstance(table, dict) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in table.values()
    )


def update_metrics(
    folder: RunFolder, recipe: Recipe, *, accuracy: Mapping[str, float] | None = None, **values: Any
) -> dict[str, Any]:
    """Add ``values`` and ``accuracy``, fractions of the test split by "float", "qat", "chip"; return all."""
    metrics: dict[str, Any] = {"recipe": recipe.name, "chip": recipe.chip, "seed": recipe.seed}
    metrics |= read_metrics(folder) | values
    metrics["accuracy"] = {**metrics.get("accuracy", {}), **(accuracy or {})}
    write_json(folder.metrics, metrics)
    return metrics


def record_seconds(folder: RunFolder, stage: str, seconds: float, *, more: bool = False) -> float:
    """Note the time of ``stage``, in place of an earlier one or as ``more`` of it; return the run's time."""
    metrics = read_metrics(folder)
    stages = dict(metrics.get("stage_seconds", {}))
    stages[stage] = seconds + (stages.get(stage, 0.0) if more else 0.0)
    metrics |= {"seconds": math.fsum(stages.values()), "stage_seconds": stages}
    write_json(folder.metrics, metrics)
    return float(metrics["seconds"])


@contextmanager
def timed(
    folder: RunFolder, stage: str, *, started: float | None = None, more: bool = False
) -> Iterator[None]:
    """Note how long the block took, also when Ctrl-C ends it: the run may be resumed.

    Args:
        folder: The run.
        stage: Key in ``stage_seconds``.
        started: ``time.monotonic()`` when the stage began, if that was before the block.
        more: Add to what is noted of the stage instead of replacing it.
    """
    started = time.monotonic() if started is None else started
    try:
        yield
    except KeyboardInterrupt:
        if folder.exists():
            record_seconds(folder, stage, time.monotonic() - started, more=more)
        raise
    record_seconds(folder, stage, time.monotonic() - started, more=more)
