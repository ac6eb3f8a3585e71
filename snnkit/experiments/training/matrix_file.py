"""A user's own matrix configuration as an experiment."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from snnkit.experiments.experiment import Experiment
from snnkit.experiments.training.comparison import Panel
from snnkit.experiments.training.experiment import TrainingSettings, training_experiment

__all__ = ["experiment_of_file"]

_BOXES = (1, 3, 10, 30, 60, 95)


def _reading(panels: Sequence[Panel], epochs: Sequence[int]) -> str:
    return (
        "Boxes pool the runs of all learning rates; the second figure shows them apart, and the table gives "
        "each way its best one. A teleport is, for gradient descent, a learning rate of its own for each "
        "parameter (checked below), so only the comparison at the best rates tells more than that. Other "
        "groupings: snnkit experiment plot."
    )


def experiment_of_file(path: str | Path) -> Experiment[TrainingSettings]:
    """Return the experiment that runs the TOML or YAML configuration ``path``; both sizes are the file's."""
    made = training_experiment(
        Path(path).stem, f"Matrix configuration {Path(path).name}", _reading, quick_epochs=_BOXES
    )
    settings = replace(made.quick, configuration=str(path))
    return replace(made, quick=settings, full=settings)
