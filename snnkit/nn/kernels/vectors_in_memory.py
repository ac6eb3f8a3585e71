"""Vectors to and from memory.

Arrays are C-contiguous and addressed by the position of a number in memory. ``mask`` says which lanes to
touch; a lane that is not loaded is 0. Whole vectors, with ``load_all`` and ``store_all``, need no mask, and
what was stored whole is loaded again without delay.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from snnkit.nn.kernels.simd import BYTES, broadcast, intrinsic_function, suffix, vector_of

__all__ = [
    "aligned",
    "get",
    "load",
    "load_all",
    "load_apart",
    "prefetch",
    "put",
    "store",
    "store_all",
    "store_apart",
]


def _address(context, builder, array_type, array, position):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [position])


@intrinsic
def load(typing, array, position, mask):
    """Return the numbers from ``position`` on."""
    result = vector_of(array.dtype)

    def emit(context, builder, signature, arguments):
        array, position, mask = arguments
        vector = context.get_value_type(result)
        address = _address(context, builder, signature.args[0], array, position)
        address = builder.bitcast(address, vector.as_pointer())
        whole = ir.IntType(32)
        function = intrinsic_function(
            builder,
            f"llvm.masked.load.{suffix(result.dtype, result.lanes)}.p0",
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
        function = intrinsic_function(
            builder,
            f"llvm.masked.store.{suffix(kind.dtype, kind.lanes)}.p0",
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
    steps = builder.mul(broadcast(builder, apart, whole), whole(list(range(lanes))))
    places = builder.add(broadcast(builder, builder.ptrtoint(first, ir.IntType(64)), whole), steps)
    return builder.inttoptr(places, ir.VectorType(first.type, lanes))


@intrinsic
def load_apart(typing, array, position, stride, mask):
    """Return the numbers from ``position`` on that are ``stride`` apart."""
    result = vector_of(array.dtype)

    def emit(context, builder, signature, arguments):
        vector, mask = context.get_value_type(result), arguments[3]
        places = _addresses(context, builder, signature.args[0], arguments[:3], result.lanes)
        kinds = [places.type, ir.IntType(32), mask.type, vector]
        name = f"llvm.masked.gather.{suffix(result.dtype, result.lanes)}.v{result.lanes}p0"
        function = intrinsic_function(builder, name, vector, kinds)
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
        name = f"llvm.masked.scatter.{suffix(vector.dtype, vector.lanes)}.v{vector.lanes}p0"
        function = intrinsic_function(builder, name, ir.VoidType(), kinds)
        align = ir.Constant(ir.IntType(32), vector.dtype.bitwidth // 8)
        builder.call(function, [numbers, places, align, mask])
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, vector, mask), emit


@intrinsic
def load_all(typing, array, position):
    """Return a whole vector. After :func:`store_all` this is faster than with masks."""
    result = vector_of(array.dtype)

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
        function = intrinsic_function(
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
