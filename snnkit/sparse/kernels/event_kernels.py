"""Products of sparse weights with rows that are mostly zero, as events are: other weights are not read.

The matrix ``(K, N)`` is compressed by its senders: line ``m`` has the weights from input ``m``, which go to
the outputs ``indices[k]``. Events are rows of ``K`` numbers. All arrays but the indices have one float type,
flat and C-contiguous; ``order`` is as in :mod:`snnkit.sparse.kernels.compressed`.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np
from numba import njit

from snnkit.nn.kernels import events, simd, vectors_in_memory
from snnkit.nn.kernels.events import list_events
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import all_lanes, first_lanes, lanes_of, multiply_add, splat
from snnkit.nn.kernels.vectors_in_memory import get, load, put, store
from snnkit.sparse.kernels import gathering
from snnkit.sparse.kernels.gathering import gather_at, load_places
from snnkit.utilities.compilation import disk_cached

__all__ = ["deliver_events", "sample_events"]

inlined = njit(forceinline=True, **OPTIONS)


@inlined
def _add_line(number, first, last, values, order, indices, y, at):
    """Add the weights of one sender, times the number of its event, to the outputs."""
    if order.size:
        for k in range(first, last):
            to = at + get(indices, k)
            put(y, to, get(y, to) + number * get(values, get(order, k)))
    else:
        for k in range(first, last):
            to = at + get(indices, k)
            put(y, to, get(y, to) + number * get(values, k))


@disk_cached(OPTIONS, events, gathering, simd, vectors_in_memory)
def deliver_events(low, high, x, values, order, pointers, indices, size_in, size_out, y):
    """Write ``y = x @ matrix`` for the rows ``low ... high - 1``, ascending over the events, from zero.

    Args:
        low: first row.
        high: the one after the last.
        x: (R, K), the events.
        values: of the weights.
        order: see above, as ``pointers`` and ``indices``.
        pointers: see above.
        indices: see above.
        size_in: K.
        size_out: N.
        y: (R, N), written.
    """
    found, numbers = np.empty(size_in, np.int64), np.empty(size_in, x.dtype)
    for row in range(low, high):
        at = row * size_out
        y[at : at + size_out] = 0
        length = list_events(x, row * size_in, size_in, found, numbers)
        for event in range(length):
            m = get(found, event)
            first, last = get(pointers, m), get(pointers, m + 1)
            _add_line(get(numbers, event), first, last, values, order, indices, y, at)


@inlined
def _sample_line(number, first, last, indices, g, at, target, to):
    lanes, scale = lanes_of(g), splat(number)
    whole = all_lanes(g)
    row = g[at:]
    for k in range(first, last, lanes):
        mask = first_lanes(g, last - k) if k + lanes > last else whole
        received = gather_at(row, load_places(g, indices, k, mask), mask)
        store(target, to + k, multiply_add(scale, received, load(target, to + k, mask)), mask)


@disk_cached(OPTIONS, events, gathering, simd, vectors_in_memory)
def sample_events(low, high, x, g, pointers, indices, size_in, size_out, part_rows, totals):
    """Add ``x.T @ g`` at the weights, in the order of the lines, for the rows of each part to its total.

    Args:
        low: first part.
        high: the one after the last.
        x: (R, K), the events.
        g: (R, N).
        pointers: see above, as ``indices``.
        indices: see above.
        size_in: K.
        size_out: N.
        part_rows: rows in a part; the last may have fewer.
        totals: (parts, weights), added to.
    """
    found, numbers = np.empty(size_in, np.int64), np.empty(size_in, x.dtype)
    for part in range(low, high):
        to = part * indices.size
        for row in range(part * part_rows, min((part + 1) * part_rows, g.size // size_out)):
            length = list_events(x, row * size_in, size_in, found, numbers)
            for event in range(length):
                m = get(found, event)
                first, last = get(pointers, m), get(pointers, m + 1)
                _sample_line(get(numbers, event), first, last, indices, g, row * size_out, totals, to)
