"""Sums of products: what is summed over must have one factor, made of those of both operands."""

import numpy as np

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.movement import trimmed
from snnkit.dag.scales.registry import rule
from snnkit.dag.scales.unknowns import Ids, Term

Terms = tuple[Term, ...]


def product_of(op: Operation, flow: ScaleFlow, one: Terms, other: Terms) -> Terms:
    """Return the terms of ``sum_k one[..., i, k] * other[..., j, k]``, of shape ``(..., i, j)``.

    Args:
        one: Terms of shape ``(..., i, k)``.
        other: Terms of shape ``(..., j, k)``.
    """
    made, read = _parted(flow, one)
    made_too, read_too = _parted(flow, other)
    common = _common(op, flow, read, read_too)
    rows = [(c, ids) for c, ids in made]
    columns = [(c, ids.swapaxes(-1, -2)) for c, ids in made_too]
    return (*rows, *columns, *common)


def _parted(flow: ScaleFlow, terms: Terms) -> tuple[list[Term], list[Term]]:
    """Return the terms of what is made and those of what is summed over."""
    made: list[Term] = []
    read: list[Term] = []
    for coefficient, given in terms:
        ids = trimmed(flow.unknowns.roots(given))
        if ids.shape[-1] > 1 and ids.shape[-2] > 1:
            ids = flow.constant_along(ids, [-2])
        is_column = ids.shape[-1] > 1 or (coefficient == -1 and ids.shape[-2] == 1)
        (read if is_column else made).append((coefficient, ids))
    return made, read


def _common(op: Operation, flow: ScaleFlow, one: list[Term], other: list[Term]) -> list[Term]:
    """Tie the factors of the two operands on the axis summed over; return what is left of them."""
    reason = Reason(f"{op.kind} sums over the axis", op.index)
    for weight, data in ((one, other), (other, one)):
        if len(weight) == 1 and weight[0][0] == -1 and flow.is_untouched(weight[0][1]):
            # Columns that nothing has read before take the inverse of what they read, whatever that is.
            flow.tie(flow.total(data, reason), weight[0][1], reason)
            return []
    ids = flow.constant_along(flow.total([*one, *other], reason), [-1])
    return [(1, ids)] if ids.ndim else []


def _matrix(flow: ScaleFlow, value: Value, *, swapped: bool) -> Terms:
    """Return the terms of a matrix, or of matrices, with the axis summed over as the last."""
    rank = len(value.shape)

    def arranged(ids: Ids) -> Ids:
        padded = ids.reshape((1,) * (max(rank, 2) - ids.ndim) + ids.shape)
        return padded.swapaxes(-1, -2) if swapped and rank > 1 else padded

    return tuple((coefficient, arranged(ids)) for coefficient, ids in flow.terms(value))


def _matrices(op: Operation, flow: ScaleFlow, one: Value, other: Value) -> Terms:
    terms = product_of(op, flow, _matrix(flow, one, swapped=False), _matrix(flow, other, swapped=True))
    if len(one.shape) == 1:
        terms = tuple((c, np.squeeze(flow.constant_along(ids, [-2]), -2)) for c, ids in terms)
    if len(other.shape) == 1:
        terms = tuple((c, np.squeeze(flow.constant_along(ids, [-1]), -1)) for c, ids in terms)
    return terms


def _plus(op: Operation, flow: ScaleFlow, terms: Terms, addend: Value) -> list[Terms | Ids]:
    """Tie something added to a result."""
    reason = Reason(f"{op.kind} adds to the result", op.index)
    ids = flow.total(terms, reason)
    flow.tie(flow.ids(addend), ids, reason)
    return [ids]


@rule("mm", "bmm", "matmul", "mv", "dot", "vdot")
def _product(op: Operation, flow: ScaleFlow) -> list[Terms]:
    one, other = op.inputs
    return [_matrices(op, flow, one, other)]


@rule("addmm", "baddbmm", "addmv")
def _added(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    addend, one, other = op.inputs
    return _plus(op, flow, _matrices(op, flow, one, other), addend)


@rule("addbmm")
def _added_sum_of_batches(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    addend, one, other = op.inputs
    ids = flow.total(_matrices(op, flow, one, other), Reason(f"{op.kind} sums over batches", op.index))
    summed = flow.constant_along(ids, [0]).reshape(ids.shape[1:])
    return _plus(op, flow, ((1, summed),), addend)


@rule("linear")
def _linear(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    x, weight, bias = op.argument("input"), op.argument("weight"), op.argument("bias")
    terms = product_of(op, flow, _matrix(flow, x, swapped=False), _matrix(flow, weight, swapped=False))
    if len(x.shape) == 1:
        terms = tuple((c, np.squeeze(ids, -2)) for c, ids in terms)
    return [terms] if bias is None else _plus(op, flow, terms, bias)


@rule("ger", "outer")
def _outer(op: Operation, flow: ScaleFlow) -> list[Terms]:
    one, other = op.inputs
    rows = tuple((c, np.atleast_1d(ids)[:, None]) for c, ids in flow.terms(one))
    return [(*rows, *((c, np.atleast_1d(ids)[None]) for c, ids in flow.terms(other)))]


@rule("convolution", "_convolution", "convolution_overrideable", "mkldnn_convolution", "cudnn_convolution",
      "_slow_conv2d_forward", "thnn_conv2d")  # fmt: skip
def _convolution(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    x, weight = op.inputs[:2]
    bias = op.argument("bias")
    groups, transposed = int(op.argument("groups") or 1), bool(op.argument("transposed"))
    first = len(x.shape) - len(weight.shape) + 1  # 0 without a batch axis
    channels = flow.constant_along(flow.ids(x), [axis for axis in range(len(x.shape)) if axis != first])
    data = ((1, _by_group(channels.reshape(-1), groups)[:, None]),)
    terms = product_of(op, flow, _kernels(flow, weight, groups, transposed), data)
    # (groups, outputs per group, 1) -> channels, then one axis for each of the positions
    ids = flow.total(terms, Reason(f"{op.kind} sums over the channels", op.index))
    made = op.outputs[0].shape[first]
    flat = np.broadcast_to(ids, (groups, made // groups, 1)).reshape(made) if ids.size > 1 else ids.reshape(1)
    shaped = flat.reshape((1,) * first + (len(flat),) + (1,) * (len(weight.shape) - 2))
    if not isinstance(bias, Value):
        return [shaped]
    flow.tie(flow.ids(bias), flat, Reason(f"the bias of {op.kind}", op.index))
    return [shaped]


def _by_group(ids: Ids, groups: int) -> Ids:
    """Return unknowns of channels as ``(groups, channels per group)``."""
    return ids.reshape(groups, -1) if len(ids) > 1 else ids.reshape(1, 1)


def _kernels(flow: ScaleFlow, weight: Value, groups: int, transposed: bool) -> Terms:
    """Return the terms of a weight as ``(groups, outputs per group, inputs per group)``."""

    def arranged(ids: Ids) -> Ids:
        first, second, *taps = ids.shape
        matrix = flow.constant_along(ids, range(2, 2 + len(taps))).reshape(first, second)
        grouped = matrix.reshape(groups, first // groups, second) if first > 1 else matrix[None]
        return grouped.swapaxes(1, 2) if transposed else grouped

    return tuple((coefficient, arranged(ids)) for coefficient, ids in flow.terms(weight))


@rule("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
      "_scaled_dot_product_efficient_attention", "_scaled_dot_product_attention_math",
      "_scaled_dot_product_fused_attention_overrideable", "scaled_dot_product_attention")  # fmt: skip
def _attention(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    query, key, value = (op.argument(name) for name in ("query", "key", "value"))
    scores = product_of(op, flow, *(_matrix(flow, v, swapped=False) for v in (query, key)))
    text = "the softmax of attention lets no factor pass"
    flow.fix(flow.total(scores, Reason(text, op.index)), op, text)
    mask = op.argument("attn_mask") or op.argument("attn_bias")
    if isinstance(mask, Value):
        flow.fix(mask, op, text)
    return [flow.constant_along(flow.ids(value), [-2]), *flow.ones(op)[1:]]
