"""Functions applied element by element, with broadcasting."""

from snnkit.dag.analysis.axes import UNIT, Axis
from snnkit.dag.analysis.flow import Flow, Query, all_inputs, pointwise
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation, Value, values_in

__all__ = ["broadcast", "broadcast_axes"]

Axes = tuple[Axis, ...]


def broadcast(op: Operation, values: list[Value], shape: tuple[int, ...], p: Propagation) -> Axes:
    """Return the axes of a result of ``shape`` that reads ``values`` element by element."""
    return broadcast_axes(op, [p.of(value) for value in values], shape, p)


def broadcast_axes(op: Operation, read: list[Axes], shape: tuple[int, ...], p: Propagation) -> Axes:
    """Return the axes of a result of ``shape`` that reads tensors of axes ``read`` element by element."""
    result: list[Axis] = []
    for position in range(1, len(shape) + 1):
        n = shape[-position]
        matching = [axes[-position] for axes in read if len(axes) >= position and axes[-position].size == n]
        for axis in matching[1:]:
            p.same(matching[0], axis, op)
        result.append(UNIT if n == 1 else matching[0])
    return tuple(reversed(result))


@rule("pointwise", "masked_fill", "where", "native_dropout", "dropout", "alpha_dropout", "polar", "hardswish",
      "hardsigmoid", "silu", "mish", "gelu", "prelu", "_prelu_kernel", "rrelu", "logit", "lerp", "isclose",
      "floor_divide",
      flow=pointwise)  # fmt: skip
def _pointwise(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    values = list(values_in(list(op.arguments.values())))
    return [broadcast(op, values, value.shape, p) for value in op.outputs]


@rule("rrelu_with_noise", "bernoulli", "normal", "uniform", "exponential", "random")
def _random(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    p.freeze(p.of(op.inputs[0]), f"{op.kind} draws a number for each index", op)
    return [p.of(op.inputs[0])] * len(op.outputs)


@rule("fill", "zero", "fill_", "zero_")
def _filled(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    return [p.of(op.inputs[0])]


def _copied(op: Operation, query: Query) -> bool:
    source = op.argument("src")
    return query(source) is True if isinstance(source, Value) else False


copied: Flow = _copied


@rule("copy_", "copy", flow=copied)
def _copy(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    target, source = op.argument("self"), op.argument("src")
    return [broadcast(op, [target, source], target.shape, p)]


@rule("_to_copy", "clone", "detach", "alias", "contiguous", "lift_fresh", "lift_fresh_copy", "_conj", "to",
      flow=all_inputs)  # fmt: skip
def _identity(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    return [p.of(op.inputs[0])]
