"""The ways to multiply by the weights of a linear layer."""

import torch
from torch import Tensor

from snnkit.nn.backend import get_backend, kernels_wanted, kind_of_kernels
from snnkit.nn.kernels.coverage import reason_against_kind
from snnkit.nn.kernels.linear_function import LinearProduct, mostly_zero

__all__ = ["linear"]


def linear(data: Tensor, weight: Tensor) -> Tensor:
    """Return ``data @ weight`` for data ``(..., K)`` and weight ``(K, N)``.

    With the backends ``auto`` and ``numba``, input that is mostly zero, as events are, is multiplied event by
    event on the CPU: sums are then taken in ascending order over the inputs that are not zero, instead of the
    order of a matrix product. Dense input is a matrix product in all backends.
    """
    if get_backend() not in ("auto", "numba") or kind_of_kernels(data) != "numba":
        return data @ weight
    if reason_against_kind("numba", (data, weight)) or torch.is_autocast_enabled("cpu"):
        return data @ weight
    by_event = mostly_zero(data, weight) and kernels_wanted(None, "numba")
    return LinearProduct.apply(data, weight, by_event)
