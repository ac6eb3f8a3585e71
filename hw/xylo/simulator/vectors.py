"""Vectors of 32 numbers of 16 bits for Numba kernels; importing this module imports Numba.

Numba alone widens integer sums to 64 bits, has no saturating addition, and leaves vectors to the guesses
of the compiler. A vector here is a variable like any other; LLVM fits it to the registers of the machine.
A mask is a ``uint32`` with a bit for each number.
"""
# ruff: noqa: ANN201, ANN202
# mypy: allow-untyped-defs

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic, models, register_model

from .program import WIDTH

__all__ = [
    "NOBODY",
    "OPTIONS",
    "add",
    "add_clamped",
    "at_least",
    "bitwise_or",
    "bitwise_xor",
    "compiled",
    "count_bits",
    "first_bit",
    "highest_of",
    "interleave_high",
    "interleave_low",
    "is_nonzero",
    "item",
    "less",
    "load",
    "lowest_of",
    "maximum",
    "minimum",
    "multiply",
    "select",
    "shift_right",
    "splat",
    "store",
    "subtract",
    "sum_of",
    "without_first_bit",
]

OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without Numba's memory manager: its counting of references, at every view and every field of a tuple,
takes a third of a time step of one sample and half of the compilation. So a kernel cannot allocate.
"""

compiled = njit(**OPTIONS)
"""For functions inside a kernel: the disk cache holds them as a part of it."""

NOBODY = np.uint32(0)
"""The empty mask."""

_SHORT, _WORD = ir.IntType(16), ir.IntType(32)
_VECTOR = ir.VectorType(_SHORT, WIDTH)
_BITS = ir.VectorType(ir.IntType(1), WIDTH)


class _Vector(types.Type):
    """The Numba type of a vector."""

    def __init__(self) -> None:
        super().__init__(name=f"Int16x{WIDTH}")


_vector = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Emit a call of the LLVM intrinsic ``name``."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _operation(signature: Any, emit: Callable[..., Any]) -> Any:
    """Make a function of two operands; ``emit(builder, a, b)`` writes it."""

    @intrinsic
    def operation(_typing, a, b):
        return signature, lambda _c, builder, _s, operands: emit(builder, *operands)

    return operation


def _test(comparison: str) -> Any:
    def emit(builder: Any, a: Any, b: Any) -> Any:
        return builder.bitcast(builder.icmp_signed(comparison, a, b), _WORD)

    return _operation(types.uint32(_vector, _vector), emit)


def _arithmetic(emit: Callable[..., Any]) -> Any:
    return _operation(_vector(_vector, _vector), emit)


def _named(name: str) -> Any:
    return _arithmetic(lambda builder, a, b: _call(builder, f"llvm.{name}.v{WIDTH}i16", _VECTOR, a, b))


def _interleaved(first: int) -> Any:
    half = range(first, first + WIDTH // 2)
    order = ir.Constant(ir.VectorType(_WORD, WIDTH), [i + side for i in half for side in (0, WIDTH)])
    return _arithmetic(lambda builder, a, b: builder.shuffle_vector(a, b, order))


add = _arithmetic(lambda builder, a, b: builder.add(a, b))
subtract = _arithmetic(lambda builder, a, b: builder.sub(a, b))
multiply = _arithmetic(lambda builder, a, b: builder.mul(a, b))
shift_right = _arithmetic(lambda builder, a, b: builder.ashr(a, b))
bitwise_or = _arithmetic(lambda builder, a, b: builder.or_(a, b))
bitwise_xor = _arithmetic(lambda builder, a, b: builder.xor(a, b))
add_clamped, maximum, minimum = _named("sadd.sat"), _named("smax"), _named("smin")
interleave_low, interleave_high = _interleaved(0), _interleaved(WIDTH // 2)
at_least, less = _test(">="), _test("<")


@intrinsic
def splat(_typing, number):
    """The same number everywhere."""

    def generate(_c, builder, _s, operands):
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        single = builder.insert_element(undefined, operands[0], ir.Constant(_WORD, 0))
        return builder.shuffle_vector(
            single, undefined, ir.Constant(ir.VectorType(_WORD, WIDTH), [0] * WIDTH)
        )

    return _vector(types.int16), generate


@intrinsic
def select(_typing, mask, a, b):
    """``a`` where the mask has a bit, else ``b``."""

    def generate(_c, builder, _s, operands):
        return builder.select(builder.bitcast(operands[0], _BITS), *operands[1:])

    return _vector(types.uint32, _vector, _vector), generate


@intrinsic
def is_nonzero(_typing, a):
    """The mask of what is not 0."""

    def generate(_c, builder, _s, operands):
        return builder.bitcast(builder.icmp_signed("!=", operands[0], ir.Constant(_VECTOR, None)), _WORD)

    return types.uint32(_vector), generate


def _address(context: Any, builder: Any, signature: Any, operands: Any, kind: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, operands[0])
    return builder.bitcast(builder.gep(array.data, [operands[1]]), kind.as_pointer())


@intrinsic
def load(_typing, array, position):
    """The numbers from the flat ``position`` of a contiguous array on; positions are not checked."""

    def generate(context, builder, signature, operands):
        return builder.load(_address(context, builder, signature, operands, _VECTOR), align=2)

    return _vector(array, types.intp), generate


@intrinsic
def item(_typing, array, position):
    """One number of a contiguous array, without a test for positions that count from its end."""

    def generate(context, builder, signature, operands):
        data = context.make_array(signature.args[0])(context, builder, operands[0]).data
        return builder.load(builder.gep(data, [operands[1]]))

    return array.dtype(array, types.intp), generate


@intrinsic
def store(_typing, array, position, a):
    """Write ``a`` from the flat ``position`` on, to an array of 16 or 8 bits; positions are not checked."""
    kind = ir.VectorType(ir.IntType(array.dtype.bitwidth), WIDTH)

    def generate(context, builder, signature, operands):
        values = operands[2] if kind == _VECTOR else builder.trunc(operands[2], kind)
        builder.store(values, _address(context, builder, signature, operands, kind), align=1)

    return types.void(array, types.intp, _vector), generate


def _reduction(name: str) -> Any:
    @intrinsic
    def reduction(_typing, a):
        def generate(_c, builder, _s, operands):
            return _call(builder, f"llvm.vector.reduce.{name}.v{WIDTH}i16", _SHORT, operands[0])

        return types.int16(_vector), generate

    return reduction


highest_of, lowest_of, sum_of = _reduction("smax"), _reduction("smin"), _reduction("add")


@intrinsic
def count_bits(_typing, mask):
    """The number of bits in a mask."""

    def generate(_c, builder, _s, operands):
        return builder.zext(_call(builder, "llvm.ctpop.i32", _WORD, operands[0]), ir.IntType(64))

    return types.int64(types.uint32), generate


@intrinsic
def first_bit(_typing, mask):
    """The position of the first bit in a mask that has one."""

    def generate(_c, builder, _s, operands):
        position = _call(builder, "llvm.cttz.i32", _WORD, operands[0], ir.Constant(ir.IntType(1), 1))
        return builder.zext(position, ir.IntType(64))

    return types.intp(types.uint32), generate


@intrinsic
def without_first_bit(_typing, mask):
    """The mask less its first bit."""

    def generate(_c, builder, _s, operands):
        return builder.and_(operands[0], builder.sub(operands[0], ir.Constant(_WORD, 1)))

    return types.uint32(types.uint32), generate
