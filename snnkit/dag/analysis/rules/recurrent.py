"""torch's recurrent layers as one operation each, however long the sequence."""

from torch import nn

from snnkit.dag.analysis.axes import Axis, Reason, concat
from snnkit.dag.analysis.flow import Query
from snnkit.dag.analysis.module_rules import ModuleRule, register_module_rule
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.dag.analysis.unification import freeze, split_inner

Axes = tuple[Axis, ...]

_GATES = {"LSTM": 4, "GRU": 3}


def _recurrent(op: Operation, p: Propagation) -> list[Axes]:
    """Tie gates to rows and to hidden columns.

    One module has one number of units: layers and directions are tied as well.
    """
    module: nn.RNNBase = op.target
    data, *states = values_in(op.argument("inputs"))
    for axis in p.of(data)[:-1]:
        freeze(axis, Reason("time and batch of a recurrent layer", op.index))
    features = p.of(data)[-1]
    first: tuple[Axis, Axis] | None = None
    for layer in range(module.num_layers):
        passed = []
        for end in ["", "_reverse"] if module.bidirectional else [""]:
            found = _direction(op, p, f"l{layer}{end}", features)
            first = first or found
            for one, other in zip(first, found, strict=True):
                p.same(one, other, op)
            passed.append(found[1])
        features = concat(passed)
    if first is None:
        raise ValueError(f"{op}: a recurrent module without layers")
    for position, state in enumerate(states):
        p.same(_of_state(position, first), p.of(state)[-1], op)
    return [(*p.of(data)[:-1], features), *_final_states(op, p, first)]


def _direction(op: Operation, p: Propagation, name: str, features: Axis) -> tuple[Axis, Axis]:
    """Return the axis of the cells and that of what they pass on (smaller with a projection)."""
    held: dict[str, Value] = op.argument("held")
    data_weight, own_weight = held[f"weight_ih_{name}"], held[f"weight_hh_{name}"]
    p.same(features, p.of(data_weight)[1], op)
    rows = p.of(own_weight)[0]
    for key in (f"weight_ih_{name}", f"bias_ih_{name}", f"bias_hh_{name}"):
        if key in held:
            p.same(rows, p.of(held[key])[0], op)
    units = _units(op, p, rows)
    projection = held.get(f"weight_hr_{name}")
    passed = units
    if projection is not None:
        p.same(units, p.of(projection)[1], op)
        p.contract(op, (projection, p.of(projection)[1]))
        passed = p.of(projection)[0]
    p.same(passed, p.of(own_weight)[1], op)
    p.contract(op, (data_weight, p.of(data_weight)[1]))
    p.contract(op, (own_weight, p.of(own_weight)[1]))
    steps = p.of(next(values_in(op.argument("inputs"))))[:-1]
    p.cost(op, (*steps, rows, features))
    p.cost(op, (*steps, rows, passed))
    return units, passed


def _units(op: Operation, p: Propagation, rows: Axis) -> Axis:
    reason = Reason("the gates of a recurrent layer", op.index)
    per_gate = rows.size // _GATES.get(op.target.mode, 1)
    halves = split_inner(rows, per_gate, reason)
    if halves is None:
        freeze(rows, reason)
        return p.frozen(per_gate, reason.text, op)
    freeze(halves[0], reason)
    return halves[1]


def _of_state(position: int, found: tuple[Axis, Axis]) -> Axis:
    """Return the axis of a state: hidden states come first, then the cells of an LSTM."""
    return found[0] if position == 1 else found[1]


def _final_states(op: Operation, p: Propagation, found: tuple[Axis, Axis]) -> list[Axes]:
    text = "layers and batch of a recurrent state"
    return [
        (*(p.frozen(n, text, op) for n in value.shape[:-1]), _of_state(position, found))
        for position, value in enumerate(op.outputs[1:])
    ]


def _flow(op: Operation, query: Query) -> bool:
    """Cells whose weights are zero stay at zero, if they begin there."""
    _, *states = values_in(op.argument("inputs"))
    answers = [query(value) for value in op.argument("held").values()]
    return not states and True in answers and False not in answers


register_module_rule(nn.RNNBase, ModuleRule(_recurrent, _flow))
