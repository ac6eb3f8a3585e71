"""16-bit arithmetic of a Xylo core for Numba kernels; importing this module imports Numba.

Numba alone widens integer sums to 64 bits. What stands here stays in 16, so that a register holds four
times as many numbers.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from .program import WIDTH

__all__ = ["ONE", "OPTIONS", "ZERO", "add_scaled", "compiled", "decay", "membrane", "multiply", "subtract"]

ZERO, ONE = np.int16(0), np.int16(1)

OPTIONS = {"nogil": True, "error_model": "numpy"}

compiled = njit(**OPTIONS)
"""For functions inside a kernel: the disk cache holds them as a part of it."""


_BINARY = types.int16(types.int16, types.int16)
_VECTOR = ir.VectorType(ir.IntType(16), WIDTH)


def _saturating_add(builder: Any, a: Any, b: Any, name: str) -> Any:
    """Emit the LLVM intrinsic ``name`` for two numbers or two vectors."""
    kind = ir.FunctionType(a.type, [a.type, a.type])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [a, b])


@intrinsic
def _shift_right(_typing, value, amount):
    return _BINARY, lambda _c, builder, _s, arguments: builder.ashr(*arguments)


@intrinsic
def _add(_typing, a, b):
    """The low 16 bits of a + b."""
    return _BINARY, lambda _c, builder, _s, arguments: builder.add(*arguments)


@intrinsic
def subtract(_typing, a, b):
    """The low 16 bits of a - b."""
    return _BINARY, lambda _c, builder, _s, arguments: builder.sub(*arguments)


@intrinsic
def multiply(_typing, a, b):
    """The low 16 bits of a * b."""
    return _BINARY, lambda _c, builder, _s, arguments: builder.mul(*arguments)


@intrinsic
def _add_clamped(_typing, a, b):
    def generate(_c, builder, _s, arguments):
        return _saturating_add(builder, arguments[0], arguments[1], "llvm.sadd.sat.i16")

    return _BINARY, generate


@intrinsic
def add_scaled(_typing, sums, first_sum, values, first_value, factor):
    """sums[i] = clamp(sums[i] + values[i] * factor) for WIDTH neighbours; the products must fit 16 bits.

    Returns an integer with a bit set for each sum that was clamped. Written as vectors because the loop
    would be checked for overlap of its arrays again at every synapse.
    """
    signature = types.uint32(sums, types.intp, values, types.intp, types.int16)

    def generate(context, builder, signature, arguments):
        def vector_at(position):
            array = context.make_array(signature.args[position])(context, builder, arguments[position])
            address = builder.gep(array.data, [arguments[position + 1]])
            return builder.bitcast(address, _VECTOR.as_pointer())

        sums_at = vector_at(0)
        old = builder.load(sums_at, align=2)
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        single = builder.insert_element(undefined, arguments[4], ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        factors = builder.shuffle_vector(single, undefined, zeros)
        product = builder.mul(builder.load(vector_at(2), align=2), factors)
        clamped = _saturating_add(builder, old, product, f"llvm.sadd.sat.v{WIDTH}i16")
        builder.store(clamped, sums_at, align=2)
        differs = builder.icmp_signed("!=", clamped, builder.add(old, product))
        return builder.bitcast(differs, ir.IntType(WIDTH))

    return signature, generate


@compiled
def decay(value, dash):
    """Return what a state loses in one time step."""
    # The shift leaves 0 of a small positive value, where the chip takes 1; a negative one is never 0.
    return max(_shift_right(value, dash), min(value, ONE))


@compiled
def _sum_of_three(a, b, c):
    """Return clamp(a + b + c), though only 16 bits are at hand."""
    clamped = _add_clamped(a, b)
    excess = subtract(_add(a, b), clamped)
    return _add_clamped(clamped, _add_clamped(excess, c))


@compiled
def membrane(value, isyn, isyn_2, dash, bias, version):
    """Return the new membrane state, and non-zero if any sum was clamped.

    Version 1 adds the current to the decayed state, version 2 saturates the increment before adding it.
    """
    decayed, old = (value, ZERO) if version == 1 else (ZERO, value)
    base = subtract(decayed, decay(value, dash))
    total = _sum_of_three(isyn, isyn_2, base)
    increment = _add_clamped(total, bias)
    new = _add_clamped(old, increment)
    clamped = total ^ _add(_add(isyn, isyn_2), base)
    clamped |= increment ^ _add(total, bias)
    clamped |= new ^ _add(old, increment)
    return new, clamped
