"""A sparse weight as a dense one, for dense products: two linear maps, each the gradient of the other."""

from typing import Any

import torch
from torch import Tensor

from snnkit.sparse.products import check_structure, check_values, needs_general_node, with_kernels
from snnkit.sparse.structure import Compressed, Pattern, rows_of

__all__ = ["written_at", "written_out"]

_MODULE = "snnkit.sparse.kernels.dense_kernels"


def written_out(values: Tensor, pattern: Pattern) -> Tensor:
    """Return the weight as a dense matrix ``(out_features, in_features)``, differentiable in ``values``."""
    check_values(values, pattern.nnz)
    rows = pattern.by_rows()
    if with_kernels(values) and not needs_general_node():
        return _Written.apply(values, rows, pattern)
    numbers = values if rows.order is None else values[rows.order.long()]
    return written_at(numbers, (rows_of(rows), rows.indices.long()), pattern.shape)


def written_at(values: Tensor, coordinates: tuple[Tensor, Tensor], shape: tuple[int, int]) -> Tensor:
    """Return the same in torch's operations, from row and column of each value."""
    return values.new_zeros(shape).index_put(coordinates, values)


class _Written(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Compressed, pattern: Pattern) -> Tensor:
        ctx.rows, ctx.pattern = rows, pattern
        dense = values.new_empty(pattern.shape)
        _run("write_lines", values, rows, dense)
        return dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        check_structure(ctx.pattern)
        return _Read.apply(gradient, ctx.rows, ctx.pattern), None, None


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, rows: Compressed, pattern: Pattern) -> Tensor:
        ctx.rows, ctx.pattern = rows, pattern
        values = dense.new_empty(rows.indices.shape[0])
        _run("read_lines", values, rows, dense.contiguous())
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Written.apply(gradient, ctx.rows, ctx.pattern), None, None


def _run(name: str, values: Tensor, rows: Compressed, dense: Tensor) -> None:
    from snnkit.nn.kernels.launch import run_kernel
    from snnkit.sparse.kernels.launching import flat

    lines, width = dense.shape
    run_kernel(_MODULE, name, (lines, 1, width), (flat(values), *rows.arrays, width, flat(dense)))
