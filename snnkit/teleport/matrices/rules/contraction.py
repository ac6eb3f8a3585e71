"""Sums of products: with weights, which absorb matrices, and of activations with each other."""

from typing import Any

import torch
from torch import Tensor

from snnkit.dag.analysis.tape import Operation, Value
from snnkit.teleport.matrices.provenance import FOREIGN, Tracked, mixed, positions
from snnkit.teleport.matrices.rules.pointwise import added
from snnkit.teleport.matrices.tracing import Trace, rule
from snnkit.teleport.matrices.views import View


@rule("mm", "bmm", "matmul", of_parameters=True)
def _product(op: Operation, trace: Trace) -> None:
    one, other = op.inputs
    _set_product(op, trace, one, other)


@rule("addmm", "baddbmm", of_parameters=True)
def _product_plus(op: Operation, trace: Trace) -> None:
    addend, one, other = op.inputs
    _set_product(op, trace, one, other)
    added(op, trace, op.outputs[0], addend)


@rule("linear", of_parameters=True)
def _linear(op: Operation, trace: Trace) -> None:
    x, weight = op.argument("input"), op.argument("weight")
    given = trace.given(weight)
    if given is None or len(weight.shape) != 2:
        trace.barrier(op)
        return
    flipped = given.then(lambda tensor: tensor.T, (weight.shape[1], weight.shape[0])).view
    _set_weighted(op, trace, x, flipped)
    if op.argument("bias") is not None:
        added(op, trace, op.outputs[0], op.argument("bias"))


def _set_product(op: Operation, trace: Trace, one: Value, other: Value) -> None:
    """Note the matrix product of two values along the last axis of one and the last but one of the other."""
    left, right = trace.given(one), trace.given(other)
    if len(one.shape) < 2 or len(other.shape) < 2 or (left is not None and right is not None):
        trace.barrier(op)
    elif right is not None:
        _set_weighted(op, trace, one, right.view)
    elif left is not None:
        swapped = left.then(lambda tensor: tensor.transpose(-1, -2), _swapped(one.shape)).view
        _set_weighted(op, trace, other, swapped, turned=True)
    else:
        _set_of_activations(op, trace, trace.tracked(one), trace.tracked(other))


def _swapped(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-2], shape[-1], shape[-2])


# --- With weights -----------------------------------------------------------------------------------


def _set_weighted(op: Operation, trace: Trace, x: Value, weight: View | None, turned: bool = False) -> None:
    """Note ``x @ weight``, or its transpose of transposed ``x``."""
    out = op.outputs[0]
    if weight is None or any(n == 0 for n in (*out.shape, *x.shape)):
        trace.barrier(op)
        return
    found = trace.tracked(x)
    if found is not None and turned:
        found = Tracked(found.rows.transpose(-1, -2), found.functional.transpose(-1, -2), found.power)
    shape = _swapped(out.shape) if turned else out.shape
    batch = weight.sizes[:-2]
    if any(n > 1 and s for n, s in zip(batch, weight.strides, strict=False)):
        result = _by_batch(op, trace, found, weight, shape)
    else:
        while len(weight.sizes) > 2:
            weight = weight.chosen(0, 0)
        if any(n > 1 and not s for n, s in zip(weight.sizes, weight.strides, strict=True)):
            trace.barrier(op)
            return
        result = _one(op, trace, found, weight, shape)
    if result is not None and turned:
        result = Tracked(result.rows.transpose(-1, -2), result.functional.transpose(-1, -2))
    trace.set(out, result)


def _one(
    op: Operation, trace: Trace, found: Tracked | None, weight: View, shape: tuple[int, ...]
) -> Tracked | None:
    if found is not None and weight.sizes[0] > 1:
        trace.absorb(op, weight, 0, found)
    else:
        trace.fix_axis(op, weight, 0)
        if found is not None:
            trace.constraints.fix(found.rows, f"{op!r}")
    if weight.sizes[1] == 1:
        return None
    return trace.of_axis(op, weight, 1, shape, len(shape) - 1)


def _by_batch(
    op: Operation, trace: Trace, found: Tracked | None, weight: View, shape: tuple[int, ...]
) -> Tracked | None:
    """A product with a weight of its own for each index of the first axis."""
    if len(weight.sizes) != 3 or len(shape) != 3:
        trace.barrier(op)
        return None
    results = []
    for index in range(weight.sizes[0]):
        part = None if found is None else Tracked(found.rows[index], found.functional[index], found.power)
        result = _one(op, trace, part, weight.chosen(0, index), shape[1:])
        if result is None:
            return None
        results.append(Tracked(result.rows, mixed(result.functional, index)))
    return Tracked(torch.stack([r.rows for r in results]), torch.stack([r.functional for r in results]))


@rule("embedding", of_parameters=True)
def _embedding(op: Operation, trace: Trace) -> None:
    given = trace.given(op.argument("weight"))
    if given is None or given.view is None or given.shape[1] == 1 or trace.knows(op):
        trace.barrier(op)
        return
    shape = op.outputs[0].shape
    trace.fix_axis(op, given.view, 0)
    trace.set(op.outputs[0], trace.of_axis(op, given.view, 1, shape, len(shape) - 1))


@rule("convolution", "_convolution", of_parameters=True)
def _convolution(op: Operation, trace: Trace) -> None:
    x, weight, bias = op.argument("input"), op.argument("weight"), op.argument("bias")
    given = trace.given(weight)
    groups, dimensions = int(op.argument("groups") or 1), len(weight.shape) - 2
    if given is None or given.view is None or len(x.shape) != dimensions + 2:
        trace.barrier(op)
        return
    found = trace.tracked(x)
    per_group, results = weight.shape[0] // groups, []
    for group in range(groups):
        view = given.view.cut(0, group * per_group, per_group)
        n = view.sizes[0 if op.argument("transposed") else 1]
        part = None
        if found is not None:
            rows, functional = (
                t[:, group * n : (group + 1) * n].movedim(1, -1) for t in (found.rows, found.functional)
            )
            part = Tracked(rows, functional, found.power)
        results.append(_convolved(op, trace, part, view, group))
    rows, functional = (torch.cat(parts, 1) for parts in zip(*results, strict=True))
    trace.set(op.outputs[0], Tracked(rows, functional))
    if isinstance(bias, Value):
        spread = trace.given(bias)
        if spread is None:
            trace.fix(op.outputs[0], op)
        else:
            column = spread.then(
                lambda t: t.reshape([1, -1] + [1] * dimensions), (1, bias.shape[0], *[1] * dimensions)
            )
            added(op, trace, op.outputs[0], column)


def _convolved(
    op: Operation, trace: Trace, found: Tracked | None, view: View, group: int
) -> tuple[Tensor, Tensor]:
    out_axis, in_axis = (1, 0) if op.argument("transposed") else (0, 1)
    shape = op.outputs[0].shape
    own = (shape[0], view.sizes[out_axis], *shape[2:])
    if found is not None and view.sizes[in_axis] > 1:
        trace.absorb(op, view, in_axis, found)
    else:
        trace.fix_axis(op, view, in_axis)
        if found is not None:
            trace.constraints.fix(found.rows, f"{op!r}")
    if own[1] == 1:
        return torch.full(own, FOREIGN), torch.zeros(own, dtype=torch.int64)
    result = trace.of_axis(op, view, out_axis, own, 1)
    return result.rows, mixed(result.functional, group)


# --- Of activations ---------------------------------------------------------------------------------


def _set_of_activations(op: Operation, trace: Trace, one: Tracked | None, other: Tracked | None) -> None:
    out = op.outputs[0]
    if one is not None and other is not None:
        _scalar_products(op, trace, one, other)
        trace.set(out, None)
    elif other is not None:
        trace.set(out, _mixture(op, trace, other, out.shape))
    elif one is not None:
        turned = Tracked(one.rows.transpose(-1, -2), one.functional.transpose(-1, -2), one.power)
        result = _mixture(op, trace, turned, _swapped(out.shape))
        if result is not None:
            result = Tracked(result.rows.transpose(-1, -2), result.functional.transpose(-1, -2))
        trace.set(out, result)


def _scalar_products(op: Operation, trace: Trace, one: Tracked, other: Tracked) -> None:
    """Sums over k of ``one[.., i, k] other[.., k, j]``: ``A`` on one asks for its inverse on the other."""
    if one.power != 1 or other.power != 1:
        trace.barrier(op)
        return
    lead = torch.broadcast_shapes(one.shape[:-2], other.shape[:-2])
    n = one.shape[-1]
    left, left_seen = (t.expand(*lead, *t.shape[-2:]) for t in (one.rows, one.functional))
    right, right_seen = (
        t.transpose(-1, -2).expand(*lead, t.shape[-1], n) for t in (other.rows, other.functional)
    )
    # Indices k belong together if no row of either factor tells them apart.
    joint = mixed(op.index, _told_apart(left_seen), _told_apart(right_seen), positions((*lead, 1, 1)))
    for own, (rows, partner) in enumerate(((left, right), (right, left))):
        trace.constraints.use(rows, mixed(joint, own, torch.arange(rows.shape[-2])[:, None]))
        trace.constraints.group(rows.reshape(-1, n), joint.expand_as(rows).reshape(-1, n))
        trace.constraints.fix(rows[(partner == FOREIGN).any(-2, keepdim=True).expand_as(rows)], f"{op!r}")
    _tie_factors(trace, left, right)


def _told_apart(functional: Tensor) -> Tensor:
    lines = torch.arange(functional.shape[-2])[:, None]
    return mixed(lines, functional).sum(-2, keepdim=True)


def _tie_factors(trace: Trace, left: Tensor, right: Tensor) -> None:
    """Tie for each k all left nodes to one of the right ones, and all right ones to one of the left ones."""
    # The largest, because what is no node is negative.
    trace.constraints.tie(left, right.amax(-2, keepdim=True).expand_as(left), -1)
    trace.constraints.tie(right, left.amax(-2, keepdim=True).expand_as(right), -1)


def _mixture(op: Operation, trace: Trace, found: Tracked, shape: tuple[int, ...]) -> Tracked | None:
    """Sums over k of ``weights[.., i, k] found[.., k, j]`` with weights that are no parameters."""
    if found.power != 1:
        trace.constraints.fix(found.rows, f"{op!r}")
        return None
    result = summed(op, trace, found.rows, found.functional)
    # One row of weights for each index of the output but the last.
    own = positions((*shape[:-1], 1))
    rows, functional = result.rows.unsqueeze(-2), result.functional.unsqueeze(-2)
    return Tracked(rows.expand(shape), mixed(own, functional).expand(shape))


def summed(op: Operation, trace: Trace, rows: Tensor, functional: Tensor) -> Tracked:
    """Return a weighted sum over the last axis but one; what is summed must be mixed alike."""
    lines = torch.arange(rows.shape[-2])[:, None]
    seen = mixed(op.index, mixed(lines, functional).sum(-2, keepdim=True))
    # The largest, because what is no node is negative.
    chosen = rows.amax(-2, keepdim=True)
    trace.constraints.tie(chosen.expand_as(rows), rows, 1, follows=True)
    trace.constraints.use(rows, mixed(seen, lines, functional))
    foreign = (rows == FOREIGN).any(-2, keepdim=True)
    trace.constraints.fix(rows[foreign.expand_as(rows)], f"{op!r}")
    chosen = torch.where(foreign, FOREIGN, chosen)
    return Tracked(chosen.squeeze(-2), seen.squeeze(-2))


_ATTENTION = (
    "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_attention_math",
    "_scaled_dot_product_fused_attention_overrideable", "scaled_dot_product_attention",
)  # fmt: skip


@rule(*_ATTENTION)
def _attention(op: Operation, trace: Trace) -> None:
    query, key, value = (op.argument(name) for name in ("query", "key", "value"))
    heads = query.shape[-3] if len(query.shape) > 3 else 1
    parts: list[Any] = [_for_each_head(trace.tracked(v), heads) for v in (query, key, value)]
    trace.fix(op.argument("attn_mask"), op)
    trace.fix(op.argument("attn_bias"), op)
    if parts[0] is not None and parts[1] is not None:
        turned = Tracked(parts[1].rows.transpose(-1, -2), parts[1].functional.transpose(-1, -2))
        _scalar_products(op, trace, parts[0], turned)
    else:
        trace.fix(query, op)
        trace.fix(key, op)
    for out in op.outputs:
        trace.set(out, None)
    if parts[2] is not None:
        trace.set(op.outputs[0], _mixture(op, trace, parts[2], op.outputs[0].shape))


def _for_each_head(found: Tracked | None, heads: int) -> Tracked | None:
    """Repeat shared heads of keys and values."""
    if found is None or len(found.shape) < 4 or found.shape[-3] == heads:
        return found
    times = heads // found.shape[-3]
    rows, functional = (t.repeat_interleave(times, -3) for t in (found.rows, found.functional))
    return Tracked(rows, functional, found.power)
