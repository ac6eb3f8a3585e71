"""Linear layers for inputs that are mostly zero, as events are: only what is not zero is multiplied.

Arrays are flat, C-contiguous and of one float type: ``x`` is ``(R, K)``, ``weight`` ``(K, N)``.
"""
# ruff: noqa: ANN201, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import events, loops, simd, vectors_in_memory
from snnkit.nn.kernels.events import add_outer, deliver, list_events
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.utilities.compilation import disk_cached

__all__ = ["linear_forward", "linear_weight_gradient"]


@disk_cached(OPTIONS, events, loops, simd, vectors_in_memory)
def linear_forward(low, high, x, weight, size_in, size_out, y):
    """Write ``y = x @ weight`` for the rows ``low ... high - 1``, ascending over the inputs, from zero.

    Args:
        low: first row.
        high: the one after the last.
        x: (R, K).
        weight: (K, N).
        size_in: K.
        size_out: N.
        y: (R, N), written.
    """
    found, numbers = np.empty(size_in, np.int64), np.empty(size_in, x.dtype)
    for row in range(low, high):
        deliver(x, row * size_in, size_in, weight, size_out, found, numbers, y, row * size_out)


@disk_cached(OPTIONS, events, loops, simd, vectors_in_memory)
def linear_weight_gradient(low, high, x, g, size_in, size_out, part_rows, totals):
    """Add ``x.T @ g`` of the rows of each part to the total of that part.

    Args:
        low: first part.
        high: the one after the last.
        x: (R, K).
        g: (R, N).
        size_in: K.
        size_out: N.
        part_rows: rows in a part; the last may have fewer.
        totals: (parts, K, N), added to.
    """
    found, numbers = np.empty(size_in, np.int64), np.empty(size_in, x.dtype)
    for part in range(low, high):
        for row in range(part * part_rows, min((part + 1) * part_rows, g.size // size_out)):
            length = list_events(x, row * size_in, size_in, found, numbers)
            add_outer(found, numbers, length, g, row * size_out, size_out, totals, part * size_in * size_out)
