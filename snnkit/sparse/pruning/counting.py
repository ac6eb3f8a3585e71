"""How many weights a model has left."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from snnkit.sparse.pruning.masks import masks_of

__all__ = ["Sparsity", "sparsity_of"]


@dataclass(frozen=True)
class Sparsity:
    """How many weights are left.

    Args:
        layers: By name: kept and all.
    """

    layers: dict[str, tuple[int, int]]

    @property
    def kept(self) -> int:
        """Weights that are left."""
        return sum(kept for kept, _ in self.layers.values())

    @property
    def size(self) -> int:
        """Weights of the dense model."""
        return sum(size for _, size in self.layers.values())

    @property
    def sparsity(self) -> float:
        """The share that is gone."""
        return 1 - self.kept / self.size

    def __str__(self) -> str:
        rows = [*self.layers.items(), ("all", (self.kept, self.size))]
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            f"{name:<{width}} {kept:>12,} of {size:>12,}  {1 - kept / size:7.2%} sparse"
            for name, (kept, size) in rows
        )


def sparsity_of(
    model: nn.Module, names: Sequence[str] | None = None, exclude: Sequence[str] = ()
) -> Sparsity:
    """Count a model's weights that are not 0, or that its sparse layers store; see :class:`Sparsity`."""
    masks = masks_of(model, names, exclude)
    return Sparsity({name: (int(mask.sum()), mask.numel()) for name, mask in masks.items()})
