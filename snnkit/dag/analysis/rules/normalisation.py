"""Normalisation: statistics over some axes, gains and offsets along others."""

from snnkit.dag.analysis.axes import Axis, Reason
from snnkit.dag.analysis.flow import Query, all_inputs
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.analysis.unification import freeze, split_inner

Axes = tuple[Axis, ...]


def _affine_flow(op: Operation, query: Query) -> bool:
    """Gains and offsets that are zero make the result zero, whatever the statistics."""
    x, weight, bias = op.inputs[0], op.argument("weight"), op.argument("bias")
    if isinstance(weight, Value) and query(weight) is not None:
        return bool(query(weight)) and (bias is None or bool(query(bias)))
    # Without gains only statistics taken from the zeros themselves keep them zero.
    stored = op.argument("running_mean") is not None and not op.argument("training")
    own = not stored and op.argument("use_input_stats") is not False
    return weight is None and bias is None and own and query(x) is True


def _others(op: Operation, p: Propagation, kept: list[Axes]) -> list[Axes]:
    extra = [
        tuple(p.frozen(n, "statistics of a normalisation", op) for n in value.shape)
        for value in op.outputs[len(kept) :]
    ]
    return kept + extra


@rule("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "batch_norm",
      "_native_batch_norm_legit_functional", "_batch_norm_with_update", "_batch_norm_no_update",
      "cudnn_batch_norm", flow=_affine_flow)  # fmt: skip
def _batch_norm(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    channels = axes[1]
    for value in op.inputs[1:]:
        p.same(channels, p.of(value)[0], op)
    if op.argument("training") or op.argument("running_mean") is None:
        others = (axes[0], *axes[2:])
        p.soften(others, "statistics of a batch normalisation run over the axis", op)
    saved = [(channels,) if value.shape == (channels.size,) else None for value in op.outputs[1:]]
    results: list[Axes] = [axes]
    for value, found in zip(op.outputs[1:], saved, strict=True):
        results.append(found or tuple(p.frozen(n, "saved by a normalisation", op) for n in value.shape))
    return results


@rule("native_layer_norm", "layer_norm", "rms_norm", "_fused_rms_norm", flow=_affine_flow)
def _layer_norm(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    count = len(op.argument("normalized_shape"))
    normalised = axes[len(axes) - count :]
    p.soften(normalised, "statistics of a layer normalisation run over the axis", op)
    for name in ("weight", "bias"):
        value = op.argument(name)
        if isinstance(value, Value):
            for one, other in zip(normalised, p.of(value), strict=True):
                p.same(one, other, op)
    return _others(op, p, [axes])


@rule("native_group_norm", "group_norm", flow=_affine_flow)
def _group_norm(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    channels = axes[1]
    groups = int(op.argument("group") or op.argument("num_groups"))
    note = Reason(f"a normalisation in {groups} groups", op.index)
    halves = split_inner(channels, channels.size // groups, note)
    if halves is None:
        freeze(channels, note)
    else:
        p.note(op, "groups", halves[0])
        p.soften([halves[1]], "statistics of a group normalisation run over the channels of a group", op)
    p.soften(axes[2:], "statistics of a group normalisation run over the axis", op)
    for name in ("weight", "bias"):
        value = op.argument(name)
        if isinstance(value, Value):
            p.same(channels, p.of(value)[0], op)
    return _others(op, p, [axes])


@rule("_weight_norm_interface", "_weight_norm", flow=all_inputs)
def _weight_norm(op: Operation, p: Propagation) -> list[Axes]:
    direction, gain = op.argument("v"), op.argument("g")
    axes = p.of(direction)
    dim = int(op.argument("dim"))
    for one, other in zip(axes, p.of(gain), strict=True):
        p.same(one, other, op)
    # A direction of zeros has no norm to divide by; the gain alone is set to zero.
    p.unmasked.append((direction, axes[dim]))
    for position, axis in enumerate(axes):
        if position != dim:
            p.contract(op, (direction, axis))
    return _others(op, p, [axes])


@rule("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax", "logsumexp_")
def _softmax(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    if axes:
        p.soften([axes[int(op.argument("dim"))]], "a softmax runs over the axis", op)
    return [axes]


@rule("local_response_norm")
def _across_channels(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    p.freeze([axes[1]], "neighbouring channels are told apart", op)
    return [axes]
