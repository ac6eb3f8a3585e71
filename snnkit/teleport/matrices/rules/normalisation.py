"""Sums over coordinates and norms: which of them orthogonal matrices leave as they are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from snnkit.dag.analysis.tape import Operation, Value
from snnkit.teleport.matrices.provenance import Tracked, mixed, positions, start_of_runs
from snnkit.teleport.matrices.rules.contraction import summed
from snnkit.teleport.matrices.rules.pointwise import added, multiplied
from snnkit.teleport.matrices.tracing import Trace, rule


def _axes(op: Operation) -> list[int]:
    rank = len(op.inputs[0].shape)
    dims = op.argument("dim")
    if dims is None:
        return list(range(rank))
    chosen: Sequence[int] = [dims] if isinstance(dims, int) else dims
    return sorted({dim % rank for dim in chosen}) or list(range(rank))


@rule("sum", "mean")
def _sum(op: Operation, trace: Trace) -> None:
    found, axes = trace.tracked(op.inputs[0]), _axes(op)
    if found is None or op.argument("dtype") not in (None, op.inputs[0].dtype):
        trace.barrier(op)
        return
    if found.power == 2:
        trace.group(op, found, axes, "orthogonal")
        trace.set(op.outputs[0], None)
        return
    kept = [axis for axis in range(len(found.shape)) if axis not in axes]
    rows, functional = (t.permute(*kept, *axes).flatten(len(kept)) for t in (found.rows, found.functional))
    if _tells_all_apart(functional):
        shape = op.outputs[0].shape
        result = summed(op, trace, rows.unsqueeze(-1), functional.unsqueeze(-1))
        trace.set(op.outputs[0], Tracked(result.rows.reshape(shape), result.functional.reshape(shape)))
    else:
        trace.group(op, found, axes, "rotation about ones")
        trace.set(op.outputs[0], None)


def _tells_all_apart(functional: Tensor) -> bool:
    """Whether a sum runs over positions, not over coordinates."""
    lines = functional.reshape(-1, functional.shape[-1])
    return bool((start_of_runs(lines) == torch.arange(lines.shape[1])).all())


@rule("linalg_vector_norm", "norm")
def _norm(op: Operation, trace: Trace) -> None:
    found = trace.tracked(op.inputs[0])
    order = op.argument("ord") if op.argument("ord") is not None else op.argument("p")
    if found is None or found.power != 1 or (order is not None and order != 2):
        trace.barrier(op)
        return
    trace.group(op, found, _axes(op), "orthogonal")
    trace.set(op.outputs[0], None)


@rule("var", "std", "var_mean", "std_mean")
def _variance(op: Operation, trace: Trace) -> None:
    found = trace.tracked(op.inputs[0])
    if found is None or found.power != 1:
        trace.barrier(op)
        return
    trace.group(op, found, _axes(op), "rotation about ones")
    for out in op.outputs:
        trace.set(out, None)


@rule("native_layer_norm")
def _layer_norm(op: Operation, trace: Trace) -> None:
    _normalise(op, trace, "rotation about ones")


@rule("_fused_rms_norm", "rms_norm")
def _rms_norm(op: Operation, trace: Trace) -> None:
    _normalise(op, trace, "orthogonal")


def _normalise(op: Operation, trace: Trace, kind: str) -> None:
    found, sizes = trace.tracked(op.argument("input")), op.argument("normalized_shape")
    if found is None or found.power != 1:
        trace.barrier(op)
        return
    rank = len(found.shape)
    trace.group(op, found, list(range(rank - len(sizes), rank)), kind)
    lead = (*found.shape[: rank - len(sizes)], *[1] * len(sizes))
    result: Tracked | None = Tracked(
        found.rows, mixed(op.index, found.functional, positions(lead).expand(found.shape))
    )
    weight, bias = op.argument("weight"), op.argument("bias")
    if isinstance(weight, Value) and result is not None:
        result = multiplied(op, trace, result, weight)
    for out in op.outputs:
        trace.set(out, None)
    trace.set(op.outputs[0], result)
    if isinstance(bias, Value):
        added(op, trace, op.outputs[0], bias)
