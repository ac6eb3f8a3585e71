"""torch's recurrent layers: what they read may have any factor, what they return has none."""

from torch import nn

from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.registry import register_scale_rule
from snnkit.dag.scales.unknowns import Term


def _recurrent(op: Operation, flow: ScaleFlow) -> list[tuple[Term, ...]]:
    module: nn.RNNBase = op.target
    data, *states = values_in(op.argument("inputs"))
    held: dict[str, Value] = op.argument("held")
    for state in states:
        flow.fix(state, op, "the states of a recurrent layer")
    lead = range(len(data.shape) - 1)
    features = flow.constant_along(flow.ids(data), lead).reshape(1, -1)
    for end in ["", "_reverse"] if module.bidirectional else [""]:
        flow.set(held[f"weight_ih_l0{end}"], (-1, features))
    for name, value in held.items():
        if not name.startswith("weight_ih_l0"):
            flow.fix(value, op, "the gates of a recurrent layer")
    return flow.ones(op)


register_scale_rule(nn.RNNBase, _recurrent)
