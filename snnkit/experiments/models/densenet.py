"""Densely connected networks (Huang et al., arXiv 1608.06993): each layer reads all layers before it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation
from snnkit.utilities.errors import ConfigurationError

__all__ = ["DenseNet"]

_LAYERS = {121: (6, 12, 24, 16), 169: (6, 12, 32, 32), 201: (6, 12, 48, 32)}
_BOTTLENECK = 4


class DenseNet(nn.Module):
    """Blocks of layers that add ``growth`` channels each; transitions halve image and channels between them.

    Args:
        depth: 121, 169 or 201.
        in_channels: Channels of the image.
        classes: Scores that come out.
        growth: Channels that a layer adds.
        blocks: Layers of each block, in place of those that ``depth`` stands for.
        large_images: Begin with a 7 x 7 convolution of stride 2 and max pooling, as for ImageNet.
        activation: A name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.

    Raises:
        ConfigurationError: there is no DenseNet of this depth.
    """

    def __init__(
        self,
        depth: int = 121,
        in_channels: int = 3,
        classes: int = 10,
        *,
        growth: int = 32,
        blocks: Sequence[int] | None = None,
        large_images: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if depth not in _LAYERS:
            raise ConfigurationError(f"DenseNet has depth {depth}; it must be one of 121, 169, 201.")
        counts = list(blocks or _LAYERS[depth])
        self.large_images, self.activation = large_images, named_activation(activation)
        size = 2 * growth
        kernel, stride = (7, 2) if large_images else (3, 1)
        self.stem = nn.Conv2d(in_channels, size, kernel, stride, kernel // 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(size)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for index, count in enumerate(counts):
            self.blocks.append(_Block(size, growth, count, activation))
            size += growth * count
            if index + 1 < len(counts):
                self.transitions.append(_Transition(size, size // 2, activation))
                size //= 2
        self.norm = nn.BatchNorm2d(size)
        self.head = nn.Linear(size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, in_channels, height, width)`` to scores ``(batch, classes)``."""
        x = self.activation(self.stem_norm(self.stem(x)))
        if self.large_images:
            x = F.max_pool2d(x, 3, 2, 1)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index < len(self.transitions):
                x = self.transitions[index](x)
        return self.head(F.adaptive_avg_pool2d(self.activation(self.norm(x)), 1).flatten(1))


class _Block(nn.Module):
    def __init__(self, size: int, growth: int, count: int, activation: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Layer(size + growth * index, growth, activation) for index in range(count)
        )

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1)))
        return torch.cat(found, 1)


class _Layer(nn.Module):
    def __init__(self, size: int, growth: int, activation: str) -> None:
        super().__init__()
        inner = _BOTTLENECK * growth
        self.norm1, self.conv1 = nn.BatchNorm2d(size), nn.Conv2d(size, inner, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(inner), nn.Conv2d(inner, growth, 3, padding=1, bias=False)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(self.activation(self.norm1(x)))
        return self.conv2(self.activation(self.norm2(x)))


class _Transition(nn.Module):
    def __init__(self, size_in: int, size: int, activation: str) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(size_in), nn.Conv2d(size_in, size, 1, bias=False)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.activation(self.norm(x)))
        return F.avg_pool2d(x, 2) if min(x.shape[-2:]) > 1 else x
