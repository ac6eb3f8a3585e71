"""Operations that arrange elements: views, joins, padding, look-ups, new tensors."""

import numpy as np

from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.movement import MOVES, moved, trimmed
from snnkit.dag.scales.registry import rule
from snnkit.dag.scales.unknowns import Ids, Term

Terms = tuple[Term, ...]

_MOST_NEW = 1 << 18
"""Elements of a tensor of zeros that may each take a factor of their own."""


@rule(*MOVES)
def _moved(op: Operation, flow: ScaleFlow) -> list[Terms]:
    value = op.inputs[0]
    if any(out.dtype.itemsize != value.dtype.itemsize for out in op.outputs):
        return flow.barrier(op, "the elements are reinterpreted")
    found = [(coefficient, moved(op, ids)) for coefficient, ids in flow.terms(value)]
    return [tuple((c, results[i]) for c, results in found) for i in range(len(op.outputs))]


@rule("_to_copy", "to")
def _converted(op: Operation, flow: ScaleFlow) -> list[Terms]:
    if not op.outputs[0].dtype.is_floating_point:
        return flow.barrier(op, "numbers become integers")
    return [flow.terms(op.inputs[0])]


@rule("cat", "concat", "concatenate")
def _joined(op: Operation, flow: ScaleFlow) -> list[Ids]:
    values = [value for value in values_in(op.argument("tensors")) if 0 not in value.shape]
    axis = int(op.argument("dim") or 0) % len(values[0].shape)
    return [_along(axis, [flow.ids(value) for value in values], [value.shape[axis] for value in values])]


@rule("stack")
def _stacked(op: Operation, flow: ScaleFlow) -> list[Ids]:
    values = list(values_in(op.argument("tensors")))
    axis = int(op.argument("dim") or 0) % (len(values[0].shape) + 1)
    pieces = [np.expand_dims(flow.ids(value), axis) for value in values]
    return [_along(axis, [flow.unknowns.roots(piece) for piece in pieces], [1] * len(pieces))]


def _along(axis: int, pieces: list[Ids], sizes: list[int]) -> Ids:
    """Join arrays of unknowns along an axis on which their tensors have ``sizes``."""
    shape = list(np.broadcast_shapes(*(np.take(piece, [0], axis).shape for piece in pieces)))
    spread = []
    for piece, n in zip(pieces, sizes, strict=True):
        shape[axis] = n
        spread.append(np.broadcast_to(piece, shape))
    return trimmed(np.concatenate(spread, axis))


@rule("constant_pad_nd", "pad")
def _padded(op: Operation, flow: ScaleFlow) -> list[Ids]:
    value, pads = op.inputs[0], op.argument("pad")
    if op.argument("value"):
        return flow.barrier(op, f"the padding is {op.argument('value')}")  # type: ignore[return-value]
    ids = flow.ids(value)
    for position in range(len(pads) // 2):
        axis = ids.ndim - 1 - position
        before, after = pads[2 * position : 2 * position + 2]
        if ids.shape[axis] > 1 and (before < 0 or after < 0):
            ids = ids[(slice(None),) * axis + (slice(max(-before, 0), ids.shape[axis] - max(-after, 0)),)]
        if ids.shape[axis] > 1:  # zeros may have any factor
            ends = [[*ids.shape[:axis], max(n, 0), *ids.shape[axis + 1 :]] for n in (before, after)]
            ids = np.concatenate([flow.fresh(ends[0]), ids, flow.fresh(ends[1])], axis)
    return [ids]


@rule("embedding")
def _embedded(op: Operation, flow: ScaleFlow) -> list[Ids]:
    table, indices = op.argument("weight"), op.argument("indices")
    rows = flow.constant_along(flow.ids(table), [0])
    return [rows.reshape((1,) * len(indices.shape) + rows.shape[1:])]


@rule("index", "_unsafe_index")
def _indexed(op: Operation, flow: ScaleFlow) -> list[Ids]:
    table, given = op.argument("self"), list(op.argument("indices"))
    ids = flow.ids(table)
    looked_up = [axis for axis, index in enumerate(given) if index is not None]
    if any(index.dtype.itemsize == 1 for index in given if index is not None):
        return [np.zeros((), np.int64) if not ids.size else _single(flow, ids)]
    ids = flow.constant_along(ids, looked_up)
    added = len(op.outputs[0].shape) - (ids.ndim - len(looked_up))
    rest = np.squeeze(ids, tuple(looked_up))
    together = looked_up == list(range(looked_up[0], looked_up[-1] + 1))
    position = looked_up[0] if together else 0
    return [rest.reshape((*rest.shape[:position], *(1,) * added, *rest.shape[position:]))]


def _single(flow: ScaleFlow, ids: Ids) -> Ids:
    """Tie all elements: a mask of booleans selects some of them."""
    return flow.constant_along(ids, range(ids.ndim)).reshape(())


@rule("index_select", "gather")
def _selected(op: Operation, flow: ScaleFlow) -> list[Ids]:
    table = op.argument("self")
    axis = int(op.argument("dim")) % max(len(table.shape), 1)
    ids = flow.constant_along(flow.ids(table), [axis])
    if op.kind == "aten.gather":  # positions of the other axes may be cut off, but not moved
        return [
            flow.constant_along(ids, [a for a in range(ids.ndim) if op.outputs[0].shape[a] != table.shape[a]])
        ]
    return [ids]


@rule("zeros", "new_zeros", "zeros_like", "zero", "empty", "new_empty", "empty_like", "empty_strided",
      "new_empty_strided")  # fmt: skip
def _zeros(op: Operation, flow: ScaleFlow) -> list[Ids | Terms]:
    """Zeros stay what they are whatever they are multiplied by, and so does what nobody has written."""
    out = op.outputs[0]
    small = np.prod(out.shape, dtype=np.int64) <= _MOST_NEW and out.dtype.is_floating_point
    return [flow.fresh(out.shape) if small else ()]


@rule("ones", "full", "new_ones", "new_full", "scalar_tensor", "ones_like", "full_like", "arange", "linspace",
      "logspace", "eye", "tril_indices", "triu_indices", "hann_window", "blackman_window", "rand", "randn",
      "randint", "rand_like", "randn_like", "randint_like", "fill")  # fmt: skip
def _constant(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return flow.ones(op)


@rule("copy")
def _copied(op: Operation, flow: ScaleFlow) -> list[Ids | Terms]:
    source = op.argument("src")
    if not isinstance(source, Value) or not op.outputs[0].dtype.is_floating_point:
        return flow.barrier(op, "numbers become integers")  # type: ignore[return-value]
    ids = flow.ids(source)
    return [ids.reshape((1,) * (len(op.outputs[0].shape) - ids.ndim) + ids.shape)]
