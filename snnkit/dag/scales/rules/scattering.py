"""Operations that put elements into places of another tensor: both have one factor, equal in all places."""

import numpy as np

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.registry import rule
from snnkit.dag.scales.unknowns import Ids, Term

Terms = tuple[Term, ...]


@rule("index_add", "index_copy", "scatter_add")
def _put(op: Operation, flow: ScaleFlow) -> list[Ids]:
    source = op.argument("source")
    return [_tied(op, flow, source if isinstance(source, Value) else op.argument("src"))]


@rule("scatter", "scatter_reduce")
def _reduced(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    source, how = op.argument("src"), op.argument("reduce")
    linear = how in (None, "add", "sum", "mean")
    if not isinstance(source, Value) or not (linear or (how in ("amax", "amin") and flow.kind == "positive")):
        return list(flow.barrier(op, f"{op.kind} writes numbers, or combines them by {how}"))
    return [_tied(op, flow, source)]


def _tied(op: Operation, flow: ScaleFlow, source: Value) -> Ids:
    """Tie what is written and what it is written into, along the axis on which places are looked up."""
    target = op.argument("self")
    axis = int(op.argument("dim")) % max(len(target.shape), 1)
    cut = [a for a in range(len(target.shape)) if a == axis or source.shape[a] != target.shape[a]]
    into = flow.constant_along(flow.ids(target), cut)
    reason = Reason(f"{op.kind} writes into the tensor", op.index)
    flow.tie(flow.constant_along(flow.ids(source), cut), into, reason)
    return into


@rule("index_put", "_index_put_impl", "_unsafe_index_put")
def _assigned(op: Operation, flow: ScaleFlow) -> list[Ids]:
    target, given = op.argument("self"), list(op.argument("indices"))
    looked_up = [axis for axis, index in enumerate(given) if index is not None]
    values = op.argument("values")
    into, reason = flow.ids(target), Reason(f"{op.kind} writes into the tensor", op.index)
    if any(index.dtype.itemsize == 1 for index in given if index is not None):
        looked_up = list(range(into.ndim))
    into = flow.constant_along(into, looked_up)
    if into.size == 1:
        flow.tie(flow.ids(values), into.reshape(()), reason)
    elif len(looked_up) == 1 and given[looked_up[0]].shape and len(values.shape) == len(target.shape):
        # One axis is looked up by one axis of indices: the values lie as the target does.
        flow.tie(flow.constant_along(flow.ids(values), looked_up), into, reason)
    else:
        flow.fix(values, op, reason.text)
        flow.fix(into, op, reason.text)
    return [into]


@rule("_embedding_bag", "_embedding_bag_forward_only")
def _bag(op: Operation, flow: ScaleFlow) -> list[Ids | Terms]:
    if isinstance(op.argument("per_sample_weights"), Value):
        return list(flow.barrier(op, f"{op.kind} weighs what it sums"))
    if int(op.argument("mode") or 0) == 2 and flow.kind == "sign":
        return list(flow.barrier(op, "a maximum is not odd"))
    rows = flow.constant_along(flow.ids(op.argument("weight")), [0])
    return [rows, *flow.ones(op)[1:]]


@rule("_cdist_forward", "cdist")
def _distance(op: Operation, flow: ScaleFlow) -> list[Terms]:
    """All points have one factor, so that distances have it too."""
    reason = Reason(f"{op.kind} takes differences", op.index)
    everywhere = []
    for value in op.inputs[:2]:
        ids = flow.ids(value)
        everywhere.append(flow.constant_along(ids, range(ids.ndim)).reshape(()))
    flow.tie(everywhere[0], everywhere[1], reason)
    return [() if flow.kind == "sign" else ((1, np.asarray(everywhere[0])),)]
