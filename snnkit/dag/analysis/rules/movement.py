"""Operations that only arrange elements: views, permutations, joins, cuts, padding."""

from typing import Any

from snnkit.dag.analysis.axes import UNIT, Axis, Reason, concat, fresh, is_frozen, product
from snnkit.dag.analysis.flow import Query, all_inputs
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation, Value, values_in
from snnkit.dag.analysis.unification import freeze, pair_off, split_ahead, split_inner

Axes = tuple[Axis, ...]


def _dim(op: Operation, value: Value, name: str = "dim") -> int:
    dim = op.argument(name)
    return int(dim or 0) % max(len(value.shape), 1)


def _replaced(axes: Axes, dim: int, *axis: Axis) -> Axes:
    return (*axes[:dim], *axis, *axes[dim + 1 :])


def cut(axis: Axis, start: int, end: int, op: Operation) -> Axis:
    """Return the axis of the indices from ``start`` to before ``end``."""
    reason = Reason(f"{op.kind} cuts the axis", op.index)
    whole = axis
    tail = split_ahead(axis, start, reason)
    found = None if tail is None else split_ahead(tail[1], end - start, reason)
    if found is None:
        note = Reason(f"{op.kind} cuts the axis within a product", op.index)
        freeze(whole, note)
        return _frozen_like(end - start, note)
    return found[0]


def _frozen_like(n: int, reason: Reason) -> Axis:
    axis = fresh(n)
    freeze(axis, reason)
    return axis


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy", flow=all_inputs)
def _view(op: Operation, p: Propagation) -> list[Axes]:
    value, (out,) = op.inputs[0], op.outputs
    if out.dtype.itemsize != value.dtype.itemsize and op.argument("dtype") is not None:
        p.freeze(p.of(value), "the elements are reinterpreted", op)
        return [tuple(p.frozen(n, "the elements are reinterpreted", op) for n in out.shape)]
    return [tuple(pair_off(p.of(value), out.shape, Reason(f"{op.kind} regroups the axes", op.index)))]


@rule("t", "t_", "numpy_T", "adjoint", flow=all_inputs)
def _transposed(op: Operation, p: Propagation) -> list[Axes]:
    return [p.of(op.inputs[0])[::-1]]


@rule("transpose", "transpose_", "swapaxes", flow=all_inputs)
def _swapped(op: Operation, p: Propagation) -> list[Axes]:
    value = op.inputs[0]
    axes = list(p.of(value))
    one, other = _dim(op, value, "dim0"), _dim(op, value, "dim1")
    if axes:
        axes[one], axes[other] = axes[other], axes[one]
    return [tuple(axes)]


@rule("permute", flow=all_inputs)
def _permuted(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    return [tuple(axes[dim] for dim in op.argument("dims"))]


@rule("squeeze", "unsqueeze", "squeeze_", "unsqueeze_", flow=all_inputs)
def _single_axes(op: Operation, p: Propagation) -> list[Axes]:
    axes = iter([axis for axis in p.of(op.inputs[0]) if axis.size != 1])
    return [tuple(UNIT if n == 1 else next(axes) for n in op.outputs[0].shape)]


@rule("expand", "expand_copy", "broadcast_to", flow=all_inputs)
def _expanded(op: Operation, p: Propagation) -> list[Axes]:
    axes, shape = p.of(op.inputs[0]), op.outputs[0].shape
    padded = (*(UNIT for _ in range(len(shape) - len(axes))), *axes)
    return [tuple(axis if axis.size == n else fresh(n) for axis, n in zip(padded, shape, strict=True))]


@rule("repeat", "tile", flow=all_inputs)
def _repeated(op: Operation, p: Propagation) -> list[Axes]:
    axes, shape = p.of(op.inputs[0]), op.outputs[0].shape
    padded = (*(UNIT for _ in range(len(shape) - len(axes))), *axes)
    return [tuple(product([fresh(n // axis.size), axis]) for axis, n in zip(padded, shape, strict=True))]


def _joined_flow(op: Operation, query: Query) -> bool:
    # An index of the joined axis lies within one of the inputs; of the others within all.
    answers = [query(value) for value in op.inputs]
    return any(answers) and False not in answers


@rule("cat", "concat", "concatenate", flow=_joined_flow)
def _joined(op: Operation, p: Propagation) -> list[Axes]:
    values = [value for value in values_in(op.argument("tensors")) if 0 not in value.shape]
    dim = _dim(op, values[0])
    first = p.of(values[0])
    for value in values[1:]:
        for position, axis in enumerate(p.of(value)):
            if position != dim:
                p.same(first[position], axis, op)
    reason = Reason(f"{op.kind} joins single indices", op.index)
    return [_replaced(first, dim, concat([p.of(value)[dim] for value in values], reason))]


@rule("stack", flow=_joined_flow)
def _stacked(op: Operation, p: Propagation) -> list[Axes]:
    values = list(values_in(op.argument("tensors")))
    first = p.of(values[0])
    for value in values[1:]:
        for one, other in zip(first, p.of(value), strict=True):
            p.same(one, other, op)
    dim = int(op.argument("dim") or 0) % (len(first) + 1)
    stacked = UNIT if len(values) == 1 else p.frozen(len(values), f"{op.kind} of single tensors", op)
    return [(*first[:dim], stacked, *first[dim:])]


@rule("slice", "slice_copy", flow=all_inputs)
def _sliced(op: Operation, p: Propagation) -> list[Axes]:
    value, out = op.inputs[0], op.outputs[0]
    dim = _dim(op, value)
    axis, n = p.of(value)[dim], value.shape[dim]
    start, step = op.argument("start") or 0, op.argument("step") or 1
    start = min(max(start + n if start < 0 else start, 0), n)
    if out.shape[dim] == n:
        return [p.of(value)]
    if step == 1:
        return [_replaced(p.of(value), dim, cut(axis, start, start + out.shape[dim], op))]
    return [_replaced(p.of(value), dim, _every(axis, out.shape[dim], step, op))]


def _every(axis: Axis, n: int, step: int, op: Operation) -> Axis:
    note = Reason(f"{op.kind} takes every {step}th index", op.index)
    halves = split_inner(axis, step, note) if axis.size == n * step else None
    if halves is None:
        freeze(axis, note)
        return _frozen_like(n, note)
    freeze(halves[1], note)
    return halves[0]


@rule("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk", "unsafe_chunk",
      "tensor_split", "split_copy", "split_with_sizes_copy", "narrow", flow=all_inputs)  # fmt: skip
def _split(op: Operation, p: Propagation) -> list[Axes]:
    value = op.inputs[0]
    dim = _dim(op, value)
    axes, start, results = p.of(value), int(op.argument("start") or 0), []
    for out in op.outputs:
        n = out.shape[dim]
        results.append(_replaced(axes, dim, cut(axes[dim], start, start + n, op)))
        start += n
    return results


@rule("select", "select_copy", flow=all_inputs)
def _selected(op: Operation, p: Propagation) -> list[Axes]:
    value = op.inputs[0]
    dim = _dim(op, value)
    p.freeze([p.of(value)[dim]], f"{op.kind} tells single indices apart", op)
    return [_replaced(p.of(value), dim)]


@rule("unbind", "unbind_copy", flow=all_inputs)
def _unbound(op: Operation, p: Propagation) -> list[Axes]:
    return _selected(op, p) * len(op.outputs)


def _padded_flow(op: Operation, query: Query) -> bool:
    return query(op.inputs[0]) is not False and not op.argument("value")


@rule("constant_pad_nd", "pad", flow=_padded_flow)
def _padded(op: Operation, p: Propagation) -> list[Axes]:
    axes = list(p.of(op.inputs[0]))
    pads = op.argument("pad")
    for position in range(len(pads) // 2):
        before, after = pads[2 * position : 2 * position + 2]
        dim = len(axes) - 1 - position
        axes[dim] = _with_margins(axes[dim], before, after, op, p)
    return [tuple(axes)]


def _with_margins(axis: Axis, before: int, after: int, op: Operation, p: Propagation) -> Axis:
    if before == after == 0:
        return axis
    n = axis.size + before + after
    if before < 0 or after < 0 or is_frozen(axis):
        p.freeze([axis], f"{op.kind} cuts or pads the axis", op)
        return p.frozen(n, f"{op.kind} cuts or pads the axis", op)
    margins = [fresh(m) for m in (before, after)]
    return concat([margins[0] if before else concat([]), axis, margins[1] if after else concat([])])


@rule("glu")
def _gated(op: Operation, p: Propagation) -> list[Axes]:
    value = op.inputs[0]
    dim = int(op.argument("dim")) % len(value.shape)
    axis, half = p.of(value)[dim], value.shape[dim] // 2
    halves = cut(axis, 0, half, op), cut(axis, half, 2 * half, op)
    p.same(*halves, op)
    return [_replaced(p.of(value), dim, halves[0])]


@rule("pixel_shuffle", flow=all_inputs)
def _to_space(op: Operation, p: Propagation) -> list[Axes]:
    *lead, channels, height, width = p.of(op.inputs[0])
    note = Reason(f"{op.kind} lays channels out in space", op.index)
    halves = split_inner(channels, int(op.argument("upscale_factor")) ** 2, note)
    if halves is None:
        freeze(channels, note)
        halves = _frozen_like(op.outputs[0].shape[-3], note), UNIT
    freeze(halves[1], note)
    p.freeze([height, width], f"{op.kind} mixes positions", op)
    return [(*lead, halves[0], *_frozen_space(op, p))]


@rule("pixel_unshuffle", flow=all_inputs)
def _to_depth(op: Operation, p: Propagation) -> list[Axes]:
    *lead, channels, height, width = p.of(op.inputs[0])
    p.freeze([height, width], f"{op.kind} mixes positions", op)
    inner = p.frozen(int(op.argument("downscale_factor")) ** 2, f"{op.kind} stacks positions", op)
    return [(*lead, product([channels, inner]), *_frozen_space(op, p))]


def _frozen_space(op: Operation, p: Propagation) -> list[Axis]:
    return [p.frozen(n, f"{op.kind} mixes positions", op) for n in op.outputs[0].shape[-2:]]


@rule("channel_shuffle", flow=all_inputs)
def _shuffled(op: Operation, p: Propagation) -> list[Axes]:
    lead, channels, *space = p.of(op.inputs[0])
    groups = int(op.argument("groups"))
    note = Reason(f"{op.kind} interleaves channels", op.index)
    halves = split_inner(channels, channels.size // groups, note)
    if halves is None:
        freeze(channels, note)
        return [(lead, _frozen_like(channels.size, note), *space)]
    p.note(op, "groups", halves[0])
    return [(lead, product(halves[::-1]), *space)]


@rule("flip", "roll", "rot90", "tril", "triu", "cumsum", "cumprod", "cummax", "logcumsumexp", flow=all_inputs)
def _ordered(op: Operation, p: Propagation) -> list[Axes]:
    value = op.inputs[0]
    dims: Any = op.argument("dims")
    if op.kind.rstrip("_") in ("aten.tril", "aten.triu"):
        dims = [-1, -2]
    elif dims is None:
        dims = op.argument("dim")
    chosen = [dims] if isinstance(dims, int) else dims or range(len(value.shape))
    p.freeze([p.of(value)[dim] for dim in chosen], f"{op.kind} depends on the order of the indices", op)
    if op.kind == "aten.rot90":
        return [tuple(p.frozen(n, "aten.rot90 moves axes", op) for n in op.outputs[0].shape)]
    return [p.of(value)] * len(op.outputs)
