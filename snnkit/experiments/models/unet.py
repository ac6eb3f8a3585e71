"""U-Net (Ronneberger et al., arXiv 1505.04597): an image in, scores for each of its pixels out."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation

__all__ = ["UNet"]


class UNet(nn.Module):
    """Down by max pooling, up again by transposed convolutions or interpolation, with skips in between.

    Args:
        in_channels: Channels of the image.
        classes: Scores of each pixel.
        width: Channels at full resolution; they double with each level.
        levels: How often the image is halved; its sides must be multiples of 2^levels.
        batch_norm: Normalise after each 3 x 3 convolution.
        bilinear: Enlarge by bilinear interpolation instead of transposed convolutions.
        activation: A name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 10,
        *,
        width: int = 64,
        levels: int = 4,
        batch_norm: bool = True,
        bilinear: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(levels + 1)]
        self.first = _Double(in_channels, width, batch_norm, activation)
        self.down = nn.ModuleList(_Double(a, b, batch_norm, activation) for a, b in pairwise(sizes))
        pairs = list(zip(sizes[:0:-1], sizes[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(
            _Interpolation(a, b) if bilinear else nn.ConvTranspose2d(a, b, 2, 2) for a, b in pairs
        )
        self.up = nn.ModuleList(_Double(2 * b, b, batch_norm, activation) for _, b in pairs)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, in_channels, height, width)`` to ``(batch, classes, height, width)``."""
        x = self.first(x)
        skips = []
        for block in self.down:
            skips.append(x)
            x = block(F.max_pool2d(x, 2))
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            x = block(torch.cat([skips.pop(), enlarge(x)], dim=1))
        return self.head(x)


class _Double(nn.Module):
    def __init__(self, size_in: int, size: int, batch_norm: bool, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size_in, size, 3, padding=1, bias=not batch_norm)
        self.conv2 = nn.Conv2d(size, size, 3, padding=1, bias=not batch_norm)
        self.norm1 = nn.BatchNorm2d(size) if batch_norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(size) if batch_norm else nn.Identity()
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm1(self.conv1(x)))
        return self.activation(self.norm2(self.conv2(x)))


class _Interpolation(nn.Module):
    def __init__(self, size_in: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(size_in, size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False))
