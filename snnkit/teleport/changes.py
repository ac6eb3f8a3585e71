"""What an element does to one parameter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Change"]


@dataclass(frozen=True, eq=False)
class Change:
    """A factor for each entry of a tensor, then another order along its axes.

    Args:
        factor: Float64, broadcastable against the tensor.
        epsilon: What is added before the factor is taken and subtracted after: of a running variance.
        order: By axis, counted from the last one (-1), which index comes to each place.
    """

    factor: Tensor
    epsilon: float = 0.0
    order: Mapping[int, Tensor] = field(default_factory=dict)

    def apply(self, tensor: Tensor, power: Literal[-2, -1, 0, 1, 2] = 1) -> Tensor:
        """Return the changed tensor: of the same shape, type and device.

        Args:
            tensor: The parameter, or something that has one entry for each of its entries.
            power: Of the factor: -1 for gradients, which change inversely, 0 for the order alone.
        """
        changed = tensor
        if power and tensor.is_floating_point():
            wide = torch.float64 if tensor.device.type != "mps" else torch.float32
            factor = self.factor.to(tensor.device, wide) ** abs(power)
            values = tensor.to(wide)
            if self.epsilon and power == 1:
                changed = (values + self.epsilon) * factor - self.epsilon
            else:
                changed = values * factor if power > 0 else values / factor
            changed = changed.to(tensor.dtype)
        for axis, index in self.order.items():
            changed = changed.index_select(axis, index.to(tensor.device))
        return changed
