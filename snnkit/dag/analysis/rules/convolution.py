"""Convolutions: dense, grouped, depthwise, transposed."""

from snnkit.dag.analysis.axes import Axis, Reason, product
from snnkit.dag.analysis.flow import product_of
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.analysis.unification import freeze, split_inner


@rule("convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution", "cudnn_convolution",
      "_slow_conv2d_forward", "thnn_conv2d",
      flow=product_of("input", "self", "weight", plus=("bias",)))  # fmt: skip
def _convolution(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    x, weight = op.inputs[:2]
    bias = op.argument("bias")
    first = len(x.shape) - len(weight.shape) + 1  # 0 without a batch axis
    channels = p.of(x)[first]
    transposed = bool(op.argument("transposed"))
    out, inner = _channels(op, p, channels, weight)
    if isinstance(bias, Value):
        p.same(p.of(bias)[0], out, op)
    p.contract(op, (weight, inner), (x, inner))
    kernel, space = p.of(weight)[2:], p.of(x)[first + 1 :]
    p.freeze([*kernel, *space], "positions and taps of a convolution", op)
    shape = op.outputs[0].shape
    new = tuple(p.frozen(n, "positions of a convolution", op) for n in shape[first + 1 :])
    # A transposed convolution multiplies once per input position.
    p.cost(op, (*p.of(x)[:first], out, inner, *kernel, *(space if transposed else new)))
    return [(*p.of(x)[:first], out, *new)]


def _channels(op: Operation, p: Propagation, channels: Axis, weight: Value) -> tuple[Axis, Axis]:
    """Tie the channels to those of the weight; return the channels of the output and the summed axis."""
    groups, transposed = int(op.argument("groups") or 1), bool(op.argument("transposed"))
    first, second = p.of(weight)[:2]
    if groups == 1:
        summed, out = (first, second) if transposed else (second, first)
        p.same(channels, summed, op)
        return out, summed
    reason = Reason(f"a convolution in {groups} groups", op.index)
    parts = split_inner(channels, channels.size // groups, reason)
    # The weight has the groups on its first axis: of outputs, or of inputs if it is transposed.
    own = split_inner(first, first.size // groups, reason)
    if parts is None or own is None:
        freeze(channels, reason)
        freeze(first, reason)
        freeze(second, reason)
        summed = p.frozen(channels.size // groups, reason.text, op)
        return (p.frozen(second.size * groups, reason.text, op) if transposed else first), summed
    p.same(parts[0], own[0], op)
    p.note(op, "groups", own[0])
    if transposed:
        p.same(parts[1], own[1], op)
        return product([own[0], second]), own[1]
    p.same(parts[1], second, op)
    return first, second
