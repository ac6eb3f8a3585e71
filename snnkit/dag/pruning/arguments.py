"""Numbers in the arguments of functions that are sizes, and what becomes of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from snnkit.dag.analysis.tape import Value
from snnkit.dag.functions import Function
from snnkit.dag.pruning.sizes import NewSizes
from snnkit.dag.vertex import InnerVertex, Vertex

__all__ = ["Call", "resized_call"]


@dataclass(frozen=True)
class Call:
    """A function with its arguments, as it stands in a graph.

    Args:
        operation: Name of the function.
        args: Positional arguments: vertices and constants.
        kwargs: Keyword arguments.
    """

    operation: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


Rule = Callable[[InnerVertex, NewSizes], Call]

_rules: dict[str, Rule] = {}


def _rule(*operations: str) -> Callable[[Rule], Rule]:
    def enter(rule: Rule) -> Rule:
        _rules.update(dict.fromkeys(operations, rule))
        return rule

    return enter


def resized_call(vertex: InnerVertex, sizes: NewSizes) -> Call:
    """Return the call of a function vertex with the sizes that hold after removal."""
    operation = vertex.operation or ""
    rule = _rules.get(operation)
    # What only training does did not run, and has no sizes: masks of whole examples, as a rule.
    in_training = getattr(vertex.module, "when", "") == "training"
    if rule is None or in_training or not sizes.changed:
        return Call(operation, vertex.args, vertex.kwargs)
    return rule(vertex, sizes)


def _with(vertex: InnerVertex, args: Sequence[Any] | None = None, **kwargs: Any) -> Call:
    found = vertex.args if args is None else tuple(args)
    return Call(vertex.operation or "", found, {**vertex.kwargs, **kwargs})


def _given(sizes: NewSizes) -> tuple[Any, ...]:
    return sizes.call.arguments[0]


def _entry(vertex: InnerVertex, sizes: NewSizes, entry: Any, old: int, new: int) -> Any:
    """Return a size: a number is replaced, a value computed in the graph is scaled, -1 stays."""
    if not isinstance(entry, Vertex):
        return entry if old in (new, -1) else new
    prefix = sizes.call.path[: len(sizes.call.path) - len(vertex.name)]
    found = sizes.numbers.after(prefix, entry)
    now = old if found is None else found
    return entry if now == new else _scaled(vertex, entry, now, new)


def _scaled(vertex: InnerVertex, entry: Vertex, old: int, new: int) -> Vertex:
    graph = vertex._owner()
    common = math.gcd(old, new)
    for function, number in (("mul", new // common), ("floordiv", old // common)):
        if number != 1:
            name = graph.free_name(f"{vertex.name}_size")
            entry = graph.add_call(name, Function("number"), (function, (entry, number)), before=vertex)
    return entry


def _listed(
    vertex: InnerVertex, sizes: NewSizes, start: int, old: Sequence[int], new: Sequence[int]
) -> tuple[Any, ...]:
    """Return the arguments with new sizes, which begin at ``start``, as one sequence or one by one."""
    args = vertex.args
    together = isinstance(args[start], list | tuple)
    entries = args[start] if together else args[start:]
    found = [_entry(vertex, sizes, entry, o, n) for entry, o, n in zip(entries, old, new, strict=True)]
    if together:
        return (*args[:start], type(args[start])(found), *args[start + 1 :])
    return (*args[:start], *found)


def _sizes_from(sizes: NewSizes, start: int) -> list[int]:
    given = _given(sizes)
    listed = given[start] if isinstance(given[start], list | tuple) else given[start:]
    return [int(n) for n in listed]


@_rule("reshape", "view", "broadcast_to", "expand", "new_zeros", "new_ones", "new_empty", "new_full")
def _target_shape(vertex: InnerVertex, sizes: NewSizes) -> Call:
    if not isinstance(_given(sizes)[1], int | list | tuple):
        return _with(vertex)  # view(dtype)
    return _with(vertex, _listed(vertex, sizes, 1, _sizes_from(sizes, 1), sizes.result_shape()))


@_rule("zeros", "ones", "empty", "full", "rand", "randn")
def _made_shape(vertex: InnerVertex, sizes: NewSizes) -> Call:
    return _with(vertex, _listed(vertex, sizes, 0, _sizes_from(sizes, 0), sizes.result_shape()))


@_rule("unflatten")
def _unflattened(vertex: InnerVertex, sizes: NewSizes) -> Call:
    old = _sizes_from(sizes, 2)
    dim = _given(sizes)[1] % len(sizes.inputs[0].shape)
    return _with(vertex, _listed(vertex, sizes, 2, old, sizes.result_shape()[dim : dim + len(old)]))


@_rule("repeat", "tile")
def _repeated(vertex: InnerVertex, sizes: NewSizes) -> Call:
    old = _sizes_from(sizes, 1)
    after = sizes.result_shape()
    before = (1,) * (len(after) - len(sizes.input_shape())) + sizes.input_shape()
    times = [n // m for n, m in zip(after, before, strict=True)]
    return _with(vertex, _listed(vertex, sizes, 1, old, times[len(times) - len(old) :]))


@_rule("repeat_interleave")
def _interleaved(vertex: InnerVertex, sizes: NewSizes) -> Call:
    times, dim = _given(sizes)[1], vertex.kwargs.get("dim")
    if not isinstance(times, int) or dim is None:
        return _with(vertex)
    # How often may be an axis of its own: queries that share a head of keys.
    new = sizes.result_shape()[dim] // sizes.input_shape()[dim]
    found = _with(vertex, (vertex.args[0], _entry(vertex, sizes, vertex.args[1], times, new)))
    return Call(found.operation, found.args, {k: v for k, v in found.kwargs.items() if k != "output_size"})


@_rule("split", "chunk", "tensor_split", "split_with_sizes", "unsafe_chunk")
def _split(vertex: InnerVertex, sizes: NewSizes) -> Call:
    dim = vertex.kwargs.get("dim", 0)
    rank = len(sizes.inputs[0].shape)
    before = [value.shape[dim % rank] for value in sizes.results]
    after = [sizes.sizes.new_shape(value)[dim % rank] for value in sizes.results]
    if before == after:
        return _with(vertex)
    return Call("split", (vertex.args[0], after), {"dim": dim})


@_rule("narrow")
def _narrowed(vertex: InnerVertex, sizes: NewSizes) -> Call:
    _, dim, start, length = _given(sizes)
    kept = sizes.sizes.kept(sizes.inputs[0], dim)
    first, count = int(kept[:start].sum()), int(kept[start : start + length].sum())
    return _with(vertex, (vertex.args[0], dim, first, count))


@_rule("getitem", "index_assign")
def _indexed(vertex: InnerVertex, sizes: NewSizes) -> Call:
    if not isinstance(_given(sizes)[0], Value):
        return _with(vertex)  # an element of a list
    given, entries = _given(sizes)[1], vertex.args[1]
    alone = not isinstance(given, tuple)
    givens, found = ((given,), [entries]) if alone else (given, list(entries))
    rank = len(sizes.inputs[0].shape)
    dim = 0
    for position, index in enumerate(givens):
        if index is Ellipsis:
            rest = givens[position + 1 :]
            dim = rank - sum(_dims_of(other) for other in rest)
            continue
        if isinstance(index, slice):
            found[position] = _sliced(found[position], index, sizes, dim)
        dim += _dims_of(index)
    return _with(vertex, (vertex.args[0], found[0] if alone else tuple(found), *vertex.args[2:]))


def _dims_of(index: Any) -> int:
    if index is None or index is Ellipsis or isinstance(index, bool):
        return 0
    return len(index.shape) if isinstance(index, Value) and index.dtype.itemsize == 1 else 1


def _sliced(entry: slice, index: slice, sizes: NewSizes, dim: int) -> slice:
    kept = sizes.sizes.kept(sizes.inputs[0], dim)
    if kept.all():
        return entry
    start, stop, step = index.indices(len(kept))
    first = entry.start if index.start is None else int(kept[:start].sum()) if step == 1 else start
    last = entry.stop if index.stop is None else int(kept[:stop].sum())
    return slice(first, last, entry.step)


@_rule("pad")
def _padded(vertex: InnerVertex, sizes: NewSizes) -> Call:
    pads = [int(n) for n in _given(sizes)[1]]
    found = list(vertex.args[1])
    rank = len(sizes.inputs[0].shape)
    for position in range(len(pads) // 2):
        before, after = pads[2 * position : 2 * position + 2]
        kept = sizes.sizes.kept(sizes.results[0], rank - 1 - position)
        if not kept.all() and before >= 0 and after >= 0:
            found[2 * position] = int(kept[:before].sum())
            found[2 * position + 1] = int(kept[len(kept) - after :].sum())
    return _with(vertex, (vertex.args[0], type(vertex.args[1])(found)))


@_rule("layer_norm", "rms_norm")
def _layer_norm(vertex: InnerVertex, sizes: NewSizes) -> Call:
    count = len(vertex.args[1])
    return _with(vertex, (vertex.args[0], sizes.input_shape()[-count:], *vertex.args[2:]))


@_rule("group_norm", "channel_shuffle")
def _groups(vertex: InnerVertex, sizes: NewSizes) -> Call:
    groups = sizes.number("groups", vertex.args[1])
    return _with(vertex, (vertex.args[0], groups, *vertex.args[2:]))


@_rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _convolution(vertex: InnerVertex, sizes: NewSizes) -> Call:
    groups = vertex.kwargs.get("groups", 1)
    return _with(vertex) if groups == 1 else _with(vertex, groups=sizes.number("groups", groups))


@_rule("scaled_dot_product_attention")
def _attention(vertex: InnerVertex, sizes: NewSizes) -> Call:
    query = sizes.inputs[0]
    if vertex.kwargs.get("scale") is not None or sizes.input_shape()[-1] == query.shape[-1]:
        return _with(vertex)
    # The default is taken from the tensor, which has fewer channels now than the model was made for.
    return _with(vertex, scale=query.shape[-1] ** -0.5)
