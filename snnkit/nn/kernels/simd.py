"""Vectors of 64 bytes as a type that kernels compute with; importing this imports Numba.

A loop over an array is turned into vector instructions by the compiler only if it can prove that no two of
its arrays overlap, and it checks that at run time, in every loop anew. For the short rows of small layers
the checks cost more than the arithmetic. With a type of their own, vectors stay what they are: 16 float32 or
8 float64, whatever the processor's registers hold (the compiler takes two or four of those where they are
shorter). Every operation is rounded on its own, as in plain loops; nothing is fused or reordered but in
:func:`multiply_add` and :func:`sum_of`, which are for gradients.
"""
# ruff: noqa: ANN201, ANN202
# mypy: allow-untyped-defs

import operator

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

__all__ = [
    "BYTES",
    "Vector",
    "absolute",
    "all_lanes",
    "broadcast",
    "constant",
    "first_lanes",
    "floor",
    "intrinsic_function",
    "lanes_of",
    "lowest_bit",
    "mask_bits",
    "multiply_add",
    "power_of_two",
    "select",
    "splat",
    "suffix",
    "sum_of",
    "vector_of",
]

BYTES = 64


class Vector(types.Type):
    """``lanes`` numbers of one type; those of type boolean are masks."""

    def __init__(self, dtype, lanes) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def vector_of(dtype):
    """Return the type of vectors of such numbers."""
    return Vector(dtype, BYTES * 8 // dtype.bitwidth)


def _mask_for(vector):
    return Vector(types.boolean, vector.lanes)


# --- Operators -----------------------------------------------------------------------------------------


def _register_operator(function, name, compares):
    @infer_global(function)
    class _Template(AbstractTemplate):
        def generic(self, arguments, keywords):
            if len(arguments) == 2 and arguments[0] == arguments[1] and isinstance(arguments[0], Vector):
                result = _mask_for(arguments[0]) if compares else arguments[0]
                return signature(result, *arguments)
            return None

    @lower_builtin(function, Vector, Vector)
    def _lower(context, builder, signature, arguments):
        if not compares:
            return getattr(builder, name)(*arguments)
        compare = builder.fcmp_unordered if name == "!=" else builder.fcmp_ordered
        return compare(name, *arguments)


for _function, _name in {"add": "fadd", "sub": "fsub", "mul": "fmul", "truediv": "fdiv"}.items():
    _register_operator(getattr(operator, _function), _name, compares=False)
for _function, _name in {"ge": ">=", "gt": ">", "lt": "<", "ne": "!="}.items():
    _register_operator(getattr(operator, _function), _name, compares=True)


# --- For writing intrinsics -----------------------------------------------------------------------------


def intrinsic_function(builder, name, result, arguments):
    """Declare a function that the compiler knows."""
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def suffix(dtype, lanes):
    """Return the end of such a function's name, for vectors."""
    return f"v{lanes}{'f' if dtype in (types.float32, types.float64) else 'i'}{dtype.bitwidth}"


# --- Making vectors ------------------------------------------------------------------------------------


@intrinsic
def lanes_of(typing, array):
    """Return how many numbers of the array's type a vector has."""
    lanes = vector_of(array.dtype).lanes
    return types.intp(array), lambda context, builder, signature, arguments: ir.Constant(
        ir.IntType(64), lanes
    )


def broadcast(builder, number, vector):
    """Write a number to all lanes."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


@intrinsic
def splat(typing, number):
    """Return a vector of equal numbers."""
    result = vector_of(number)

    def emit(context, builder, signature, arguments):
        return broadcast(builder, arguments[0], context.get_value_type(result))

    return result(number), emit


@intrinsic
def constant(typing, like, number):
    """Return a vector of equal numbers, rounded to the type of the vector ``like``."""

    def emit(context, builder, signature, arguments):
        rounded = context.cast(builder, arguments[1], signature.args[1], like.dtype)
        return broadcast(builder, rounded, arguments[0].type)

    return like(like, types.float64), emit


@intrinsic
def first_lanes(typing, array, count):
    """Return a mask of the first ``count`` lanes, all of them if there are fewer; for the array's type."""
    mask = _mask_for(vector_of(array.dtype))

    def emit(context, builder, signature, arguments):
        whole = ir.VectorType(ir.IntType(32), mask.lanes)
        limit = broadcast(builder, builder.trunc(arguments[1], ir.IntType(32)), whole)
        return builder.icmp_signed("<", whole(list(range(mask.lanes))), limit)

    return mask(array, types.intp), emit


@intrinsic
def all_lanes(typing, array):
    """Return a mask of all lanes, with which there are no masks in the machine code."""
    mask = _mask_for(vector_of(array.dtype))

    def emit(context, builder, signature, arguments):
        return context.get_value_type(mask)([1] * mask.lanes)

    return mask(array), emit


# --- Arithmetic beyond the operators ---------------------------------------------------------------------


def _call(builder, name, arguments, result=None):
    kinds = [argument.type for argument in arguments]
    function = intrinsic_function(builder, name, result or kinds[0], kinds)
    return builder.call(function, arguments)


@intrinsic
def select(typing, mask, one, other):
    """Return ``one`` where the mask is set, ``other`` elsewhere."""
    return one(mask, one, one), lambda context, builder, signature, arguments: builder.select(*arguments)


@intrinsic
def floor(typing, vector):
    """Round down."""

    def emit(context, builder, signature, arguments):
        return _call(builder, f"llvm.floor.{suffix(vector.dtype, vector.lanes)}", arguments)

    return vector(vector), emit


@intrinsic
def absolute(typing, vector):
    """Drop the sign."""

    def emit(context, builder, signature, arguments):
        return _call(builder, f"llvm.fabs.{suffix(vector.dtype, vector.lanes)}", arguments)

    return vector(vector), emit


@intrinsic
def multiply_add(typing, one, other, total):
    """Return ``one * other + total``, rounded once where the processor can."""

    def emit(context, builder, signature, arguments):
        return _call(builder, f"llvm.fmuladd.{suffix(one.dtype, one.lanes)}", arguments)

    return one(one, one, one), emit


@intrinsic
def sum_of(typing, vector):
    """Return the sum of all lanes, added in pairs."""

    def emit(context, builder, signature, arguments):
        (rest,) = arguments
        while rest.type.count > 1:
            half = rest.type.count // 2
            parts = []
            for first in (0, half):
                order = ir.Constant(
                    ir.VectorType(ir.IntType(32), half),
                    [ir.Constant(ir.IntType(32), first + i) for i in range(half)],
                )
                parts.append(builder.shuffle_vector(rest, ir.Constant(rest.type, ir.Undefined), order))
            rest = builder.fadd(*parts)
        return builder.extract_element(rest, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), emit


@intrinsic
def power_of_two(typing, exponent):
    """Return 2^exponent for whole exponents of normal numbers, by writing their bits."""
    width = exponent.dtype.bitwidth
    fraction, bias = {32: (23, 127), 64: (52, 1023)}[width]

    def emit(context, builder, signature, arguments):
        whole = ir.VectorType(ir.IntType(width), exponent.lanes)

        def equal(number):
            return ir.Constant(whole, [ir.Constant(ir.IntType(width), number)] * exponent.lanes)

        biased = builder.add(builder.fptosi(arguments[0], whole), equal(bias))
        return builder.bitcast(builder.shl(biased, equal(fraction)), arguments[0].type)

    return exponent(exponent), emit


# --- Masks as bits ---------------------------------------------------------------------------------------


@intrinsic
def mask_bits(typing, mask):
    """Return the mask as a whole number, its first lane as the lowest bit."""

    def emit(context, builder, signature, arguments):
        bits = builder.bitcast(arguments[0], ir.IntType(mask.lanes))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(mask), emit


@intrinsic
def lowest_bit(typing, bits):
    """Return the position of the lowest bit that is set; the number must not be 0."""

    def emit(context, builder, signature, arguments):
        function = intrinsic_function(
            builder, "llvm.cttz.i64", ir.IntType(64), [ir.IntType(64), ir.IntType(1)]
        )
        return builder.call(function, [arguments[0], ir.Constant(ir.IntType(1), 1)])

    return types.intp(types.int64), emit
