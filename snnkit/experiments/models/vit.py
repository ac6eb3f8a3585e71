"""A vision transformer (Dosovitskiy et al., arXiv 2010.11929), norm first."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.models.activations import activation as named_activation
from snnkit.utilities.errors import ConfigurationError

__all__ = ["ViT"]


class ViT(nn.Module):
    """Patches become tokens; attention and a two-layer MLP alternate; a class token gives the scores.

    Args:
        image_size: Side of the square image.
        in_channels: Channels of the image.
        classes: Scores that come out.
        patch: Side of a patch; it must divide ``image_size``.
        width: Size of a token; ``heads`` must divide it.
        depth: Number of blocks.
        heads: Attention heads of a block.
        mlp_ratio: Hidden neurons of a block's MLP for each value of a token.
        activation: That of the MLP: a name of :data:`~snnkit.experiments.models.activations.ACTIVATIONS`.

    Raises:
        ConfigurationError: patch or heads do not divide what they must.
    """

    def __init__(
        self,
        image_size: int = 32,
        in_channels: int = 3,
        classes: int = 10,
        *,
        patch: int = 4,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        mlp_ratio: float = 4.0,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        if image_size % patch:
            raise ConfigurationError(
                f"ViT cuts images of {image_size} pixels into patches of {patch}; "
                f"choose a patch that divides {image_size}."
            )
        if width % heads:
            raise ConfigurationError(
                f"ViT has tokens of {width} values and {heads} heads; choose heads that divide {width}."
            )
        self.patches = nn.Conv2d(in_channels, width, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, (image_size // patch) ** 2 + 1, width) * 0.02)
        self.blocks = nn.Sequential(
            *(_Block(width, heads, int(width * mlp_ratio), activation) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(batch, in_channels, image_size, image_size)`` to scores ``(batch, classes)``."""
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = _Attention(width, heads)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.activation = named_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.outer(self.activation(self.inner(self.norm2(x))))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.out(y.transpose(1, 2).reshape(batch, tokens, width))
