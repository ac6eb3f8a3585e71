"""VGG: plain stacks of 3 x 3 convolutions (Simonyan and Zisserman, arXiv 1409.1556, table 1)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation
from snnkit.utilities.errors import ConfigurationError

__all__ = ["VGG"]

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (1, 2, 4, 8, 8)


class VGG(nn.Module):
    """Five stages of convolutions, each followed by max pooling while the image is more than one pixel wide.

    Args:
        depth: 11, 13, 16 or 19.
        in_channels: Channels of the image.
        classes: Scores that come out.
        width: Channels of the first stage; the others have 2, 4, 8 and 8 times as many.
        hidden: Neurons of the hidden layers behind the convolutions.
        batch_norm: Normalise after each convolution.
        activation: A name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.
        dropout: Probability in the hidden layers.

    Raises:
        ConfigurationError: there is no VGG of this depth.
    """

    def __init__(
        self,
        depth: int = 11,
        in_channels: int = 3,
        classes: int = 10,
        *,
        width: int = 64,
        hidden: Sequence[int] = (512, 512),
        batch_norm: bool = False,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth not in _CONVOLUTIONS:
            raise ConfigurationError(f"VGG has depth {depth}; it must be one of 11, 13, 16, 19.")
        stages, channels = [], in_channels
        for count, factor in zip(_CONVOLUTIONS[depth], _WIDTHS, strict=True):
            stages.append(_Stage(channels, width * factor, count, batch_norm, activation))
            channels = width * factor
        self.stages = nn.ModuleList(stages)
        sizes = [channels, *hidden]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(dropout)  # One module, used behind every hidden layer.
        self.head = nn.Linear(sizes[-1], classes)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, in_channels, height, width)`` to scores ``(batch, classes)``."""
        for stage in self.stages:
            x = stage(x)
            if min(x.shape[-2:]) > 1:
                x = F.max_pool2d(x, 2)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        for layer in self.layers:
            x = self.dropout(self.activation(layer(x)))
        return self.head(x)


class _Stage(nn.Module):
    def __init__(self, size_in: int, size: int, count: int, batch_norm: bool, activation: str) -> None:
        super().__init__()
        sizes = [size_in] + [size] * (count - 1)
        self.convs = nn.ModuleList(nn.Conv2d(n, size, 3, padding=1, bias=not batch_norm) for n in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) if batch_norm else nn.Identity() for _ in sizes)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x)))
        return x
