"""What the kernels do not cover: everything named here runs on torch's own operations."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from snnkit.nn.surrogates import PeriodicExponential, StepPWL

__all__ = ["reason_against", "surrogate_of"]

DTYPES = (torch.float32, torch.float64)


def surrogate_of(function: object) -> type | None:
    """Return StepPWL or PeriodicExponential if ``function`` is the ``apply`` of one of them, else None."""
    surrogate = getattr(function, "__self__", None)
    return surrogate if surrogate in (StepPWL, PeriodicExponential) else None


def reason_against(tensors: Iterable[Tensor | None]) -> str | None:
    """Say why these tensors cannot go through a kernel; None if they can.

    Kernels read memory directly. They take plain tensors in main memory that all have one type, float32 or
    float64, and work outside function transforms (``torch.func``, ``vmap``), compilation and tracing.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    dtype = given[0].dtype
    if dtype not in DTYPES:
        return f"the tensors are {dtype}; kernels take float32 and float64"
    for tensor in given:
        if tensor.dtype != dtype:
            return f"the tensors are of several types ({dtype} and {tensor.dtype})"
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return f"a tensor is on {tensor.device} in layout {tensor.layout}; kernels take dense CPU tensors"
        if type(tensor) is not Tensor and not isinstance(tensor, nn.Parameter):
            return f"a tensor is of class {type(tensor).__name__}, which is not torch's own"
    return _transformed()


def _transformed() -> str | None:
    # torch has no public name for this question.
    under_transform = getattr(torch._C, "_are_functorch_transforms_active", None)
    if under_transform is None or under_transform():
        return "a function transform (torch.func, vmap) is at work"
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return "the net is being compiled or traced"
    return None
