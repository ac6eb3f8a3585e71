"""Figure 6: one teleport before training against none, over learning rates, with and without momentum."""

from collections.abc import Sequence

from snnkit.experiments.training.comparison import Panel
from snnkit.experiments.training.experiment import training_experiment
from snnkit.experiments.training.words import leads, tuned_leads

__all__ = ["EXPERIMENT"]


def _reading(panels: Sequence[Panel], epochs: Sequence[int]) -> str:
    return (
        "The boxes pool all learning rates of the grid, as the paper's figure 6 does. "
        f"{leads(panels, epochs, 'teleport')} For gradient descent a teleport before training is nothing but "
        "a learning rate of its own for each parameter, lr / c² (the first check, to rounding), larger on "
        "average than lr. So the second figure shows the same runs over the learning rate: a way whose curve "
        "lies to the left learns as if its rate were larger. The control that counts gives either way its "
        f"best learning rate of the grid, chosen on validation images. {tuned_leads(panels, 'teleport')} "
        "A lead in the boxes that is gone once the rates are tuned is one of the learning rate."
    )


EXPERIMENT = training_experiment(
    "convergence-boost",
    "Convergence with one teleport and without, over learning rates (figure 6)",
    _reading,
    quick_epochs=(1, 3, 6, 12),
)
