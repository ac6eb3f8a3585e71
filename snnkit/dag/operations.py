"""Operators that join or pass on values: modules, so that a vertex can hold them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Add", "Concat", "Identity", "Select"]


class Add(nn.Module):
    """Sum of all inputs: tensors of shapes that broadcast together."""

    operation = "add"

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """Return ``first + others[0] + ...``, added from left to right."""
        total = first
        for other in others:
            total = total + other
        return total


class Concat(nn.Module):
    """All inputs joined along one axis, the last (channels) by default."""

    operation = "cat"

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the inputs joined along ``dim``."""
        return torch.cat(inputs, dim=self.dim)

    def extra_repr(self) -> str:
        """Show the axis."""
        return f"dim={self.dim}"


class Identity(nn.Module):
    """Passes its one input on unchanged."""

    operation = "identity"

    def forward(self, value: Tensor) -> Tensor:
        """Return ``value``."""
        return value


class Select(nn.Module):
    """One of the outputs of a vertex that has several (a nested graph with several output vertices)."""

    operation = "getitem"

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    def forward(self, values: Sequence[Tensor]) -> Tensor:
        """Return ``values[index]``."""
        return values[self.index]

    def extra_repr(self) -> str:
        """Show the index."""
        return f"index={self.index}"
