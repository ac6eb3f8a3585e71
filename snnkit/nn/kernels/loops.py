"""The inner loops over neurons or channels, for arrays of float32 or float64; importing this imports Numba.

Each loop touches few arrays: the compiler must check that none of them overlap before it can use vector
instructions. Constants have the type of the arrays, as Numba would widen to float64 otherwise.
"""
# ruff: noqa: ANN201, ANN202
# mypy: allow-untyped-defs

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic, overload

__all__ = [
    "OPTIONS",
    "PADDING",
    "compiled",
    "gather",
    "row",
]

PADDING = 16

OPTIONS = {"nogil": True, "error_model": "numpy"}

compiled = njit(**OPTIONS)
"""For functions inside a kernel: the disk cache holds them as a part of it."""


@compiled
def row(work, k):
    """Return row ``k`` of an array for working.

    Made with some columns more than are used: arrays of round size begin at equal places in a page, where
    they push each other out of the cache.
    """
    return work[k, : work.shape[1] - PADDING]


@compiled
def gather(slopes, w_rec, dc, ds):
    """Add ``w_rec @ dc`` to ``ds``, for the neurons with a slope: those of the others are multiplied by 0."""
    m, neurons = 0, slopes.shape[0]
    while m < neurons:
        if slopes[m] == 0:
            m += 1
            continue
        other = m + 1
        while other < neurons and slopes[other] == 0:
            other += 1
        one, two = _dot_pair(w_rec, m, min(other, neurons - 1), dc)
        ds[m] += one
        if other < neurons:
            ds[other] += two
        m = other + 1


@njit(fastmath={"reassoc", "contract"}, **OPTIONS)
def _dot_pair(w_rec, m, other, values):
    """Two dot products at once, which read ``values`` once; the order of the sums is the compiler's."""
    one = two = values.dtype.type(0)
    for j in range(values.shape[0]):
        one += w_rec[m, j] * values[j]
        two += w_rec[other, j] * values[j]
    return one, two


# --- exp, in float32 as a polynomial that vectorises: the library's function would be called for each number


@intrinsic
def _power_of_two(_typing, exponent):
    """2^exponent for a whole float32 from -126 to 127, by writing its bits."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        whole = builder.fptosi(arguments[0], ir.IntType(32))
        biased = builder.add(whole, ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.float32), emit


_PER_BIT, _BIT_HIGH, _BIT_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
_HALF, _LOWEST, _ONE = np.float32(0.5), np.float32(-87.0), np.float32(1)
_C6, _C5, _C4 = np.float32(1 / 720), np.float32(1 / 120), np.float32(1 / 24)
_C3, _C2 = np.float32(1 / 6), np.float32(1 / 2)


def _exp_of_negative(x: Any) -> Any:
    """``exp(x)`` for x <= 0; below -87 the smallest normal float32 in the place of what is smaller."""
    return math.exp(x)


@overload(_exp_of_negative, inline="always")
def _compiled_exp(x):
    if x != types.float32:
        return lambda x: math.exp(x)  # noqa: PLW0108 - Numba compiles this one

    def polynomial(x):
        y = _LOWEST if x < _LOWEST else x
        bits = np.floor(y * _PER_BIT + _HALF)
        r = (y - bits * _BIT_HIGH) - bits * _BIT_LOW
        series = ((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r * r + r + _ONE
        return series * _power_of_two(bits)

    return polynomial
