"""MobileNetV2: inverted residuals around depthwise convolutions (Sandler et al., arXiv 1801.04381)."""

from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation

__all__ = ["MobileNet"]

_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks and stride of each stage: table 2 of the paper."""
_STEM, _LAST = 32, 1280


class MobileNet(nn.Module):
    """Inverted residual blocks: expand, convolve each channel on its own, project; linear where blocks meet.

    Args:
        in_channels: Channels of the image.
        classes: Scores that come out.
        width: Factor of all widths; channels are rounded to multiples of 8, at least 8.
        large_images: Stride 2 at the stem and in the second stage, as for ImageNet.
        activation: "relu", or "relu6" as in the paper (which is not positively homogeneous).
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 10,
        *,
        width: float = 1.0,
        large_images: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        size = _channels(_STEM * width)
        self.stem = nn.Conv2d(in_channels, size, 3, 2 if large_images else 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(size)
        blocks = []
        for index, (expansion, channels, count, stage_stride) in enumerate(_STAGES):
            for place in range(count):
                first = 1 if index == 1 and not large_images else stage_stride
                following = _channels(channels * width)
                blocks.append(_Block(size, following, expansion, 1 if place else first, activation))
                size = following
        self.blocks = nn.Sequential(*blocks)
        last = _channels(_LAST * width)
        self.last, self.last_norm = nn.Conv2d(size, last, 1, bias=False), nn.BatchNorm2d(last)
        self.head = nn.Linear(last, classes)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, in_channels, height, width)`` to scores ``(batch, classes)``."""
        x = self.activation(self.stem_norm(self.stem(x)))
        x = self.activation(self.last_norm(self.last(self.blocks(x))))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class _Block(nn.Module):
    def __init__(self, size_in: int, size: int, expansion: int, stride: int, activation: str) -> None:
        super().__init__()
        inner = size_in * expansion
        self.expand = nn.Conv2d(size_in, inner, 1, bias=False) if expansion > 1 else nn.Identity()
        self.expand_norm = nn.BatchNorm2d(inner) if expansion > 1 else nn.Identity()
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(inner)
        self.project, self.project_norm = nn.Conv2d(inner, size, 1, bias=False), nn.BatchNorm2d(size)
        self.residual, self.expands = size_in == size and stride == 1, expansion > 1
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.expand_norm(self.expand(x))) if self.expands else x
        y = self.activation(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.residual else y


def _channels(wanted: float) -> int:
    return max(8, int(wanted + 4) // 8 * 8)
