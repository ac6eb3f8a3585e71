"""Vectors of 64 bytes as a type that kernels compute with; importing this imports Numba.

A loop over an array is turned into vector instructions by the compiler only if it can prove that no two of
its arrays overlap, and it checks that at run time, in every loop anew. For the short rows of small layers
the checks cost more than the arithmetic. With a type of their own, vectors stay what they are: 16 float32 or
8 float64, whatever the processor's registers hold (the compiler takes two or four of those where they are
shorter). Every operation is rounded on its own, as in plain loops; nothing is fused or reordered but in
:func:`multiply_add` and :func:`sum_of`, which are for gradients.

Arrays are C-contiguous and addressed by the position of a number in memory. ``mask`` says which lanes to
touch; a lane that is not loaded is 0.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import operator

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

__all__ = [
    "absolute",
    "aligned",
    "all_lanes",
    "constant",
    "first_lanes",
    "floor",
    "get",
    "lanes_of",
    "load",
    "load_all",
    "load_apart",
    "lowest_bit",
    "mask_bits",
    "multiply_add",
    "power_of_two",
    "prefetch",
    "put",
    "select",
    "splat",
    "store",
    "store_all",
    "store_apart",
    "sum_of",
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


def _vector_of(dtype):
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


# --- Making vectors ------------------------------------------------------------------------------------


@intrinsic
def lanes_of(typing, array):
    """Return how many numbers of the array's type a vector has."""
    lanes = _vector_of(array.dtype).lanes
    return types.intp(array), lambda context, builder, signature, arguments: ir.Constant(
        ir.IntType(64), lanes
    )


def _broadcast(builder, number, vector):
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), order)


@intrinsic
def splat(typing, number):
    """Return a vector of equal numbers."""
    result = _vector_of(number)

    def emit(context, builder, signature, arguments):
        return _broadcast(builder, arguments[0], context.get_value_type(result))

    return result(number), emit


@intrinsic
def constant(typing, like, number):
    """Return a vector of equal numbers, rounded to the type of the vector ``like``."""

    def emit(context, builder, signature, arguments):
        rounded = context.cast(builder, arguments[1], signature.args[1], like.dtype)
        return _broadcast(builder, rounded, arguments[0].type)

    return like(like, types.float64), emit


@intrinsic
def first_lanes(typing, array, count):
    """Return a mask of the first ``count`` lanes, all of them if there are fewer; for the array's type."""
    mask = _mask_for(_vector_of(array.dtype))

    def emit(context, builder, signature, arguments):
        whole = ir.VectorType(ir.IntType(32), mask.lanes)
        limit = _broadcast(builder, builder.trunc(arguments[1], ir.IntType(32)), whole)
        return builder.icmp_signed("<", whole(list(range(mask.lanes))), limit)

    return mask(array, types.intp), emit


@intrinsic
def all_lanes(typing, array):
    """Return a mask of all lanes, with which there are no masks in the machine code."""
    mask = _mask_for(_vector_of(array.dtype))

    def emit(context, builder, signature, arguments):
        return context.get_value_type(mask)([1] * mask.lanes)

    return mask(array), emit


# --- Memory --------------------------------------------------------------------------------------------


def _address(context, builder, array_type, array, position):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [position])


def _intrinsic_function(builder, name, result, arguments):
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def _suffix(dtype, lanes):
    return f"v{lanes}{'f' if dtype in (types.float32, types.float64) else 'i'}{dtype.bitwidth}"


@intrinsic
def load(typing, array, position, mask):
    """Return the numbers from ``position`` on."""
    result = _vector_of(array.dtype)

    def emit(context, builder, signature, arguments):
        array, position, mask = arguments
        vector = context.get_value_type(result)
        address = _address(context, builder, signature.args[0], array, position)
        address = builder.bitcast(address, vector.as_pointer())
        whole = ir.IntType(32)
        function = _intrinsic_function(
            builder,
            f"llvm.masked.load.{_suffix(result.dtype, result.lanes)}.p0",
            vector,
            [address.type, whole, mask.type, vector],
        )
        align = ir.Constant(whole, result.dtype.bitwidth // 8)
        return builder.call(function, [address, align, mask, ir.Constant(vector, None)])

    return result(array, types.intp, mask), emit


@intrinsic
def store(typing, array, position, vector, mask):
    """Write the numbers from ``position`` on."""

    def emit(context, builder, signature, arguments):
        array, position, vector, mask = arguments
        address = _address(context, builder, signature.args[0], array, position)
        address = builder.bitcast(address, vector.type.as_pointer())
        whole, kind = ir.IntType(32), signature.args[2]
        function = _intrinsic_function(
            builder,
            f"llvm.masked.store.{_suffix(kind.dtype, kind.lanes)}.p0",
            ir.VoidType(),
            [vector.type, address.type, whole, mask.type],
        )
        builder.call(function, [vector, address, ir.Constant(whole, kind.dtype.bitwidth // 8), mask])
        return context.get_dummy_value()

    return types.none(array, types.intp, vector, mask), emit


def _addresses(context, builder, array_type, arguments, lanes):
    """Return the addresses of ``lanes`` numbers from a position on, ``stride`` numbers apart."""
    array, position, stride = arguments
    first = _address(context, builder, array_type, array, position)
    whole = ir.VectorType(ir.IntType(64), lanes)
    apart = builder.mul(stride, ir.Constant(ir.IntType(64), array_type.dtype.bitwidth // 8))
    steps = builder.mul(_broadcast(builder, apart, whole), whole(list(range(lanes))))
    places = builder.add(_broadcast(builder, builder.ptrtoint(first, ir.IntType(64)), whole), steps)
    return builder.inttoptr(places, ir.VectorType(first.type, lanes))


@intrinsic
def load_apart(typing, array, position, stride, mask):
    """Return the numbers from ``position`` on that are ``stride`` apart."""
    result = _vector_of(array.dtype)

    def emit(context, builder, signature, arguments):
        vector, mask = context.get_value_type(result), arguments[3]
        places = _addresses(context, builder, signature.args[0], arguments[:3], result.lanes)
        kinds = [places.type, ir.IntType(32), mask.type, vector]
        name = f"llvm.masked.gather.{_suffix(result.dtype, result.lanes)}.v{result.lanes}p0"
        function = _intrinsic_function(builder, name, vector, kinds)
        align = ir.Constant(ir.IntType(32), result.dtype.bitwidth // 8)
        return builder.call(function, [places, align, mask, vector(None)])

    return result(array, types.intp, types.intp, mask), emit


@intrinsic
def store_apart(typing, array, position, stride, vector, mask):
    """Write the numbers from ``position`` on, ``stride`` apart."""

    def emit(context, builder, signature, arguments):
        numbers, mask = arguments[3:]
        places = _addresses(context, builder, signature.args[0], arguments[:3], vector.lanes)
        kinds = [numbers.type, places.type, ir.IntType(32), mask.type]
        name = f"llvm.masked.scatter.{_suffix(vector.dtype, vector.lanes)}.v{vector.lanes}p0"
        function = _intrinsic_function(builder, name, ir.VoidType(), kinds)
        align = ir.Constant(ir.IntType(32), vector.dtype.bitwidth // 8)
        builder.call(function, [numbers, places, align, mask])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, vector, mask), emit


@intrinsic
def load_all(typing, array, position):
    """Return a whole vector. After :func:`store_all` this is faster than with masks."""
    result = _vector_of(array.dtype)

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments)
        address = builder.bitcast(address, context.get_value_type(result).as_pointer())
        return builder.load(address, align=result.dtype.bitwidth // 8)

    return result(array, types.intp), emit


@intrinsic
def store_all(typing, array, position, vector):
    """Write a whole vector."""

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        address = builder.bitcast(address, arguments[2].type.as_pointer())
        builder.store(arguments[2], address, align=vector.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), emit


@intrinsic
def prefetch(typing, array, position):
    """Ask for the memory around a position, which need not exist: processors foresee only going forward."""

    def emit(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments)
        address = builder.bitcast(address, ir.IntType(8).as_pointer())
        whole = ir.IntType(32)
        function = _intrinsic_function(
            builder, "llvm.prefetch.p0", ir.VoidType(), [address.type, whole, whole, whole]
        )
        read, keep, is_data = (ir.Constant(whole, number) for number in (0, 3, 1))
        builder.call(function, [address, read, keep, is_data])
        return context.get_dummy_value()

    return types.none(array, types.intp), emit


@intrinsic
def aligned(typing, array):
    """Return the first position from which vectors cross no border of cache lines: that would cost time."""

    def emit(context, builder, signature, arguments):
        whole = ir.IntType(64)
        first = _address(context, builder, signature.args[0], arguments[0], ir.Constant(whole, 0))
        size = signature.args[0].dtype.bitwidth // 8
        missing = builder.and_(builder.neg(builder.ptrtoint(first, whole)), ir.Constant(whole, BYTES - 1))
        return builder.udiv(missing, ir.Constant(whole, size))

    return types.intp(array), emit


@intrinsic
def get(typing, array, position):
    """Return one number."""

    def emit(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature.args[0], *arguments))

    return array.dtype(array, types.intp), emit


@intrinsic
def put(typing, array, position, number):
    """Write one number."""

    def emit(context, builder, signature, arguments):
        builder.store(arguments[2], _address(context, builder, signature.args[0], *arguments[:2]))
        return context.get_dummy_value()

    return types.none(array, types.intp, array.dtype), emit


# --- Arithmetic beyond the operators ---------------------------------------------------------------------


def _call(builder, name, arguments, result=None):
    kinds = [argument.type for argument in arguments]
    function = _intrinsic_function(builder, name, result or kinds[0], kinds)
    return builder.call(function, arguments)


@intrinsic
def select(typing, mask, one, other):
    """Return ``one`` where the mask is set, ``other`` elsewhere."""
    return one(mask, one, one), lambda context, builder, signature, arguments: builder.select(*arguments)


@intrinsic
def floor(typing, vector):
    """Round down."""

    def emit(context, builder, signature, arguments):
        return _call(builder, f"llvm.floor.{_suffix(vector.dtype, vector.lanes)}", arguments)

    return vector(vector), emit


@intrinsic
def absolute(typing, vector):
    """Drop the sign."""

    def emit(context, builder, signature, arguments):
        return _call(builder, f"llvm.fabs.{_suffix(vector.dtype, vector.lanes)}", arguments)

    return vector(vector), emit


@intrinsic
def multiply_add(typing, one, other, total):
    """Return ``one * other + total``, rounded once where the processor can."""

    def emit(context, builder, signature, arguments):
        return _call(builder, f"llvm.fmuladd.{_suffix(one.dtype, one.lanes)}", arguments)

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
        function = _intrinsic_function(
            builder, "llvm.cttz.i64", ir.IntType(64), [ir.IntType(64), ir.IntType(1)]
        )
        return builder.call(function, [arguments[0], ir.Constant(ir.IntType(1), 1)])

    return types.intp(types.int64), emit
