"""The product of a linear layer as an autograd node: event by event where its input is mostly zero."""

import functools
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.kernels.launch import run_kernel

__all__ = ["LinearProduct", "mostly_zero"]

DENSEST = 0.3
"""Share of inputs that are not zero up to which going event by event is faster: twice; at 5 % four times."""

LEAST_PRODUCTS = 2**18
"""Products below which a call costs more than it saves."""

LARGEST_WEIGHT = 2**20
"""Numbers of a weight that stay in the cache; beyond, events save nothing."""

NARROWEST = 16
"""Outputs from which on this is true of the weight gradient as well."""

LOOKED_AT = 256
"""Rows of which the zeros are counted."""

MOST_PARTS = 8
"""Sums that a weight gradient is made of; fixed, so that it does not depend on the number of threads."""


def mostly_zero(data: Tensor, weight: Tensor) -> bool:
    """Whether the product should go event by event; looks at some of the rows of ``data``."""
    rows = data.detach().reshape(-1, data.shape[-1])
    if len(rows) * weight.numel() < LEAST_PRODUCTS or weight.numel() > LARGEST_WEIGHT:
        return False
    seen = rows[:: -(-len(rows) // LOOKED_AT)]
    return int(torch.count_nonzero(seen)) <= DENSEST * seen.numel()


class LinearProduct(torch.autograd.Function):
    """``data @ weight`` for data ``(..., K)`` and weight ``(K, N)``.

    ``apply`` takes them and whether to go event by event. Then each output is the sum of its products in
    ascending order, from zero, over the inputs that are not zero; else it is what torch computes.
    """

    @staticmethod
    def forward(ctx: Any, data: Tensor, weight: Tensor, by_event: bool) -> Tensor:
        """Multiply."""
        ctx.save_for_backward(data, weight)
        ctx.by_event = by_event
        if not by_event:
            return data @ weight
        size_in, size_out = weight.shape
        output = data.new_empty(*data.shape[:-1], size_out)
        rows = output.numel() // size_out
        arrays = (_flat(data), _flat(weight), size_in, size_out, _flat(output))
        run_kernel("linear_kernels", "linear_forward", (rows, 1, max(size_in, size_out)), arrays)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Multiply by the transposed factors."""
        data, weight = ctx.saved_tensors
        rows, g = data.reshape(-1, len(weight)), gradient.reshape(-1, weight.shape[1])
        need_data, need_weight, _ = ctx.needs_input_grad
        d_data = _times_transposed(g, weight).view(data.shape) if need_data else None
        d_weight = None
        if need_weight:
            by_event = ctx.by_event and weight.shape[1] >= NARROWEST and not torch.is_grad_enabled()
            d_weight = _summed_by_event(rows, g) if by_event else _transposed_times(rows, g)
        return d_data, d_weight, None


def _flat(tensor: Tensor) -> np.ndarray:
    """Return the numbers of the tensor, in its own memory where they lie in order."""
    return tensor.detach().contiguous().numpy().reshape(-1)


def _summed_by_event(rows: Tensor, g: Tensor) -> Tensor:
    count, size_in, size_out = len(rows), rows.shape[1], g.shape[1]
    parts = min(MOST_PARTS, -(-count // LOOKED_AT))
    totals = torch.zeros(parts, size_in, size_out, dtype=g.dtype)
    part_rows = -(-count // parts)
    arrays = (_flat(rows), _flat(g), size_in, size_out, part_rows, _flat(totals))
    run_kernel("linear_kernels", "linear_weight_gradient", (parts, part_rows, size_in + size_out), arrays)
    return totals[0] if parts == 1 else totals.sum(0)


def _transposed_times(rows: Tensor, g: Tensor) -> Tensor:
    """Return ``rows.T @ g``. Products with few rows are faster than those with few columns."""
    return rows.T @ g if g.shape[1] >= rows.shape[1] else (g.T @ rows).T


def _times_transposed(g: Tensor, weight: Tensor) -> Tensor:
    """Return ``g @ weight.T``."""
    if g.dtype == torch.float32 and _has_faster_product() and not torch.is_grad_enabled():
        return torch.ops.mkldnn._linear_pointwise(g.contiguous(), weight, None, "none", [], "")
    return g @ weight.T


@functools.cache
def _has_faster_product() -> bool:
    """Whether oneDNN multiplies faster than MKL, torch's choice for float32.

    MKL uses the longest vectors on Intel's processors only; oneDNN does on all and takes half the time.
    """
    if not (torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"):
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    described = Path("/proc/cpuinfo")
    names = described.read_text() if described.exists() else platform.processor()
    return "GenuineIntel" not in names
