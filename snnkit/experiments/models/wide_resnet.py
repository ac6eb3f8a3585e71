"""Wide residual networks with pre-activation blocks (Zagoruyko and Komodakis, arXiv 1605.07146)."""

from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation
from snnkit.utilities.errors import ConfigurationError

__all__ = ["WideResNet"]


class WideResNet(nn.Module):
    """WRN-depth-widen: three stages of (depth - 4) / 6 blocks with norm and activation before the weights.

    Args:
        depth: 10, 16, 22, 28, ...: 4 more than a multiple of 6.
        widen: Factor of all widths.
        in_channels: Channels of the image.
        classes: Scores that come out.
        width: Channels of the first stage before ``widen``.
        activation: A name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.

    Raises:
        ConfigurationError: the depth is not 4 more than a multiple of 6.
    """

    def __init__(
        self,
        depth: int = 16,
        widen: int = 2,
        in_channels: int = 3,
        classes: int = 10,
        *,
        width: int = 16,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ConfigurationError(
                f"WideResNet has depth {depth}; it must be 4 more than a multiple of 6: 10, 16, 22, 28, ..."
            )
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        blocks, channels = [], width
        for index in range(3):
            size = width * widen * 2**index
            for place in range((depth - 4) // 6):
                blocks.append(_Block(channels, size, 2 if index and not place else 1, activation))
                channels = size
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, classes)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, in_channels, height, width)`` to scores ``(batch, classes)``."""
        x = self.activation(self.norm(self.blocks(self.stem(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class _Block(nn.Module):
    def __init__(self, size_in: int, size: int, stride: int, activation: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(size_in), nn.BatchNorm2d(size)
        self.conv1 = nn.Conv2d(size_in, size, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(size, size, 3, 1, 1, bias=False)
        changes = size_in != size or stride != 1
        self.shortcut = nn.Conv2d(size_in, size, 1, stride, bias=False) if changes else None
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        ready = self.activation(self.norm1(x))
        y = self.conv2(self.activation(self.norm2(self.conv1(ready))))
        return y + (x if self.shortcut is None else self.shortcut(ready))
