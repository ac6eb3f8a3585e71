"""The experiments by name. A module is imported when its experiment is asked for."""

from importlib import import_module
from typing import Any

from snnkit.experiments.experiment import Experiment
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["experiment_names", "get_experiment"]

_HOME = "snnkit.experiments"
_MODULES: dict[str, str] = {
    "convergence-boost": "training.convergence",
    "other-activations": "training.other_activations",
    "initialisations": "training.initialisations",
    "pseudo-teleport": "training.pseudo_teleport",
    "micro-teleportation": "measurements.angles",
    "interpolation-flatness": "measurements.flatness",
    "gradient-change": "measurements.gradient_change",
    "weight-histograms": "measurements.histograms",
    "learning-rate": "measurements.learning_rate",
    "sparse-baselines": "sparsity.baselines",
    "sparse-retraining": "sparsity.retraining",
    "sparse-memory": "sparsity.memory",
}
"""Name -> module, under ``snnkit.experiments``, whose ``EXPERIMENT`` it is."""


def experiment_names() -> tuple[str, ...]:
    """Names of all experiments, in the order of the list."""
    return tuple(_MODULES)


def get_experiment(name: str) -> Experiment[Any]:
    """Return the experiment called ``name``; for an unknown one ConfigurationError names the nearest."""
    if name not in _MODULES:
        raise ConfigurationError(unknown_key_message("experiment", name, _MODULES))
    experiment: Experiment[Any] = import_module(f"{_HOME}.{_MODULES[name]}").EXPERIMENT
    return experiment
