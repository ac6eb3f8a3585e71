"""Element by element: sums tie coordinates, factors that all coordinates share pass."""

import torch

from snnkit.dag.analysis.tape import Operation, Value
from snnkit.teleport.matrices.provenance import FOREIGN, ZERO, Tracked, mixed, positions
from snnkit.teleport.matrices.tracing import Trace, rule
from snnkit.teleport.matrices.views import Given

__all__ = ["added", "multiplied"]


@rule("add", "sub", "rsub")
def _add(op: Operation, trace: Trace) -> None:
    one, other = op.argument("self"), op.argument("other")
    if not isinstance(other, Value) or trace.tracked(one) is None:
        one, other = other, one
    if isinstance(one, Value) and trace.tracked(one) is not None:
        found = trace.tracked(one)
        if found is not None and tuple(found.shape) != op.outputs[0].shape:
            shape = op.outputs[0].shape
            found = Tracked(found.rows.expand(shape), found.functional.expand(shape), found.power)
        trace.set(op.outputs[0], found)
        added(op, trace, op.outputs[0], other)
    else:
        _plus_constant(op, trace, other, one)


def added(op: Operation, trace: Trace, out: Value, addend: object) -> None:
    """Add ``addend`` to what is known of ``out``."""
    found = trace.tracked(out)
    if trace.is_zero(addend):
        return
    if found is None or found.power != 1:
        trace.fix(out, op)
        trace.fix(addend, op)
        trace.set(out, None)
        return
    given = addend if isinstance(addend, Given) else trace.given(addend)
    if given is not None:
        shape = found.shape
        spread = given.then(lambda tensor: tensor.expand(shape), tuple(shape))
        other: Tracked | None = trace.as_vector(spread, found.functional)
    else:
        other = trace.tracked(addend)
    if other is None:
        _plus_constant(op, trace, out, addend)
    elif other.power != 1:
        trace.fix(addend, op)
        trace.fix(out, op)
        trace.set(out, None)
    else:
        trace.set(out, _sum(op, trace, found, other))


def _sum(op: Operation, trace: Trace, one: Tracked, other: Tracked) -> Tracked:
    shape = torch.broadcast_shapes(one.shape, other.shape)
    left, right = one.rows.expand(shape), other.rows.expand(shape)
    trace.constraints.tie(left, right, 1, follows=True)
    functional = mixed(op.index, one.functional.expand(shape), other.functional.expand(shape))
    trace.constraints.use(left, mixed(functional, 0))
    trace.constraints.use(right, mixed(functional, 1))
    clash = ((left == FOREIGN) | (right == FOREIGN)) & (left != right)
    trace.constraints.fix(left[clash], f"{op!r}")
    trace.constraints.fix(right[clash], f"{op!r}")
    rows = torch.where(left == ZERO, right, left)
    rows = torch.where(right == FOREIGN, right, rows)
    return Tracked(rows, functional)


def _plus_constant(op: Operation, trace: Trace, value: object, addend: object) -> None:
    """Add something without coordinates: exact if matrices keep the vector of ones."""
    found = trace.tracked(value)
    out = op.outputs[0]
    if found is None or found.power != 1:
        trace.barrier(op)
        return
    axis = len(out.shape) - 1
    if isinstance(addend, Value) and addend.shape and addend.shape[-1] != 1:
        trace.fix(value, op)
        trace.set(out, None)
        return
    shape = torch.Size(out.shape)
    spread = Tracked(found.rows.expand(shape), found.functional.expand(shape))
    trace.group(op, spread, [axis], "rotation about ones")
    trace.set(out, Tracked(spread.rows, mixed(op.index, spread.functional)))


@rule("mul", "div", "multiply", "divide", "true_divide")
def _scale(op: Operation, trace: Trace) -> None:
    one, other = op.argument("self"), op.argument("other")
    if isinstance(other, Value) and trace.tracked(other) is not None:
        if one is other and "mul" in op.kind:
            _set_square(op, trace, one)
            return
        if trace.tracked(one) is not None or "div" in op.kind:
            trace.barrier(op)
            return
        one, other = other, one
    if op.argument("rounding_mode") is not None:
        trace.barrier(op)
        return
    found = trace.tracked(one)
    if found is not None:
        trace.set(op.outputs[0], multiplied(op, trace, found, other, "div" in op.kind))


def multiplied(
    op: Operation, trace: Trace, found: Tracked, factor: object, divides: bool = False
) -> Tracked | None:
    """Return what is known of a product with something that has no coordinates."""
    shape = torch.Size(op.outputs[0].shape)
    if not isinstance(factor, Value):
        return Tracked(found.rows, mixed(op.index, found.functional), found.power)
    rows, functional = found.rows.expand(shape), found.functional.expand(shape)
    if trace.given(factor) is not None and factor.shape[-1:] > (1,):
        if trace.all_equal(factor, rows):
            return Tracked(rows, mixed(op.index, functional), found.power)
        if not divides and found.power == 1:
            gained = _gained(op, trace, Tracked(rows, functional), factor)
            if gained is not None:
                return gained
    trace.fix(factor, op)
    which = positions(factor.shape).expand(shape)
    return Tracked(rows, mixed(op.index, functional, which), found.power)


def _gained(op: Operation, trace: Trace, found: Tracked, gain: Value) -> Tracked | None:
    """The product with a gain for each coordinate: what it makes are coordinates of the gain's own."""
    given = trace.given(gain)
    if given is None or given.view is None or len(gain.shape) != 1 or gain.shape[0] != found.shape[-1]:
        return None
    if gain.shape[0] == 1:
        return None
    side = trace.constraints.side(given.view, 0, diagonal=True)
    side.used[:] = True
    trace.gains[given.source.name] = side
    rows = (side.first + torch.arange(side.size)).expand(found.shape)
    if not trace.gains_read:
        trace.constraints.fix(found.rows, f"{op!r}")
        return Tracked(rows, mixed(op.index, found.functional))
    trace.constraints.tie(rows, found.rows, -1)
    trace.constraints.fix(rows[found.rows < 0], f"{op!r}")
    return Tracked(torch.full_like(rows, FOREIGN), torch.zeros_like(rows))


@rule("neg", "negative")
def _negate(op: Operation, trace: Trace) -> None:
    found = trace.tracked(op.inputs[0])
    if found is not None:
        trace.set(op.outputs[0], Tracked(found.rows, mixed(op.index, found.functional), found.power))


@rule("pow", "square")
def _power(op: Operation, trace: Trace) -> None:
    exponent = op.argument("exponent") if "pow" in op.kind else 2
    if exponent == 2 and isinstance(op.argument("self"), Value):
        _set_square(op, trace, op.argument("self"))
    else:
        trace.barrier(op)


def _set_square(op: Operation, trace: Trace, value: Value) -> None:
    found = trace.tracked(value)
    if found is None or found.power != 1:
        trace.barrier(op)
    else:
        trace.set(op.outputs[0], Tracked(found.rows, mixed(op.index, found.functional), 2))


@rule("masked_fill")
def _mask(op: Operation, trace: Trace) -> None:
    found, filling = trace.tracked(op.argument("self")), op.argument("value")
    if found is None or isinstance(filling, Value) or filling != 0:
        trace.barrier(op)
    else:
        trace.set(op.outputs[0], multiplied(op, trace, found, op.argument("mask")))


@rule("where")
def _choose(op: Operation, trace: Trace) -> None:
    condition, one, other = (op.argument(name) for name in ("condition", "self", "other"))
    chosen = one if trace.is_zero(other) else other if trace.is_zero(one) else None
    found = trace.tracked(chosen)
    if found is None:
        trace.barrier(op)
    else:
        trace.set(op.outputs[0], multiplied(op, trace, found, condition))
