"""Residual networks (He et al., arXiv 1512.03385) and ResNeXt (Xie et al., arXiv 1611.05431)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation
from snnkit.utilities.errors import ConfigurationError

__all__ = ["ResNeXt", "ResNet"]

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_BOTTLENECK_FROM = 50
_EXPANSION = 4


class ResNet(nn.Module):
    """Stages of residual blocks; the image halves and the channels double from stage to stage.

    Args:
        depth: 18 or 34 (two 3 x 3 convolutions in a block), 50, 101 or 152 (bottlenecks).
        in_channels: Channels of the image.
        classes: Scores that come out.
        width: Channels of the first stage, before a bottleneck's expansion by 4.
        blocks: Blocks of each stage, in place of those that ``depth`` stands for.
        groups: Groups of a bottleneck's 3 x 3 convolution.
        group_width: Channels of a group in the first stage; ``width`` where it is None. The wide ResNet-50-2
            is ``ResNet(50, group_width=128)``.
        large_images: Begin with a 7 x 7 convolution of stride 2 and max pooling, as for ImageNet, instead of
            the 3 x 3 convolution that images of 32 pixels and less call for.
        activation: A name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.

    Raises:
        ConfigurationError: no such depth, or groups for blocks that are no bottlenecks.
    """

    def __init__(
        self,
        depth: int = 18,
        in_channels: int = 3,
        classes: int = 10,
        *,
        width: int = 64,
        blocks: Sequence[int] | None = None,
        groups: int = 1,
        group_width: int | None = None,
        large_images: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise ConfigurationError(f"ResNet has depth {depth}; it must be one of 18, 34, 50, 101, 152.")
        bottleneck = depth >= _BOTTLENECK_FROM
        if not bottleneck and (groups != 1 or group_width is not None):
            raise ConfigurationError(
                f"ResNet of depth {depth} has no bottlenecks, which groups and group_width belong to; "
                "use depth 50, 101 or 152."
            )
        self.large_images = large_images
        self.activation = named_activation(activation)
        kernel, stride = (7, 2) if large_images else (3, 1)
        self.stem = nn.Conv2d(in_channels, width, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        counts = blocks or _BLOCKS[depth]
        inner = (group_width or width) * groups if bottleneck else None
        self.stages, channels = _stages(counts, width, inner, groups, activation)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, in_channels, height, width)`` to scores ``(batch, classes)``."""
        x = self.activation(self.norm(self.stem(x)))
        if self.large_images:
            x = F.max_pool2d(x, 3, 2, 1)
        return self.head(F.adaptive_avg_pool2d(self.stages(x), 1).flatten(1))


class ResNeXt(ResNet):
    """A ResNet of bottlenecks whose 3 x 3 convolutions have ``groups`` groups of ``group_width`` channels.

    Arguments as :class:`ResNet`; ``ResNeXt(50, groups=32, group_width=4)`` is the 32 x 4d net of the paper.
    """

    def __init__(
        self,
        depth: int = 50,
        in_channels: int = 3,
        classes: int = 10,
        *,
        width: int = 64,
        blocks: Sequence[int] | None = None,
        groups: int = 32,
        group_width: int = 4,
        large_images: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__(
            depth,
            in_channels,
            classes,
            width=width,
            blocks=blocks,
            groups=groups,
            group_width=group_width,
            large_images=large_images,
            activation=activation,
        )


def _stages(
    counts: Sequence[int], width: int, inner: int | None, groups: int, activation: str
) -> tuple[nn.Sequential, int]:
    """Return the stages and their last channels; ``inner`` is a bottleneck's width, None for basic blocks."""
    stages, channels = [], width
    for index, count in enumerate(counts):
        stage: list[nn.Module] = []
        for place in range(count):
            stride = 2 if index and not place else 1
            size = width * 2**index
            if inner is None:
                stage.append(_Basic(channels, size, stride, activation))
            else:
                size *= _EXPANSION
                stage.append(
                    _Bottleneck(
                        channels, inner * 2**index, size, stride=stride, groups=groups, activation=activation
                    )
                )
            channels = size
        stages.append(nn.Sequential(*stage))
    return nn.Sequential(*stages), channels


class _Basic(nn.Module):
    def __init__(self, size_in: int, size: int, stride: int, activation: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size_in, size, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(size)
        self.conv2 = nn.Conv2d(size, size, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(size)
        self.shortcut = _shortcut(size_in, size, stride)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return self.activation(self.shortcut(x) + y)


class _Bottleneck(nn.Module):
    def __init__(
        self, size_in: int, inner: int, size: int, *, stride: int, groups: int, activation: str
    ) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(size_in, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3, self.norm3 = nn.Conv2d(inner, size, 1, bias=False), nn.BatchNorm2d(size)
        self.shortcut = _shortcut(size_in, size, stride)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(self.norm1(self.conv1(x)))
        y = self.activation(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        y += self.shortcut(x)
        return self.activation(y)


def _shortcut(size_in: int, size: int, stride: int) -> nn.Module:
    if size_in == size and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(size_in, size, 1, stride, bias=False), nn.BatchNorm2d(size))
