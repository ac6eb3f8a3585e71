"""Bringing input and stored state into the form ``(batch, time, channels)``."""

from collections.abc import Sequence

import torch
from torch import Tensor

from snnkit.utilities.errors import ShapeError

__all__ = ["as_batch", "batched_state"]


def as_batch(data: Tensor, size_in: int | None, where: str, like: Tensor | None = None) -> Tensor:
    """Return ``data`` as ``(batch, time, channels)``.

    Args:
        data: ``(batch, time, channels)``, ``(time, channels)`` or ``(time,)``. A last axis of size 1 is
            repeated for every input channel.
        size_in: number of input channels; None leaves the channels unchecked.
        where: the module, for the message.
        like: gives arrays and lists that are no tensor yet their dtype and device.

    Raises:
        ShapeError: another number of axes or channels.
    """
    if not isinstance(data, Tensor):
        like = torch.empty(0) if like is None else like
        data = torch.as_tensor(data, dtype=like.dtype, device=like.device)
    if not 1 <= data.ndim <= 3:
        raise ShapeError(
            f"{where}: input has shape {tuple(data.shape)}; it must be (batch, time, channels), "
            "(time, channels) or (time,)."
        )
    if data.ndim == 1:
        data = data[:, None]
    if data.ndim == 2:
        data = data[None]
    if size_in is None or data.shape[-1] == size_in:
        return data
    if data.shape[-1] == 1:
        return data.expand(-1, -1, size_in)
    raise ShapeError(
        f"{where}: Input has wrong neuron dimension. It is {data.shape[-1]}, must be {size_in} "
        f"(input shape {tuple(data.shape)})."
    )


def batched_state(state: Tensor, shape: Sequence[int], batch: int, where: str) -> Tensor:
    """Return ``state`` as ``(batch, *shape)``; one without a batch axis serves every element.

    Raises:
        ShapeError: ``state`` belongs to a batch of another size.
    """
    if state.is_inference() and not torch.is_inference_mode_enabled():
        # Left by a call in inference mode; autograd would refuse to work with it.
        state = state.clone()
    if state.ndim == len(shape):
        return state.expand(batch, *shape)
    if state.shape[0] in (batch, 1):
        return state.expand(batch, *state.shape[1:])
    raise ShapeError(
        f"{where}: the state kept from the last call belongs to a batch of {state.shape[0]}, "
        f"the input has a batch of {batch}. Call reset_state() between batches of different size."
    )
