"""Reductions over axes: exact where the result does not change with zeros (sums, norms), else soft."""

from collections.abc import Sequence

from snnkit.dag.analysis.axes import UNIT, Axis
from snnkit.dag.analysis.flow import all_inputs
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation

Axes = tuple[Axis, ...]


def _dims(op: Operation) -> set[int]:
    rank = len(op.inputs[0].shape)
    dims = op.argument("dim")
    if dims is None:
        return set(range(rank))
    chosen: Sequence[int] = [dims] if isinstance(dims, int) else dims
    return {dim % rank for dim in chosen} if rank and chosen else set(range(rank))


def _remaining(op: Operation, p: Propagation, dims: set[int]) -> list[Axes]:
    axes = p.of(op.inputs[0])
    results: list[Axes] = []
    for value in op.outputs:
        if len(value.shape) == len(axes):
            results.append(tuple(UNIT if dim in dims else axis for dim, axis in enumerate(axes)))
        else:
            results.append(tuple(axis for dim, axis in enumerate(axes) if dim not in dims))
    return results


@rule("sum", "linalg_vector_norm", "norm", "count_nonzero", flow=all_inputs)
def _sum(op: Operation, p: Propagation) -> list[Axes]:
    value, dims = op.inputs[0], _dims(op)
    order = op.argument("ord") if op.argument("ord") is not None else op.argument("p")
    for dim in dims:
        if order is not None and order <= 0:
            p.soften([p.of(value)[dim]], f"{op.kind} of order {order} runs over the axis", op)
        p.contract(op, (value, p.of(value)[dim]))
    return _remaining(op, p, dims)


@rule("mean", "var", "std", "var_mean", "std_mean", "nanmean", "amax", "amin", "aminmax", "max", "min",
      "prod", "logsumexp", "median", "all", "any", flow=all_inputs)  # fmt: skip
def _statistic(op: Operation, p: Propagation) -> list[Axes]:
    value, dims = op.inputs[0], _dims(op)
    axes = p.of(value)
    p.soften([axes[dim] for dim in dims], f"{op.kind} runs over the axis", op)
    if len(op.outputs) > 1 and op.kind in ("aten.max", "aten.min", "aten.median"):
        p.freeze([axes[dim] for dim in dims], f"{op.kind} returns positions on the axis", op)
    return _remaining(op, p, dims)


@rule("argmax", "argmin", "kthvalue", "mode")
def _position(op: Operation, p: Propagation) -> list[Axes]:
    dims = _dims(op)
    p.freeze([p.of(op.inputs[0])[dim] for dim in dims], f"{op.kind} returns positions on the axis", op)
    return _remaining(op, p, dims)


@rule("topk", "sort", "argsort", "msort")
def _ranked(op: Operation, p: Propagation) -> list[Axes]:
    axes = list(p.of(op.inputs[0]))
    dim = op.argument("dim")
    position = len(axes) - 1 if dim is None else int(dim) % len(axes)
    p.freeze([axes[position]], f"{op.kind} ranks the indices", op)
    n = op.outputs[0].shape[position]
    axes[position] = p.frozen(n, f"{op.kind} ranks the indices", op)
    return [tuple(axes)] * len(op.outputs)


@rule("_local_scalar_dense", "equal", "allclose")
def _read(op: Operation, p: Propagation) -> list[Axes]:
    for value in op.inputs:
        p.freeze(p.of(value), "a number is read, which may decide anything", op)
    return []
