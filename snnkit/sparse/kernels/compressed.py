"""Products with a compressed sparse matrix, many columns at once; importing this imports Numba.

The matrix has rows of weights: row ``r`` holds those at ``pointers[r] ... pointers[r + 1] - 1``, which
stand in the columns ``indices[k]``. Weight ``k`` is ``values[order[k]]``, or ``values[k]`` where ``order`` is
empty. The other arrays are dense, flat and C-contiguous, with ``width`` numbers in each of their rows, the
samples of a batch: vectors run along the batch, and each weight is read once for up to eight of them.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from numba import njit

from snnkit.nn.kernels import simd, vectors_in_memory
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import all_lanes, first_lanes, lanes_of, multiply_add, splat, sum_of
from snnkit.nn.kernels.vectors_in_memory import get, load, load_all, put, store, store_all
from snnkit.sparse.kernels import gathering
from snnkit.sparse.kernels.gathering import gather_at, load_places
from snnkit.utilities.compilation import disk_cached

__all__ = ["multiply", "multiply_one", "sample", "sample_one"]

inlined = njit(forceinline=True, **OPTIONS)


@inlined
def _number(values, order, k):
    return get(values, get(order, k)) if order.size else get(values, k)


@inlined
def _eight(first, last, values, order, indices, x, width, j, y, at):
    lanes, zero = lanes_of(x), splat(x.dtype.type(0))
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(first, last):
        place, w = get(indices, k) * width + j, splat(_number(values, order, k))
        a = multiply_add(w, load_all(x, place), a)
        b = multiply_add(w, load_all(x, place + lanes), b)
        c = multiply_add(w, load_all(x, place + 2 * lanes), c)
        d = multiply_add(w, load_all(x, place + 3 * lanes), d)
        e = multiply_add(w, load_all(x, place + 4 * lanes), e)
        f = multiply_add(w, load_all(x, place + 5 * lanes), f)
        g = multiply_add(w, load_all(x, place + 6 * lanes), g)
        h = multiply_add(w, load_all(x, place + 7 * lanes), h)
    store_all(y, at, a)
    store_all(y, at + lanes, b)
    store_all(y, at + 2 * lanes, c)
    store_all(y, at + 3 * lanes, d)
    store_all(y, at + 4 * lanes, e)
    store_all(y, at + 5 * lanes, f)
    store_all(y, at + 6 * lanes, g)
    store_all(y, at + 7 * lanes, h)


@inlined
def _two(first, last, values, order, indices, x, width, j, y, at):
    lanes, zero = lanes_of(x), splat(x.dtype.type(0))
    a, b = zero, zero
    for k in range(first, last):
        place, w = get(indices, k) * width + j, splat(_number(values, order, k))
        a = multiply_add(w, load_all(x, place), a)
        b = multiply_add(w, load_all(x, place + lanes), b)
    store_all(y, at, a)
    store_all(y, at + lanes, b)


@inlined
def _some(first, last, values, order, indices, x, width, j, mask, y, at):
    total = splat(x.dtype.type(0))
    for k in range(first, last):
        w = splat(_number(values, order, k))
        total = multiply_add(w, load(x, get(indices, k) * width + j, mask), total)
    store(y, at, total, mask)


@disk_cached(OPTIONS, gathering, simd, vectors_in_memory)
def multiply(low, high, values, order, pointers, indices, x, width, y):
    """Write the rows ``low ... high - 1`` of ``y = matrix @ x``, each a sum ascending over its weights.

    Args:
        low: first row.
        high: the one after the last.
        values: see above, as ``order``, ``pointers`` and ``indices``.
        order: see above.
        pointers: see above.
        indices: see above.
        x: (columns of the matrix, width).
        width: samples.
        y: (rows of the matrix, width), written.
    """
    lanes = lanes_of(x)
    for row in range(low, high):
        first, last, at, j = get(pointers, row), get(pointers, row + 1), row * width, 0
        while j + 8 * lanes <= width:
            _eight(first, last, values, order, indices, x, width, j, y, at + j)
            j += 8 * lanes
        while j + 2 * lanes <= width:
            _two(first, last, values, order, indices, x, width, j, y, at + j)
            j += 2 * lanes
        while j < width:
            mask = first_lanes(x, width - j)
            _some(first, last, values, order, indices, x, width, j, mask, y, at + j)
            j += lanes


@disk_cached(OPTIONS, gathering, simd, vectors_in_memory)
def multiply_one(low, high, values, order, pointers, indices, x, y):
    """Do what :func:`multiply` does for a single sample: vectors run along the weights of a row."""
    lanes = lanes_of(x)
    for row in range(low, high):
        first, last = get(pointers, row), get(pointers, row + 1)
        total = splat(x.dtype.type(0))
        for k in range(first, last, lanes):
            mask = first_lanes(x, last - k)
            if order.size:
                w = gather_at(values, load_places(values, order, k, mask), mask)
            else:
                w = load(values, k, mask)
            total = multiply_add(w, gather_at(x, load_places(x, indices, k, mask), mask), total)
        put(y, row, sum_of(total))


@inlined
def _dot_eight(row_at, x_at, g, x):
    lanes = lanes_of(x)
    a = load_all(g, row_at) * load_all(x, x_at)
    b = load_all(g, row_at + lanes) * load_all(x, x_at + lanes)
    c = load_all(g, row_at + 2 * lanes) * load_all(x, x_at + 2 * lanes)
    d = load_all(g, row_at + 3 * lanes) * load_all(x, x_at + 3 * lanes)
    a = multiply_add(load_all(g, row_at + 4 * lanes), load_all(x, x_at + 4 * lanes), a)
    b = multiply_add(load_all(g, row_at + 5 * lanes), load_all(x, x_at + 5 * lanes), b)
    c = multiply_add(load_all(g, row_at + 6 * lanes), load_all(x, x_at + 6 * lanes), c)
    d = multiply_add(load_all(g, row_at + 7 * lanes), load_all(x, x_at + 7 * lanes), d)
    return (a + b) + (c + d)


@disk_cached(OPTIONS, gathering, simd, vectors_in_memory)
def sample(low, high, target, order, pointers, indices, g, x, width):
    """Add ``g @ x.T`` to ``target`` at the weights of the rows ``low ... high - 1``, and nowhere else.

    Args:
        low: first row.
        high: the one after the last.
        target: the weights' gradients, added to; see above, as ``order``, ``pointers`` and ``indices``.
        order: see above.
        pointers: see above.
        indices: see above.
        g: (rows of the matrix, width).
        x: (columns of the matrix, width).
        width: samples.
    """
    lanes = lanes_of(x)
    wide, whole = width - width % (8 * lanes), width - width % lanes
    rest = first_lanes(x, width - whole)
    for row in range(low, high):
        at = row * width
        for k in range(get(pointers, row), get(pointers, row + 1)):
            place = get(indices, k) * width
            total = splat(x.dtype.type(0))
            for j in range(0, wide, 8 * lanes):
                total = total + _dot_eight(at + j, place + j, g, x)
            for j in range(wide, whole, lanes):
                total = multiply_add(load_all(g, at + j), load_all(x, place + j), total)
            if whole < width:
                total = multiply_add(load(g, at + whole, rest), load(x, place + whole, rest), total)
            to = get(order, k) if order.size else k
            put(target, to, get(target, to) + sum_of(total))


@disk_cached(OPTIONS, gathering, simd, vectors_in_memory)
def sample_one(low, high, target, order, pointers, indices, g, x):
    """Do what :func:`sample` does for a single sample."""
    lanes = lanes_of(x)
    whole = all_lanes(x)
    for row in range(low, high):
        first, last = get(pointers, row), get(pointers, row + 1)
        scale = splat(get(g, row))
        if order.size:
            for k in range(first, last):
                to = get(order, k)
                put(target, to, get(target, to) + get(g, row) * get(x, get(indices, k)))
            continue
        for k in range(first, last, lanes):
            mask = first_lanes(x, last - k) if k + lanes > last else whole
            numbers = gather_at(x, load_places(x, indices, k, mask), mask)
            store(target, k, multiply_add(scale, numbers, load(target, k, mask)), mask)
