"""Sparse weights written out as dense ones, and read off them; importing this imports Numba."""
# ruff: noqa: ANN201, PLR0917
# mypy: allow-untyped-defs

from snnkit.nn.kernels import vectors_in_memory
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.vectors_in_memory import get, put
from snnkit.utilities.compilation import disk_cached

__all__ = ["read_lines", "write_lines"]


@disk_cached(OPTIONS, vectors_in_memory)
def write_lines(low, high, values, order, pointers, indices, width, dense):
    """Write the lines ``low ... high - 1`` of a dense matrix, zeros included.

    Args:
        low: first line.
        high: the one after the last.
        values: of the weights; see :mod:`snnkit.sparse.kernels.compressed`, as the next three.
        order: see there.
        pointers: see there.
        indices: see there.
        width: numbers in a line.
        dense: (lines, width), written.
    """
    dense[low * width : high * width] = 0
    for line in range(low, high):
        for k in range(get(pointers, line), get(pointers, line + 1)):
            put(dense, line * width + get(indices, k), get(values, get(order, k) if order.size else k))


@disk_cached(OPTIONS, vectors_in_memory)
def read_lines(low, high, target, order, pointers, indices, width, dense):
    """Write what stands in a dense matrix at the weights of the lines ``low ... high - 1`` to ``target``.

    Args:
        low: first line.
        high: the one after the last.
        target: written at these weights; in the order of the values.
        order: see :func:`write_lines`, as ``pointers`` and ``indices``.
        pointers: see there.
        indices: see there.
        width: numbers in a line.
        dense: (lines, width).
    """
    for line in range(low, high):
        for k in range(get(pointers, line), get(pointers, line + 1)):
            put(target, get(order, k) if order.size else k, get(dense, line * width + get(indices, k)))
