"""Convolutions whose dense weight is masked: sparse in what is trained, not in memory and not in speed.

A sparse product of the patches of an image is slower than the dense convolution at any density that networks
have, so nothing of the kind is offered. What remains is worth having for pruning: weights outside the mask
are zero, get no gradient and stay zero whatever the optimiser does.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer

from snnkit.sparse.restructure import StructureChange, map_state

__all__ = ["MASKED", "Masked", "MaskedConv1d", "MaskedConv2d", "MaskedConv3d"]


class Masked(_ConvNd):
    """What the masked convolutions share; their constructors are those of torch's, all weights being "
    "there."""

    weight: nn.Parameter
    weight_mask: Tensor
    watch: Callable[[Tensor], None] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("weight_mask", torch.ones_like(self.weight, dtype=torch.bool))
        self.watch = None

    @property
    def nnz(self) -> int:
        """Weights inside the mask."""
        return int(self.weight_mask.sum())

    @property
    def density(self) -> float:
        """Share of the weights that are inside the mask."""
        return self.nnz / self.weight.numel()

    @property
    def sparsity(self) -> float:
        """Share of the weights that are outside the mask."""
        return 1 - self.density

    def mask(self) -> Tensor:
        """Return where there are weights, bool, in the shape of the weight."""
        return self.weight_mask.clone()

    def dense_weight(self) -> Tensor:
        """Return the weight, zero outside the mask; it can be differentiated."""
        return self.weight * self.weight_mask

    def forward(self, input: Tensor) -> Tensor:
        """Convolve with the masked weight."""
        effective = self.dense_weight()
        if self.watch is not None and effective.requires_grad:
            effective.register_hook(self.watch)
        return self._conv_forward(input, effective, self.bias)

    def extra_repr(self) -> str:
        """Return the layer's line in a printed model."""
        return f"{super().extra_repr()}, nnz={self.nnz}, density={self.density:.4g}"

    def _checked_places(self, places: Tensor) -> Tensor:
        return places

    def _restructured_parameter(self) -> nn.Parameter:
        return self.weight

    def _restructure(self, places: Tensor, optimizer: Optimizer | None) -> StructureChange:
        before = self.weight_mask
        after = torch.zeros_like(before).view(-1).index_fill_(0, places, True).view(before.shape)
        stays = before & after

        def masked(tensor: Tensor) -> Tensor:
            return torch.where(stays.to(tensor.device), tensor.detach(), tensor.new_zeros(()))

        if optimizer is not None:
            map_state(self.weight, optimizer, masked)
        self.weight.data = masked(self.weight)
        if self.weight.grad is not None:
            self.weight.grad = masked(self.weight.grad)
        kept, dropped = int(stays.sum()), int((before & ~after).sum())
        before.copy_(after)  # Written to, so that torch refuses graphs of earlier passes.
        return StructureChange(kept, dropped, int(after.sum()) - kept)


class MaskedConv1d(Masked, nn.Conv1d):
    """``nn.Conv1d`` with a masked weight; made by :func:`~snnkit.sparse.convert`."""


class MaskedConv2d(Masked, nn.Conv2d):
    """``nn.Conv2d`` with a masked weight; made by :func:`~snnkit.sparse.convert`."""


class MaskedConv3d(Masked, nn.Conv3d):
    """``nn.Conv3d`` with a masked weight; made by :func:`~snnkit.sparse.convert`."""


MASKED: dict[type[nn.Module], type[Masked]] = {
    nn.Conv1d: MaskedConv1d,
    nn.Conv2d: MaskedConv2d,
    nn.Conv3d: MaskedConv3d,
}
