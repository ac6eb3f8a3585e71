"""Costs that keep parameters inside bounds while they are trained.

The cost of a value beyond a bound is the exponential of its distance from it: 1 just outside, and growing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.modules.module import TorchModule
from snnkit.utilities.errors import ConfigurationError, unknown_key_message
from snnkit.utilities.tree_utils import branches, get_nested, tree_map

__all__ = [
    "ParameterBoundaryRegularizer",
    "bounds_cost",
    "make_bounds",
    "summed_exp_boundary_loss",
]

Bound = float | Tensor | None


def make_bounds(params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return lower and upper bounds for a tree of parameters, with none set yet.

    Both have the structure of ``params``; the leaves are -inf and +inf. Set the ones you want to bound to a
    number, or to a tensor that broadcasts to the parameter.
    """
    return tree_map(params, lambda _leaf: -torch.inf), tree_map(params, lambda _leaf: torch.inf)


def summed_exp_boundary_loss(data: Tensor, lower_bound: Bound = None, upper_bound: Bound = None) -> Tensor:
    """Return ``sum exp(lower - x)`` over ``x < lower`` plus ``sum exp(x - upper)`` over ``x > upper``.

    Args:
        data: any shape.
        lower_bound: number or tensor that broadcasts to ``data``; None for no bound.
        upper_bound: likewise.
    """
    loss = data.new_zeros(())
    if lower_bound is not None:
        below = torch.as_tensor(lower_bound, dtype=data.dtype, device=data.device) - data
        loss = loss + below[below > 0].exp().sum()
    if upper_bound is not None:
        above = data - torch.as_tensor(upper_bound, dtype=data.dtype, device=data.device)
        loss = loss + above[above > 0].exp().sum()
    return loss


def bounds_cost(
    params: Mapping[str, Any], lower_bounds: Mapping[str, Any], upper_bounds: Mapping[str, Any]
) -> Tensor:
    """Return the sum of :func:`summed_exp_boundary_loss` over a tree of parameters.

    Args:
        params: tree of tensors, such as ``net.parameters()``.
        lower_bounds: tree of bounds, as :func:`make_bounds` returns; leaves that are left out bound nothing.
        upper_bounds: likewise.

    Raises:
        ConfigurationError: a bound is for a parameter that does not exist.
    """
    known = list(branches(params))
    sides = (_bounds_by_branch(lower_bounds, known), _bounds_by_branch(upper_bounds, known))
    costs = [
        summed_exp_boundary_loss(get_nested(params, branch), *(side.get(branch) for side in sides))
        for branch in known
    ]
    return torch.stack(costs).sum() if costs else torch.zeros(())


def _bounds_by_branch(
    bounds: Mapping[str, Any], known: list[tuple[str, ...]]
) -> dict[tuple[str, ...], Bound]:
    by_branch = {branch: get_nested(bounds, branch) for branch in branches(bounds)}
    unknown = [branch for branch in by_branch if branch not in set(known)]
    if unknown:
        names = [".".join(branch) for branch in known]
        raise ConfigurationError(
            "bounds_cost: "
            + " ".join(unknown_key_message("parameter", ".".join(branch), names) for branch in unknown)
        )
    return by_branch


class ParameterBoundaryRegularizer(TorchModule):
    """:func:`summed_exp_boundary_loss` as a module.

    Args:
        lower_bound: number or tensor; None for no bound.
        upper_bound: likewise.
    """

    def __init__(self, lower_bound: Bound = None, upper_bound: Bound = None) -> None:
        super().__init__()
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound

    def forward(self, data: Tensor) -> Tensor:
        """Return the cost of ``data``, a scalar."""
        return summed_exp_boundary_loss(data, self.lower_bound, self.upper_bound)
