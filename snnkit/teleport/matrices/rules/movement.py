"""Operations that only arrange elements: coordinates are arranged in the same way."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.teleport.matrices.provenance import FOREIGN, ZERO, Tracked
from snnkit.teleport.matrices.tracing import Trace, rule

_VIEWS = ("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten")
_COPIES = ("clone", "contiguous", "alias", "detach", "_to_copy", "lift_fresh", "lift_fresh_copy", "to")
_CUTS = ("split", "split_with_sizes", "chunk", "unbind", "unsafe_split", "unsafe_chunk", "tensor_split")


def arranged(op: Operation, tensors: dict[int, Tensor], result: int = 0) -> Tensor:
    """Return what an operation makes of other tensors, given by the index of the value they stand for."""
    kind = op.kind.removeprefix("aten.").rstrip("_")
    if kind in _VIEWS:
        return tensors[op.inputs[0].index].reshape(op.outputs[0].shape)
    if kind in _COPIES:
        return tensors[op.inputs[0].index]

    def put(given: Any) -> Any:
        if isinstance(given, Value):
            return tensors[given.index]
        return type(given)(map(put, given)) if isinstance(given, list | tuple) else given

    arguments = {name: put(given) for name, given in op.arguments.items()}
    positional = [arguments.pop(a.name) for a in op.target._schema.arguments if not a.kwarg_only]
    found = op.target(*positional, **arguments)
    return found[result] if isinstance(found, list | tuple) else found


@rule(*_VIEWS, *_COPIES, *_CUTS, "t", "transpose", "permute", "expand", "select", "slice", "unsqueeze",
      "squeeze", "movedim", "swapaxes", "narrow", "repeat", "repeat_interleave", "roll", "flip", "rot90",
      "pixel_shuffle", of_parameters=True)  # fmt: skip
def _arrange(op: Operation, trace: Trace) -> None:
    source = op.inputs[0]
    found, given = trace.tracked(source), trace.given(source)
    if len(op.inputs) > 1:
        trace.barrier(op)
        return
    for position, out in enumerate(op.outputs):
        if trace.is_zero(source):
            trace.set_zero(out)
        elif found is not None:
            rows, functional = (
                arranged(op, {source.index: t}, position) for t in (found.rows, found.functional)
            )
            trace.set(out, Tracked(rows, functional, found.power))
        elif given is not None:
            trace.set(out, given.then(_making(op, source.index, position), out.shape))


def _making(op: Operation, index: int, position: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: arranged(op, {index: tensor}, position)


@rule("cat", "stack", of_parameters=True)
def _join(op: Operation, trace: Trace) -> None:
    values = list(values_in(list(op.arguments.values())))
    found = [_as_tracked(value, trace, op) for value in values]
    powers = {part.power for part in found if bool((part.rows >= 0).any())}
    if len(powers) > 1 or (any(bool((part.rows == FOREIGN).all()) for part in found) and not trace.knows(op)):
        trace.barrier(op)
        return
    rows = arranged(op, {v.index: part.rows for v, part in zip(values, found, strict=True)})
    functional = arranged(op, {v.index: part.functional for v, part in zip(values, found, strict=True)})
    trace.set(op.outputs[0], Tracked(rows, functional, *powers))


def _as_tracked(value: Value, trace: Trace, op: Operation) -> Tracked:
    found, given = trace.tracked(value), trace.given(value)
    if found is not None:
        return found
    if given is not None:
        return trace.as_vector(given)
    kind = ZERO if trace.is_zero(value) else FOREIGN
    shape = torch.Size(value.shape)
    return Tracked(torch.full(shape, kind), torch.zeros(shape, dtype=torch.int64))


@rule("constant_pad_nd")
def _pad(op: Operation, trace: Trace) -> None:
    found = trace.tracked(op.inputs[0])
    if found is None or op.argument("value") != 0:
        trace.barrier(op)
        return
    rows = torch.constant_pad_nd(found.rows, op.argument("pad"), ZERO)
    functional = torch.constant_pad_nd(found.functional, op.argument("pad"), 0)
    trace.set(op.outputs[0], Tracked(rows, functional, found.power))


__all__ = ["arranged"]
