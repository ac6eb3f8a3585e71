"""Look-ups: the axis that is looked up in is frozen, all others pass."""

from snnkit.dag.analysis.axes import Axis
from snnkit.dag.analysis.flow import Query
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.pointwise import broadcast
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation, Value, values_in

Axes = tuple[Axis, ...]


def _table_flow(op: Operation, query: Query) -> bool:
    return query(op.inputs[0]) is True


def _embedded(op: Operation, query: Query) -> bool:
    return query(op.argument("weight")) is True


@rule("embedding", flow=_embedded)
def _embedding(op: Operation, p: Propagation) -> list[Axes]:
    weight, indices = op.argument("weight"), op.argument("indices")
    p.freeze(p.of(weight)[:1], f"{op.kind} looks rows up", op)
    return [(*p.of(indices), *p.of(weight)[1:])]


@rule("index", "_unsafe_index", flow=_table_flow)
def _index(op: Operation, p: Propagation) -> list[Axes]:
    table = op.argument("self")
    given = list(op.argument("indices"))
    axes = p.of(table)
    found = list(values_in(given))
    if any(value.dtype.itemsize == 1 for value in found):  # a mask of booleans
        return _look_up_all(op, p)
    given += [None] * (len(axes) - len(given))
    looked_up = [dim for dim, value in enumerate(given) if value is not None]
    p.freeze([axes[dim] for dim in looked_up], f"{op.kind} looks indices up", op)
    shape = broadcast(op, found, _broadcast_shape(found), p)
    together = looked_up == list(range(looked_up[0], looked_up[-1] + 1))
    position = looked_up[0] if together else 0
    rest = [axis for dim, axis in enumerate(axes) if dim not in looked_up]
    return [(*rest[:position], *shape, *rest[position:])]


def _broadcast_shape(values: list[Value]) -> tuple[int, ...]:
    rank = max(len(value.shape) for value in values)
    padded = [(1,) * (rank - len(value.shape)) + value.shape for value in values]
    return tuple(max(sizes) for sizes in zip(*padded, strict=True))


def _look_up_all(op: Operation, p: Propagation) -> list[Axes]:
    for value in op.inputs:
        p.freeze(p.of(value), f"{op.kind} looks single elements up", op)
    return [
        tuple(p.frozen(n, f"{op.kind} looks single elements up", op) for n in v.shape) for v in op.outputs
    ]


@rule("index_select", flow=_table_flow)
def _index_select(op: Operation, p: Propagation) -> list[Axes]:
    axes = list(p.of(op.inputs[0]))
    dim = int(op.argument("dim")) % len(axes)
    p.freeze([axes[dim]], f"{op.kind} looks indices up", op)
    axes[dim] = p.of(op.argument("index"))[0] if op.argument("index").shape else p.of(op.inputs[0])[dim]
    return [tuple(axes)]


@rule("gather", flow=_table_flow)
def _gather(op: Operation, p: Propagation) -> list[Axes]:
    table, index = op.argument("self"), op.argument("index")
    dim = int(op.argument("dim")) % len(table.shape)
    p.freeze([p.of(table)[dim]], f"{op.kind} looks indices up", op)
    for position, (one, other) in enumerate(zip(p.of(table), p.of(index), strict=True)):
        if position != dim:
            p.same(one, other, op)
    return [p.of(index)]


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only", flow=_embedded)
def _embedding_bag(op: Operation, p: Propagation) -> list[Axes]:
    weight = op.argument("weight")
    text = f"{op.kind} sums rows that it looks up"
    for value in op.inputs:
        p.freeze(p.of(value) if value is not weight else p.of(weight)[:1], text, op)
    first, *others = op.outputs
    results: list[Axes] = [(p.frozen(first.shape[0], text, op), *p.of(weight)[1:])]
    return results + [tuple(p.frozen(n, text, op) for n in value.shape) for value in others]


def _written_flow(op: Operation, query: Query) -> bool:
    """What is written into zeros is zero: a tensor, or the number 0."""
    target, source = op.argument("self"), op.argument("src") or op.argument("source")
    given = query(source) is True if isinstance(source, Value) else op.argument("value") == 0
    return query(target) is True and given


def _side_by_side(op: Operation, values: list[Value], p: Propagation) -> list[Axes]:
    """Elements go to other places along one axis; the others are read index by index."""
    axes = p.of(values[0])
    dim = int(op.argument("dim")) % len(axes) if axes else 0
    text = f"{op.kind} writes to indices that are looked up"
    for value in values:
        p.freeze(p.of(value)[dim : dim + 1], text, op)
        for position, (one, other) in enumerate(zip(axes, p.of(value), strict=True)):
            if position == dim:
                continue
            if one.size == other.size:
                p.same(one, other, op)
            else:
                p.freeze([one, other], f"{op.kind} writes to the first indices only", op)
    return [axes]


@rule("scatter", "scatter_add", "scatter_reduce", flow=_written_flow)
def _scatter(op: Operation, p: Propagation) -> list[Axes]:
    source = op.argument("src")
    written = [source] if isinstance(source, Value) and source.shape else []
    return _side_by_side(op, [op.argument("self"), op.argument("index"), *written], p)


@rule("index_add", "index_copy", "index_reduce", flow=_written_flow)
def _index_add(op: Operation, p: Propagation) -> list[Axes]:
    p.freeze(p.of(op.argument("index")), f"{op.kind} reads positions from it", op)
    return _side_by_side(op, [op.argument("self"), op.argument("source")], p)


@rule("index_fill", flow=_written_flow)
def _index_fill(op: Operation, p: Propagation) -> list[Axes]:
    p.freeze(p.of(op.argument("index")), f"{op.kind} reads positions from it", op)
    return _side_by_side(op, [op.argument("self")], p)


@rule("index_put", "masked_scatter", "masked_select", "nonzero", "take", "put", "bincount", "histc", "unique",
      "_unique2", "searchsorted", "multinomial", "randperm", "as_strided", "as_strided_copy", "diagonal",
      "diag_embed", "nonzero_numpy", "take_along_dim", "diagonal_copy", "_assert_async",
      "_assert_tensor_metadata", "item", "_local_scalar_dense", "is_nonzero", "equal")  # fmt: skip
def _single_elements(op: Operation, p: Propagation) -> list[Axes]:
    return _look_up_all(op, p)
