"""A multi-layer perceptron over flattened inputs."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from snnkit.experiments.models.activations import activation as named_activation

__all__ = ["MLP"]


class MLP(nn.Module):
    """Fully connected layers; every hidden one is followed by the activation, the last one gives the scores.

    Args:
        inputs: Values of one sample once it is flattened.
        classes: Scores that come out.
        hidden: Neurons of each hidden layer; empty for a linear model.
        activation: A name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.
        bias: Whether layers have biases.
        batch_norm: Normalise before each activation.
    """

    def __init__(
        self,
        inputs: int,
        classes: int = 10,
        *,
        hidden: Sequence[int] = (128, 128),
        activation: str = "relu",
        bias: bool = True,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=bias) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) if batch_norm else nn.Identity() for n in hidden)
        self.head = nn.Linear(sizes[-1], classes, bias=bias)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, ...)`` to scores ``(batch, classes)``."""
        x = x.flatten(1)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.activation(norm(layer(x)))
        return self.head(x)
