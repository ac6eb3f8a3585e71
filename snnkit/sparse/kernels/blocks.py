"""Products with a matrix of small dense blocks; importing this imports Numba.

The blocks of line ``r`` are ``pointers[r] ... pointers[r + 1] - 1``; block ``p`` stands at ``indices[p]`` of
its line, and its numbers begin at ``values[order[p] * size]``, or ``p * size`` where ``order`` is empty. It
has ``across`` rows, ``step_across`` numbers apart, of ``along`` numbers each, ``step_along`` apart: with the
two exchanged, the same numbers are the transposed matrix. Other arrays are as in
:mod:`snnkit.sparse.kernels.compressed`.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from numba import njit

from snnkit.nn.kernels import simd, vectors_in_memory
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import first_lanes, lanes_of, multiply_add, splat, sum_of
from snnkit.nn.kernels.vectors_in_memory import get, load, load_all, put, store, store_all
from snnkit.utilities.compilation import disk_cached

__all__ = ["multiply_blocks", "sample_blocks"]

inlined = njit(forceinline=True, **OPTIONS)


@inlined
def _begin(order, p, size):
    return (get(order, p) if order.size else p) * size


@inlined
def _four_rows(line, i, blocks, values, order, pointers, indices, x, width, j, y):
    """Four rows at once: each number of ``x`` is read once for all of them."""
    across, along, step_across, step_along = blocks
    lanes, zero = lanes_of(x), splat(x.dtype.type(0))
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for p in range(get(pointers, line), get(pointers, line + 1)):
        at = _begin(order, p, across * along) + i * step_across
        place = get(indices, p) * along * width + j
        for _ in range(along):
            left, right = load_all(x, place), load_all(x, place + lanes)
            w = splat(get(values, at))
            a, b = multiply_add(w, left, a), multiply_add(w, right, b)
            w = splat(get(values, at + step_across))
            c, d = multiply_add(w, left, c), multiply_add(w, right, d)
            w = splat(get(values, at + 2 * step_across))
            e, f = multiply_add(w, left, e), multiply_add(w, right, f)
            w = splat(get(values, at + 3 * step_across))
            g, h = multiply_add(w, left, g), multiply_add(w, right, h)
            at += step_along
            place += width
    to = (line * across + i) * width + j
    store_all(y, to, a)
    store_all(y, to + lanes, b)
    store_all(y, to + width, c)
    store_all(y, to + width + lanes, d)
    store_all(y, to + 2 * width, e)
    store_all(y, to + 2 * width + lanes, f)
    store_all(y, to + 3 * width, g)
    store_all(y, to + 3 * width + lanes, h)


@inlined
def _one_row(line, i, blocks, values, order, pointers, indices, x, width, j, y):
    across, along, step_across, step_along = blocks
    mask, total = first_lanes(x, width - j), splat(x.dtype.type(0))
    for p in range(get(pointers, line), get(pointers, line + 1)):
        at = _begin(order, p, across * along) + i * step_across
        place = get(indices, p) * along * width + j
        for _ in range(along):
            total = multiply_add(splat(get(values, at)), load(x, place, mask), total)
            at += step_along
            place += width
    store(y, (line * across + i) * width + j, total, mask)


@disk_cached(OPTIONS, simd, vectors_in_memory)
def multiply_blocks(low, high, values, order, pointers, indices, blocks, x, width, y):
    """Write the rows of the lines ``low ... high - 1`` of ``y = matrix @ x``.

    Args:
        low: first line of blocks.
        high: the one after the last.
        values: see above, as ``order``, ``pointers`` and ``indices``.
        order: see above.
        pointers: see above.
        indices: see above.
        blocks: ``(across, along, step_across, step_along)``.
        x: (columns of the matrix, width).
        width: samples.
        y: (rows of the matrix, width), written.
    """
    across, pair = blocks[0], 2 * lanes_of(x)
    fours, wide = across - across % 4, width - width % pair
    for line in range(low, high):
        for i in range(0, fours, 4):
            for j in range(0, wide, pair):
                _four_rows(line, i, blocks, values, order, pointers, indices, x, width, j, y)
        for i in range(across):
            for j in range(wide if i < fours else 0, width, lanes_of(x)):
                _one_row(line, i, blocks, values, order, pointers, indices, x, width, j, y)


@inlined
def _dot(g, g_at, x, x_at, width):
    lanes = lanes_of(x)
    total, whole = splat(x.dtype.type(0)), width - width % lanes
    for j in range(0, whole, lanes):
        total = multiply_add(load_all(g, g_at + j), load_all(x, x_at + j), total)
    if whole < width:
        rest = first_lanes(x, width - whole)
        total = multiply_add(load(g, g_at + whole, rest), load(x, x_at + whole, rest), total)
    return sum_of(total)


@disk_cached(OPTIONS, simd, vectors_in_memory)
def sample_blocks(low, high, target, pointers, indices, across, along, g, x, width):
    """Add ``g @ x.T`` to ``target``, block by block, in the lines ``low ... high - 1``.

    Args:
        low: first line of blocks.
        high: the one after the last.
        target: the gradients of all blocks' numbers, added to.
        pointers: see above.
        indices: see above.
        across: rows of a block.
        along: columns of a block.
        g: (rows of the matrix, width).
        x: (columns of the matrix, width).
        width: samples.
    """
    for line in range(low, high):
        for p in range(get(pointers, line), get(pointers, line + 1)):
            for i in range(across):
                g_at, to = (line * across + i) * width, (p * across + i) * along
                for j in range(along):
                    x_at = (get(indices, p) * along + j) * width
                    put(target, to + j, get(target, to + j) + _dot(g, g_at, x, x_at, width))
