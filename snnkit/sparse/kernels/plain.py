"""The three products of a sparse layer in torch's operations: the reference that the kernels are held to.

They run on every device, in every type, and can be differentiated any number of times.
"""

import torch
from torch import Tensor

__all__ = ["multiply", "sample"]


def multiply(values: Tensor, lines: Tensor, indices: Tensor, x: Tensor, count: int) -> Tensor:
    """Return ``matrix @ x``.

    Args:
        values: ``(nnz,)``.
        lines: ``(nnz,)``, row of each weight.
        indices: ``(nnz,)``, column of each weight.
        x: ``(columns, width)``.
        count: rows of the matrix.
    """
    products = values[:, None] * x[indices]
    return torch.zeros(count, x.shape[1], dtype=products.dtype, device=x.device).index_add(0, lines, products)


def sample(lines: Tensor, indices: Tensor, g: Tensor, x: Tensor) -> Tensor:
    """Return ``(g @ x.T)[lines, indices]`` for ``g`` ``(rows, width)`` and ``x`` ``(columns, width)``."""
    return (g[lines] * x[indices]).sum(1)
