"""``metrics.json``: the numbers of a run that other programs read."""

from collections.abc import Mapping
from typing import Any

from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_json, write_json

__all__ = ["read_metrics", "update_metrics"]


def read_metrics(folder: RunFolder) -> dict[str, Any]:
    """Return the metrics written so far; empty where there are none."""
    if not folder.metrics.is_file():
        return {}
    metrics = read_json(folder.metrics)
    if not isinstance(metrics, dict) or not isinstance(metrics.get("accuracy", {}), dict):
        raise FileFormatError(f"{folder.metrics} does not hold metrics of a run.")
    return metrics


def update_metrics(
    folder: RunFolder, recipe: Recipe, *, accuracy: Mapping[str, float] | None = None, **values: Any
) -> dict[str, Any]:
    """Add ``values`` and ``accuracy``, fractions of the test split by "float", "qat", "chip"; return all."""
    metrics: dict[str, Any] = {"recipe": recipe.name, "chip": recipe.chip, "seed": recipe.seed}
    metrics |= read_metrics(folder) | values
    metrics["accuracy"] = {**metrics.get("accuracy", {}), **(accuracy or {})}
    write_json(folder.metrics, metrics)
    return metrics
