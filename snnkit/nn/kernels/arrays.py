"""Tensors as arrays for a kernel, and what every autograd node around kernels needs."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.lif_types import NeuronInputs

__all__ = [
    "flat",
    "of_first_events",
    "of_recurrent_weights",
    "own_gradient",
    "spread",
    "summed_over_batch",
]


def flat(tensor: Tensor | None, dtype: np.dtype) -> np.ndarray:
    """Return the numbers of the tensor, in its own memory where they lie in order; none for None."""
    return _nothing(dtype) if tensor is None else tensor.detach().contiguous().numpy().reshape(-1)


@functools.cache
def _nothing(dtype: np.dtype) -> np.ndarray:
    return np.empty(0, dtype)


def spread(tensor: Tensor, shape: Sequence[int]) -> np.ndarray:
    """Return a constant as an array with one number for each element of ``shape``."""
    return tensor.detach().expand(tuple(shape)).contiguous().numpy()


def own_gradient(gradient: Tensor | None, like: Tensor) -> Tensor:
    """Return a gradient to write on: a copy, or zeros for None."""
    if gradient is None:
        return torch.zeros(like.shape, dtype=like.dtype)
    return gradient.clone(memory_format=torch.contiguous_format)


def summed_over_batch(parts: np.ndarray, shape: torch.Size) -> Tensor:
    """Sum ``(B, ...)`` over the batch and over what was broadcast from ``shape``.

    The order of the sum does not depend on the number of threads, which torch's own does not promise.
    """
    value = np.add.reduce(parts, axis=0)
    if value.shape == tuple(shape):
        return torch.from_numpy(value)
    padded = (1,) * (value.ndim - len(shape)) + tuple(shape)
    axes = tuple(axis for axis, size in enumerate(padded) if size == 1 and value.shape[axis] != 1)
    return torch.from_numpy(np.add.reduce(value, axis=axes, keepdims=True)).reshape(shape)


def of_first_events(inputs: NeuronInputs, dc: Tensor | None, dq: Tensor | None) -> Tensor | None:
    """Return the gradient of the events before the first step from those of the first isyn and iahp."""
    found = None if dq is None else dq * inputs.w_ahp
    if inputs.w_rec is None or dc is None:
        return found
    received = dc.flatten(1) @ inputs.w_rec.T
    return received if found is None else found + received


def of_recurrent_weights(first: Tensor, spikes: Tensor, dc: Tensor) -> Tensor:
    """Return ``sum_t spikes[t-1]^T dc[t]`` as one product over batch and time.

    Args:
        first: events before the first step, ``(B, N)``.
        spikes: ``(B, T, N)``.
        dc: gradient of the charges, ``(B, T, C)``.
    """
    rows, columns = spikes.detach().flatten(0, 1), dc.flatten(0, 1)
    # A shift by one row needs no copy of the spikes, but joins each element's last step to the next's first.
    before = first.detach().clone()
    before[1:] -= spikes.detach()[:-1, -1]
    return torch.addmm(before.T @ dc[:, 0], rows[:-1].T, columns[1:])
