"""Figure 10: as figure 6, with a control that moves weights as far but does not keep the function."""

from collections.abc import Sequence

from snnkit.experiments.training.comparison import Panel
from snnkit.experiments.training.experiment import training_experiment
from snnkit.experiments.training.words import leads, tuned_leads

__all__ = ["EXPERIMENT"]


def _reading(panels: Sequence[Panel], epochs: Sequence[int]) -> str:
    return (
        "A pseudo-teleport moves the weights of each layer as far as the teleport of the same run, in a "
        "random direction. It leaves the orbit: the function changes. "
        f"{leads(panels, epochs, 'pseudo')} {leads(panels, epochs, 'teleport')} The control separates a "
        "teleport from being moved; it is none for the learning rate, since a random displacement does not "
        "scale gradients as the orbit does. That one is the comparison at the best rate of each way. "
        f"{tuned_leads(panels, 'pseudo')} {tuned_leads(panels, 'teleport')}"
    )


EXPERIMENT = training_experiment(
    "pseudo-teleport",
    "Teleports against displacements of the same length (figure 10)",
    _reading,
    quick_epochs=(1, 3, 6, 12),
)
