"""Matrix products: sums over an axis that both factors have."""

from snnkit.dag.analysis.axes import UNIT, Axis
from snnkit.dag.analysis.flow import product_of
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.pointwise import broadcast_axes
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation, Value

Axes = tuple[Axis, ...]


def _summed(
    op: Operation, p: Propagation, one: tuple[Value, int], other: tuple[Value, int], batch: Axes = ()
) -> Axis:
    axis, twin = p.of(one[0])[one[1]], p.of(other[0])[other[1]]
    p.same(axis, twin, op)
    p.contract(op, (one[0], axis), (other[0], twin), batch=batch)
    return axis


def _plus(op: Operation, axes: Axes, addend: Value, p: Propagation) -> Axes:
    """Tie the axes of something added to a result of ``axes``."""
    for one, other in zip(reversed(axes), reversed(p.of(addend)), strict=False):
        p.same(one, other, op)
    return axes


def _matrix_product(op: Operation, one: Value, other: Value, p: Propagation) -> Axes:
    left, right = p.of(one), p.of(other)
    batch: Axes = ()
    if len(left) > 2 or len(right) > 2:
        batch = tuple(_batch_axis(op, a, b, p) for a, b in zip(left[:-2], right[:-2], strict=True))
    axis = _summed(op, p, (one, len(left) - 1), (other, max(len(right) - 2, 0)), batch)
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else ()
    p.cost(op, (*batch, *rows, axis, *columns))
    return (*batch, *rows, *columns)


def _batch_axis(op: Operation, one: Axis, other: Axis, p: Propagation) -> Axis:
    p.same(one, other, op)
    return one if one.size >= other.size else other


@rule("mm", "bmm", "matmul", flow=product_of("self", "mat2", "other"))
def _product(op: Operation, p: Propagation) -> list[Axes]:
    one, other = op.inputs
    return [_matrix_product(op, one, other, p)]


@rule("mv", "dot", "vdot", "inner", flow=product_of("self", "vec", "tensor", "other"))
def _vector_product(op: Operation, p: Propagation) -> list[Axes]:
    one, other = op.inputs
    return [_matrix_product(op, one, other, p)]


@rule("addmm", flow=product_of("mat1", "mat2", plus=("self",)))
def _added(op: Operation, p: Propagation) -> list[Axes]:
    axes = _matrix_product(op, op.argument("mat1"), op.argument("mat2"), p)
    return [_plus(op, axes, op.argument("self"), p)]


@rule("baddbmm", flow=product_of("batch1", "batch2", plus=("self",)))
def _added_batches(op: Operation, p: Propagation) -> list[Axes]:
    axes = _matrix_product(op, op.argument("batch1"), op.argument("batch2"), p)
    return [_plus(op, axes, op.argument("self"), p)]


@rule("addmv", flow=product_of("mat", "vec", plus=("self",)))
def _added_vector(op: Operation, p: Propagation) -> list[Axes]:
    axes = _matrix_product(op, op.argument("mat"), op.argument("vec"), p)
    return [_plus(op, axes, op.argument("self"), p)]


@rule("linear", flow=product_of("input", "weight", plus=("bias",)))
def _linear(op: Operation, p: Propagation) -> list[Axes]:
    x, weight, bias = op.argument("input"), op.argument("weight"), op.argument("bias")
    axis = _summed(op, p, (x, len(x.shape) - 1), (weight, len(weight.shape) - 1))
    out = (*p.of(x)[:-1], *p.of(weight)[:-1])
    p.cost(op, (*out, axis))
    return [out if bias is None else _plus(op, out, bias, p)]


@rule("addbmm", flow=product_of("batch1", "batch2", plus=("self",)))
def _added_sum_of_batches(op: Operation, p: Propagation) -> list[Axes]:
    one, other = op.argument("batch1"), op.argument("batch2")
    *_, rows, columns = _matrix_product(op, one, other, p)
    _summed(op, p, (one, 0), (other, 0))
    return [_plus(op, (rows, columns), op.argument("self"), p)]


@rule("_trilinear", flow=product_of("i1", "i2", "i3"))
def _trilinear(op: Operation, p: Propagation) -> list[Axes]:
    """The product of three tensors, unsqueezed at the axes ``expand``, summed over the axes ``sumdim``."""
    factors = [op.argument(name) for name in ("i1", "i2", "i3")]
    given: list[Axes] = []
    for value, name in zip(factors, ("expand1", "expand2", "expand3"), strict=True):
        widened = list(p.of(value))
        for position in op.argument(name):
            widened.insert(position, UNIT)
        given.append(tuple(widened))
    shape = tuple(max(axis.size for axis in axes) for axes in zip(*given, strict=True))
    axes = broadcast_axes(op, given, shape, p)
    summed = set(op.argument("sumdim"))
    for position in summed:
        held = [(value, each[position]) for value, each in zip(factors, given, strict=True)]
        p.contract(op, *((value, axis) for value, axis in held if axis.size == shape[position]))
    p.cost(op, axes)
    return [tuple(axis for position, axis in enumerate(axes) if position not in summed)]


@rule("_cdist_forward", "cdist")
def _distances(op: Operation, p: Propagation) -> list[Axes]:
    one, other = op.argument("x1"), op.argument("x2")
    p.same(p.of(one)[-1], p.of(other)[-1], op)
    if op.argument("p") <= 0:
        p.soften(p.of(one)[-1:], f"{op.kind} of order {op.argument('p')} runs over the axis", op)
    # A difference is zero where both are.
    p.contract(op, (one, p.of(one)[-1]))
    p.contract(op, (other, p.of(other)[-1]))
    lead = broadcast_axes(op, [p.of(one)[:-2], p.of(other)[:-2]], op.outputs[0].shape[:-2], p)
    return [(*lead, p.of(one)[-2], p.of(other)[-2])]


@rule("ger", "outer", flow=product_of("self", "vec2"))
def _outer(op: Operation, p: Propagation) -> list[Axes]:
    return [(*p.of(op.inputs[0]), *p.of(op.inputs[1]))]


@rule("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
      "_scaled_dot_product_efficient_attention", "_scaled_dot_product_attention_math",
      "_scaled_dot_product_fused_attention_overrideable", "scaled_dot_product_attention",
      flow=product_of("value"))  # fmt: skip
def _attention(op: Operation, p: Propagation) -> list[Axes]:
    query, key, value = (op.argument(name) for name in ("query", "key", "value"))
    tokens, twin = p.of(key)[-2], p.of(value)[-2]
    p.same(tokens, twin, op)
    p.soften([tokens], "the softmax of attention runs over the axis", op)
    lead = broadcast_axes(op, [p.of(v)[:-2] for v in (query, key, value)], op.outputs[0].shape[:-2], p)
    channels = _summed(op, p, (query, -1), (key, -1), lead)
    mask = op.argument("attn_mask") or op.argument("attn_bias")
    if isinstance(mask, Value):
        _plus(op, (*lead, p.of(query)[-2], tokens), mask, p)
    rows = p.of(query)[-2]
    p.cost(op, (*lead, rows, tokens, channels))
    p.cost(op, (*lead, rows, tokens, p.of(value)[-1]))
    out = (*lead, rows, p.of(value)[-1])
    others = [tuple(p.frozen(n, "internal result of attention", op) for n in v.shape) for v in op.outputs[1:]]
    return [out, *others]
