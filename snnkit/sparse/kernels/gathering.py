"""Vectors of numbers that lie anywhere in an array; importing this imports Numba."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from snnkit.nn.kernels.simd import Vector, broadcast, intrinsic_function, suffix, vector_of

__all__ = ["gather_at", "load_places"]


def _masked(context, builder, array, position, mask, kind):
    """Load a vector of whole numbers; lanes without a bit in the mask are 0."""
    array_type, value = array
    data = context.make_array(array_type)(context, builder, value).data
    vector = context.get_value_type(kind)
    address = builder.bitcast(builder.gep(data, [position]), vector.as_pointer())
    whole = ir.IntType(32)
    function = intrinsic_function(
        builder,
        f"llvm.masked.load.v{kind.lanes}i{kind.dtype.bitwidth}.p0",
        vector,
        [address.type, whole, mask.type, vector],
    )
    align = ir.Constant(whole, kind.dtype.bitwidth // 8)
    return builder.call(function, [address, align, mask, ir.Constant(vector, None)])


@intrinsic
def load_places(typing, like, places, position, mask):
    """Return as many whole numbers from ``position`` on as a vector of ``like``'s type has lanes."""
    result = Vector(places.dtype, vector_of(like.dtype).lanes)

    def emit(context, builder, signature, arguments):
        _, places, position, mask = arguments
        return _masked(context, builder, (signature.args[1], places), position, mask, result)

    return result(like, places, types.intp, mask), emit


@intrinsic
def gather_at(typing, array, places, mask):
    """Return ``array[places]`` lane by lane; lanes without a bit in the mask are 0."""
    result = vector_of(array.dtype)

    def emit(context, builder, signature, arguments):
        array, places, mask = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        wide = ir.VectorType(ir.IntType(64), result.lanes)
        if places.type != wide:
            places = builder.sext(places, wide)
        size = wide([result.dtype.bitwidth // 8] * result.lanes)
        base = broadcast(builder, builder.ptrtoint(data, ir.IntType(64)), wide)
        addresses = builder.add(base, builder.mul(places, size))
        pointers = builder.inttoptr(addresses, ir.VectorType(data.type, result.lanes))
        vector = context.get_value_type(result)
        name = f"llvm.masked.gather.{suffix(result.dtype, result.lanes)}.v{result.lanes}p0"
        function = intrinsic_function(
            builder, name, vector, [pointers.type, ir.IntType(32), mask.type, vector]
        )
        align = ir.Constant(ir.IntType(32), result.dtype.bitwidth // 8)
        return builder.call(function, [pointers, align, mask, vector(None)])

    return result(array, places, mask), emit
