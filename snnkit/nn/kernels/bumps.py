"""The surrogate slope of PeriodicExponential, on vectors."""
# ruff: noqa: ANN201, ANN202
# mypy: allow-untyped-defs

import math

from numba import njit, types
from numba.extending import intrinsic

from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import absolute, constant, floor, power_of_two, select

__all__ = ["bump", "exp_of_negative"]

inlined = njit(forceinline=True, **OPTIONS)

DEGREE = {types.float32: 7, types.float64: 13}
"""Of the series of exp between -ln(2) / 2 and ln(2) / 2, where its remainder is below half a unit."""

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4
"""ln(2) in two parts: whole numbers below 2^11 times the first have no rounding error, in float32 either."""


@inlined
def bump(u, threshold, window, cap):
    """Return ``exp(-|w - th / 2| / window)``: see :class:`snnkit.nn.surrogates.PeriodicExponential`."""
    half = threshold * constant(u, 0.5)
    shifted = u - half
    periods, last = floor(shifted / threshold), cap - constant(u, 1.0)
    periods = select(periods > last, last, periods)
    folded = select(u < threshold, shifted, shifted - periods * threshold)
    return exp_of_negative(constant(u, 0.0) - absolute(folded - half) / window)


@inlined
def exp_of_negative(x):
    """Return ``exp(x)`` for x <= 0, within 2 units in the last place.

    What would be less than a normal number is about the smallest of those instead (1e-38 in float32).
    """
    lowest = _lowest(x)
    x = select(x < lowest, lowest, x)
    bits = floor(x * constant(x, 1 / math.log(2)) + constant(x, 0.5))
    rest = (x - bits * constant(x, _LN2_HIGH)) - bits * constant(x, _LN2_LOW)
    return _series(rest) * power_of_two(bits)


@intrinsic
def _series(typing, x):
    """Return the sum of ``x^k / k!``."""

    def emit(context, builder, signature, arguments):
        kind = arguments[0].type
        total = None
        for k in range(DEGREE[x.dtype], -1, -1):
            term = kind([1 / math.factorial(k)] * x.lanes)
            total = term if total is None else builder.fadd(builder.fmul(total, arguments[0]), term)
        return total

    return x(x), emit


@intrinsic
def _lowest(typing, like):
    """Return the least x whose ``exp(x)`` is a normal number."""
    value = {types.float32: -87.0, types.float64: -708.0}[like.dtype]
    return like(like), lambda context, builder, signature, arguments: arguments[0].type([value] * like.lanes)
