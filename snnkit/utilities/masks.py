"""Masks: which elements of a tensor of scores stay. Equal scores stay in the order of their index."""

import torch
from torch import Tensor

from .errors import ShapeError

__all__ = [
    "fan_in_mask",
    "fan_out_mask",
    "keep_largest",
    "largest_of_columns",
    "magnitude_mask",
    "weight_matrix",
]


def keep_largest(scores: Tensor, keep: int) -> Tensor:
    """Mark the ``keep`` largest elements of a tensor of any shape, in linear time.

    Args:
        scores: without NaN; ``-inf`` is the least.
        keep: how many, 0 to ``scores.numel()``.
    """
    flat = scores.detach().flatten()
    if keep <= 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    if keep >= flat.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    least = flat.kthvalue(flat.numel() - keep + 1).values
    mask = flat > least
    ties = (flat == least).nonzero().flatten()
    mask[ties[: keep - int(mask.sum())]] = True
    return mask.reshape(scores.shape)


def largest_of_columns(scores: Tensor, keep: int | Tensor) -> Tensor:
    """Mark the ``keep`` largest of each column, of ``(n, columns)``; a number for each, or for all."""
    order = torch.argsort(scores.detach(), dim=0, descending=True, stable=True)
    ranks = torch.argsort(order, dim=0)
    return ranks < keep


def magnitude_mask(value: Tensor, sparsity: float) -> Tensor:
    """Return the bool mask that drops the ``round(sparsity * n)`` elements of smallest magnitude."""
    return keep_largest(value.detach().abs(), value.numel() - round(sparsity * value.numel()))


def fan_in_mask(weights: Tensor, limit: int) -> Tensor:
    """Return the mask that keeps the ``limit`` strongest inputs of each target: ``(Nsrc, N)``, columns."""
    return largest_of_columns(weight_matrix(weights).detach().abs(), limit)


def fan_out_mask(weights: Tensor, limit: int) -> Tensor:
    """Return the mask that keeps the ``limit`` strongest outputs of each source: ``(Nsrc, N)``, rows."""
    return largest_of_columns(weight_matrix(weights).detach().abs().T, limit).T


def weight_matrix(weights: Tensor) -> Tensor:
    """Return what is given if it has two axes; else raise :class:`ShapeError`."""
    if weights.ndim != 2:
        raise ShapeError(f"Fan-in and fan-out need a weight matrix (Nsrc, N), not {tuple(weights.shape)}.")
    return weights
