"""What the kernels do not cover: everything named here runs on torch's own operations."""

import os
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from snnkit.nn.surrogates import PeriodicExponential, StepPWL

__all__ = ["reason_against", "reason_against_kind", "surrogate_of", "transformation"]

DTYPES = (torch.float32, torch.float64)

MOST_CHANNELS = 4096
"""Channels that one of Triton's programs holds."""


def surrogate_of(function: object) -> type | None:
    """Return StepPWL or PeriodicExponential if ``function`` is the ``apply`` of one of them, else None."""
    surrogate = getattr(function, "__self__", None)
    return surrogate if surrogate in (StepPWL, PeriodicExponential) else None


def reason_against(tensors: Iterable[Tensor | None], device: str = "cpu") -> str | None:
    """Say why these tensors cannot go through a kernel; None if they can.

    Kernels read memory directly. They take plain tensors on one kind of device that all have one type,
    float32 or float64, and work outside function transforms (``torch.func``, ``vmap``), compilation and
    tracing.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    dtype = given[0].dtype
    if dtype not in DTYPES:
        return f"the tensors are {dtype}; kernels take float32 and float64"
    for tensor in given:
        if tensor.dtype != dtype:
            return f"the tensors are of several types ({dtype} and {tensor.dtype})"
        if tensor.device.type != device or tensor.layout != torch.strided:
            return f"a tensor is on {tensor.device} in layout {tensor.layout}, not dense on {device}"
        if type(tensor) is not Tensor and not isinstance(tensor, nn.Parameter):
            return f"a tensor is of class {type(tensor).__name__}, which is not torch's own"
    return transformation()


def reason_against_kind(
    kind: str, tensors: Sequence[Tensor | None], w_rec: Tensor | None = None
) -> str | None:
    """Say why these tensors cannot go through kernels of a kind, numba or triton; None if they can.

    Triton's hold a recurrent population in the registers of one program, which limits its size. They take
    tensors on the CPU where Triton's interpreter is on (``TRITON_INTERPRET=1``).
    """
    device = next(tensor.device.type for tensor in tensors if tensor is not None)
    if kind == "numba":
        return reason_against(tensors)
    if device != "cuda" and not (device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"):
        return f"the tensors are on {device}; Triton's kernels take tensors on CUDA devices"
    if w_rec is not None:
        neurons, channels = w_rec.shape
        held = _rounded_up(neurons) * _rounded_up(channels // neurons)
        if held > MOST_CHANNELS:
            return (
                f"recurrent populations on CUDA devices may have {MOST_CHANNELS} channels, neurons and "
                f"synapses rounded up to powers of two; these have {held}"
            )
    return reason_against(tensors, device)


def _rounded_up(count: int) -> int:
    return 1 << (count - 1).bit_length()


def transformation() -> str | None:
    """Say which transform or tracing a call is under, or None."""
    # torch has no public name for this question.
    under_transform = getattr(torch._C, "_are_functorch_transforms_active", None)
    if under_transform is None or under_transform():
        return "a function transform (torch.func, vmap) is at work"
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "the net is being compiled or traced"
    return None
