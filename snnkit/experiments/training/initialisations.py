"""Figure 9: as figure 6, from other initial weights."""

from collections.abc import Sequence

from snnkit.experiments.training.comparison import Panel
from snnkit.experiments.training.experiment import training_experiment
from snnkit.experiments.training.words import leads, tuned_leads

__all__ = ["EXPERIMENT"]


def _reading(panels: Sequence[Panel], epochs: Sequence[int]) -> str:
    return (
        "Weights that begin small (a gain or deviation of 0.02) give small gradients in deep nets without "
        "normalisation, and training hardly moves. A teleport enlarges the gradients on average, as a larger "
        "learning rate would enlarge the steps. "
        f"{leads(panels, epochs, 'teleport')} {tuned_leads(panels, 'teleport')} Compare these "
        "numbers with the differences between the panels, which are those of the initial weights."
    )


EXPERIMENT = training_experiment(
    "initialisations",
    "Convergence with one teleport and without, from other initial weights (figure 9)",
    _reading,
    panel_by=("dataset", "model", "initializer"),
    quick_epochs=(1, 3, 6, 12),
)
