"""Normalisation: factors of what comes in end there, gains and offsets begin new ones."""

import numpy as np

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.registry import rule
from snnkit.dag.scales.unknowns import Ids, Term

Terms = tuple[Term, ...]


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm",
      "_native_batch_norm_legit_functional", "_batch_norm_with_update", "_batch_norm_no_update",
      "cudnn_batch_norm")  # fmt: skip
def _batch_norm(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    x = op.inputs[0]
    stored = not op.argument("training") and isinstance(op.argument("running_mean"), Value)
    channels = flow.ids(x)
    if not stored:
        flow.fix(channels, op, "statistics of the batch are equal only up to epsilon")
        return [_affine(op, flow), *flow.ones(op)[1:]]
    channels = flow.constant_along(channels, [axis for axis in range(len(x.shape)) if axis != 1]).reshape(-1)
    passed = _absorbed(op, flow, channels)
    return [_affine(op, flow, passed), *flow.ones(op)[1:]]


def _absorbed(op: Operation, flow: ScaleFlow, channels: Ids) -> Terms:
    """Let the statistics take the factor of what comes in; return the terms of what is normalised."""
    mean, variance = op.argument("running_mean"), op.argument("running_var")
    if mean.kind != "buffer" or variance.kind != "buffer":
        for what in (channels, mean, variance):
            flow.fix(what, op, "the statistics of a batch normalisation are computed")
        return ()
    if flow.batch_norm == "fixed":
        flow.fix(channels, op, "a batch normalisation, of which the statistics stay")
        return ()
    flow.set(mean, (1, channels))
    if flow.kind == "positive" and flow.batch_norm == "statistics":
        flow.set(variance, (2, channels), epsilon=float(op.argument("eps")))
        return ()
    return ((1, channels),)


def _affine(op: Operation, flow: ScaleFlow, passed: Terms = ()) -> Ids:
    """Return the unknowns of ``normalised * weight + bias`` along axis 1."""
    rank, weight, bias = len(op.inputs[0].shape), op.argument("weight"), op.argument("bias")
    reason = Reason(f"the gain and the offset of {op.kind}", op.index)
    if isinstance(weight, Value) and weight.kind == "parameter" and not flow.has_terms(weight) and passed:
        # Read for the first time: what the gain makes is free, and it takes the inverse of what it reads.
        made = flow.fresh(weight.shape)
        flow.set(weight, (1, made), *((-c, ids) for c, ids in passed))
    else:
        made = flow.total((*passed, *(flow.terms(weight) if isinstance(weight, Value) else ())), reason)
    if isinstance(bias, Value):
        flow.tie(flow.ids(bias), made, reason)
    return _on_axis_one(np.atleast_1d(made), rank)


def _on_axis_one(ids: Ids, rank: int) -> Ids:
    return ids.reshape((1, -1) + (1,) * (rank - 2))


@rule("native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    x, weight, bias = op.inputs[0], op.argument("weight"), op.argument("bias")
    reason = Reason("the gain and the offset of a layer normalisation", op.index)
    gains = flow.terms(weight) if isinstance(weight, Value) else ()
    if "rms" in op.kind and flow.kind == "sign":  # squares have no signs
        made = flow.total([*flow.terms(x), *gains], reason)
    else:
        flow.fix(x, op, "a layer normalisation runs over all channels")
        made = flow.total(gains, reason)
    if isinstance(bias, Value):
        flow.tie(flow.ids(bias), made, reason)
    return [made, *flow.ones(op)[1:]]


@rule("native_group_norm", "group_norm")
def _group_norm(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    flow.fix(op.inputs[0], op, "a group normalisation runs over several channels")
    return [
        _affine(op, flow),
        *flow.ones(op)[1:],
    ]


@rule("_weight_norm_interface", "_weight_norm")
def _weight_norm(op: Operation, flow: ScaleFlow) -> list[Terms]:
    """The gain takes the factors; the direction needs none."""
    flow.fix(op.argument("v"), op, "only the gain of a weight normalisation takes factors")
    return [flow.terms(op.argument("g")), *flow.ones(op)[1:]]
