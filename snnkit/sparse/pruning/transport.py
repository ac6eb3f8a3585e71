"""The compiled solver behind caps of both fans: shortest augmenting paths with prices.

Imported when it is first needed, as it brings Numba.
"""

import functools
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from snnkit.utilities.compilation import disk_cached, told_if_slow

__all__ = ["solve"]

Array = NDArray[np.float64]


@njit
def _choose(gain: Any, cap: int, mask: Any, u: Any, counts: Any) -> None:
    """Let every row take its ``cap`` best columns, whatever others take; u is the price of its next best."""
    for i in range(gain.shape[0]):
        order = np.argsort(-gain[i], kind="mergesort")
        for place in range(min(cap, len(order))):
            j = order[place]
            if gain[i, j] >= 0:
                mask[i, j] = True
                counts[j] += 1
        if cap < len(order):
            u[i] = max(gain[i, order[cap]], 0.0)


@njit
def _relax_column(gain: Any, mask: Any, u: Any, v: Any, d: Any, done: Any, parent: Any, j: int) -> None:  # noqa: PLR0917
    """Reach the rows that could give up column ``j``."""
    rows = gain.shape[0]
    for i in range(rows):
        if mask[i, j] and not done[i]:
            length = d[rows + j] + max(gain[i, j] - u[i] - v[j], 0.0)
            if length < d[i]:
                d[i] = length
                parent[i] = j


@njit
def _relax_row(gain: Any, mask: Any, u: Any, v: Any, d: Any, done: Any, parent: Any, i: int) -> None:  # noqa: PLR0917
    """Reach the columns that row ``i`` could take instead."""
    rows = gain.shape[0]
    for j in range(gain.shape[1]):
        if not mask[i, j] and not done[rows + j]:
            length = d[i] + max(u[i] + v[j] - gain[i, j], 0.0)
            if length < d[rows + j]:
                d[rows + j] = length
                parent[rows + j] = i


@njit
def _nearest(d: Any, done: Any) -> int:
    best, at = np.inf, -1
    for node in range(len(d)):
        if not done[node] and d[node] < best:
            best, at = d[node], node
    return at


@njit
def _shortest(  # noqa: PLR0917
    gain: Any, mask: Any, u: Any, v: Any, counts: Any, cap: int, d: Any, done: Any, parent: Any
) -> tuple[int, float]:
    """Return the end of the shortest path out of the overfull columns, and its length.

    It ends at a column with room, or at a row (returned as ``-1 - row``) that does without a replacement.
    """
    rows = gain.shape[0]
    d[:], done[:], parent[:] = np.inf, False, -1
    for j in range(gain.shape[1]):
        if counts[j] > cap:
            d[rows + j] = 0.0
    end, length = -(rows + 1), np.inf
    while True:
        node = _nearest(d, done)
        if node < 0 or d[node] >= length:
            return end, length
        done[node] = True
        if node >= rows:
            j = node - rows
            if counts[j] < cap:
                return j, d[node]
            _relax_column(gain, mask, u, v, d, done, parent, j)
        else:
            if d[node] + u[node] < length:
                end, length = -1 - node, d[node] + u[node]
            _relax_row(gain, mask, u, v, d, done, parent, node)


@njit
def _augment(mask: Any, counts: Any, parent: Any, end: int) -> None:
    """Move along the path: rows on it give up one column for the next."""
    rows = mask.shape[0]
    if end >= 0:
        counts[end] += 1
        i = parent[rows + end]
        mask[i, end] = True
    else:
        i = -1 - end
    while True:
        j = parent[i]
        mask[i, j] = False
        if parent[rows + j] < 0:
            counts[j] -= 1
            return
        i = parent[rows + j]
        mask[i, j] = True


@disk_cached({"nogil": True})
def _solve(gain: Any, row_cap: int, column_cap: int, mask: Any, u: Any, v: Any) -> None:  # noqa: PLR0917
    rows, columns = gain.shape
    counts = np.zeros(columns, np.int64)
    _choose(gain, row_cap, mask, u, counts)
    d = np.empty(rows + columns)
    done = np.empty(rows + columns, np.bool_)
    parent = np.empty(rows + columns, np.int64)
    excess = 0
    for j in range(columns):
        excess += max(counts[j] - column_cap, 0)
    for _ in range(excess):
        end, length = _shortest(gain, mask, u, v, counts, column_cap, d, done, parent)
        for i in range(rows):
            if d[i] < length:
                u[i] -= length - d[i]
        for j in range(columns):
            if d[rows + j] < length:
                v[j] += length - d[rows + j]
        _augment(mask, counts, parent, end)


def solve(gain: Array, row_cap: int, column_cap: int) -> tuple[NDArray[np.bool_], Array, Array]:
    """Return the mask of the largest sum of gains under both caps, and the prices that prove it.

    Args:
        gain: ``(rows, columns)``; what is below 0 is never taken.
        row_cap: Most elements of a row.
        column_cap: Most elements of a column.

    Returns:
        Mask, prices of rows and prices of columns: on the mask ``gain >= u + v``, elsewhere ``<=``.
    """
    _ready()
    mask = np.zeros(gain.shape, np.bool_)
    u, v = np.zeros(gain.shape[0]), np.zeros(gain.shape[1])
    _solve(gain, row_cap, column_cap, mask, u, v)
    return mask, u, v


@functools.cache
def _ready() -> None:
    """Compile the solver, or load it."""
    with told_if_slow("solver for fan-in and fan-out caps"):
        _solve(np.zeros((1, 1)), 1, 1, np.zeros((1, 1), np.bool_), np.zeros(1), np.zeros(1))
