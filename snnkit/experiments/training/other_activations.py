"""Figure 8: as figure 6, for an MLP with other activations than ReLU."""

from collections.abc import Sequence

from snnkit.experiments.training.comparison import Panel
from snnkit.experiments.training.experiment import training_experiment
from snnkit.experiments.training.words import leads, tuned_leads

__all__ = ["EXPERIMENT"]


def _reading(panels: Sequence[Panel], epochs: Sequence[int]) -> str:
    return (
        "Leaky ReLU commutes with positive scales as ReLU does. ELU and tanh do not: their nets have no "
        "orbit of scales to move on, and the earlier project gave them one by wrapping every activation into "
        "c f(x / c), which teleporting sets. The same is done here, for the nets that are not teleported too "
        "(c = 1, the plain activation). A teleport then changes the architecture's activations, not its "
        f"weights alone. {leads(panels, epochs, 'teleport')} {tuned_leads(panels, 'teleport')} Of a lead "
        "that is left at the best rates, mind the standard error, the steps of the grid, and that a teleport "
        "gives parameters different learning rates, which one rate for all cannot do."
    )


EXPERIMENT = training_experiment(
    "other-activations",
    "Convergence with one teleport and without, other activations (figure 8)",
    _reading,
    panel_by=("dataset", "model.kwargs.activation"),
    quick_epochs=(1, 3, 6, 12),
)
