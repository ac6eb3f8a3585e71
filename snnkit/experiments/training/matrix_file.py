"""A user's own matrix configuration as an experiment."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from snnkit.experiments.experiment import Experiment
from snnkit.experiments.training.comparison import Panel
from snnkit.experiments.training.experiment import TrainingSettings, training_experiment
from snnkit.utilities.errors import FileFormatError

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
    """Return the experiment that runs the TOML or YAML configuration ``path``; both sizes are the file's.

    Raises:
        FileFormatError: there is no such file.
    """
    if not Path(path).is_file():
        raise FileFormatError(f"{path} does not exist.")
    made = training_experiment(
        Path(path).stem,
        f"Matrix configuration {Path(path).name}",
        _reading,
        # Whatever else may differ has panels of its own: boxes, errors and best rates pool none of it.
        panel_by=("dataset", "model", "initializer", "training_params"),
        quick_epochs=_BOXES,
    )
    settings = replace(made.quick, configuration=os.path.normpath(path))
    return replace(made, quick=settings, full=settings)
