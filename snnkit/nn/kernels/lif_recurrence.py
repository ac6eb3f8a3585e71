"""The adjoint of recurrent input of LIF neurons: a product with ``w_rec`` that uses what is zero."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from numba import njit

from snnkit.nn.kernels.lif_steps import FED, POTENTIAL, THRESHOLD
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import first_lanes, lanes_of, lowest_bit, mask_bits, multiply_add, splat, sum_of
from snnkit.nn.kernels.vectors_in_memory import get, load, load_all, put, store_all

__all__ = ["feed_back"]

inlined = njit(forceinline=True, **OPTIONS)


@inlined
def list_slopes(work, at, size, course, course_at, course_size, neurons, window, relative, periodic, found):
    """Write the neurons whose potential gives a slope, and 0 to what is fed back to all; return how many."""
    lanes, length = lanes_of(work), 0
    zero, width = splat(work.dtype.type(0)), splat(window)
    for n in range(0, neurons, lanes):
        block = n // lanes
        store_all(work, at + block * size + FED * lanes, zero)
        threshold = load_all(work, at + block * size + THRESHOLD * lanes)
        lowest = threshold - (width * threshold if relative else width)
        bits = mask_bits(load_all(course, course_at + block * course_size + POTENTIAL * lanes) >= lowest)
        bits = -1 if periodic else bits
        bits &= mask_bits(first_lanes(work, neurons - n))
        while bits:
            put(found, length, n + lowest_bit(bits))
            bits &= bits - 1
            length += 1
    return length


@inlined
def feed_back(
    w_rec, dc, dc_at, columns, work, at, size, course, course_at, course_size,
    window, relative, periodic, found,
):  # fmt: skip
    """Write ``w_rec @ dc`` for the neurons with a slope, and 0 for the others: those are multiplied by 0."""
    neurons, lanes = w_rec.size // columns, lanes_of(work)
    length = list_slopes(
        work, at, size, course, course_at, course_size, neurons, window, relative, periodic, found
    )
    zero = splat(work.dtype.type(0))
    for k in range(0, length, 4):
        last = length - 1
        m0, m1 = get(found, k), get(found, min(k + 1, last))
        m2, m3 = get(found, min(k + 2, last)), get(found, min(k + 3, last))
        a, b, c, d = zero, zero, zero, zero
        for j in range(0, columns, lanes):
            mask = first_lanes(work, columns - j)
            gradient = load_all(dc, dc_at + j)
            a = multiply_add(gradient, load(w_rec, m0 * columns + j, mask), a)
            b = multiply_add(gradient, load(w_rec, m1 * columns + j, mask), b)
            c = multiply_add(gradient, load(w_rec, m2 * columns + j, mask), c)
            d = multiply_add(gradient, load(w_rec, m3 * columns + j, mask), d)
        put(work, at + m0 // lanes * size + FED * lanes + m0 % lanes, sum_of(a))
        put(work, at + m1 // lanes * size + FED * lanes + m1 % lanes, sum_of(b))
        put(work, at + m2 // lanes * size + FED * lanes + m2 % lanes, sum_of(c))
        put(work, at + m3 // lanes * size + FED * lanes + m3 % lanes, sum_of(d))
