"""Operations along axes: sums, means, norms, pooling, interpolation. What they run over has one factor."""

from collections.abc import Iterable, Sequence

import numpy as np

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.tape import Operation
from snnkit.dag.scales.flow import ScaleFlow
from snnkit.dag.scales.registry import rule
from snnkit.dag.scales.unknowns import Ids, Term

Terms = tuple[Term, ...]

_SPATIAL_LINEAR = (
    "avg_pool", "adaptive_avg_pool", "_adaptive_avg_pool", "upsample_nearest", "upsample_linear",
    "upsample_bilinear", "upsample_bicubic", "upsample_trilinear", "_upsample_nearest_exact",
    "_upsample_bilinear", "_upsample_bicubic", "reflection_pad", "replication_pad",
)  # fmt: skip
_SPATIAL_MAXIMUM = ("max_pool", "adaptive_max_pool", "fractional_max_pool")
_ENDINGS = ("", "_aa", "_with_indices")


def _spelled(names: Iterable[str]) -> list[str]:
    return [f"{name}{n}d{ending}" for name in names for n in (1, 2, 3) for ending in _ENDINGS]


def _dims(op: Operation) -> list[int]:
    rank = len(op.inputs[0].shape)
    dims = op.argument("dim")
    chosen: Sequence[int] = range(rank) if dims is None else [dims] if isinstance(dims, int) else dims
    return sorted({dim % rank for dim in chosen}) if rank and len(chosen) else list(range(rank))


def _reduced(op: Operation, flow: ScaleFlow, degree: int = 1) -> list[Terms]:
    value, dims = op.inputs[0], _dims(op)
    rank = len(value.shape)
    results: list[Terms] = [() for _ in op.outputs]
    for coefficient, given in flow.terms(value):
        ids = flow.constant_along(given.reshape((1,) * (rank - given.ndim) + given.shape), dims)
        for position, out in enumerate(op.outputs):
            if out.dtype.is_floating_point:
                kept = ids if len(out.shape) == rank else np.squeeze(ids, tuple(dims))
                results[position] += ((coefficient * degree, kept),)
    return results


@rule("sum", "mean", "nanmean")
def _sum(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return _reduced(op, flow)


@rule("linalg_vector_norm", "norm")
def _norm(op: Operation, flow: ScaleFlow) -> list[Terms]:
    if flow.kind == "sign":  # each number counts by its absolute value
        return flow.ones(op)
    order = op.argument("ord") if op.argument("ord") is not None else op.argument("p")
    if order is not None and order == 0:
        return _reduced(op, flow, degree=0)
    return _reduced(op, flow)


@rule("std")
def _deviation(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return _reduced(op, flow, degree=0 if flow.kind == "sign" else 1)


@rule("var")
def _variance(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return _reduced(op, flow, degree=0 if flow.kind == "sign" else 2)


@rule("var_mean", "std_mean")
def _both(op: Operation, flow: ScaleFlow) -> list[Terms]:
    spread = {"aten.var_mean": 2, "aten.std_mean": 1}[op.kind] if flow.kind == "positive" else 0
    found, means = _reduced(op, flow)
    return [tuple((c * spread, ids) for c, ids in found), means]


@rule("amax", "amin", "max", "min", "median", "aminmax")
def _extreme(op: Operation, flow: ScaleFlow) -> list[Terms]:
    if flow.kind == "sign":
        return flow.barrier(op, f"{op.kind} is not odd")
    return _reduced(op, flow)


@rule("argmax", "argmin")
def _position(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return _extreme(op, flow)


def _over_space(op: Operation, flow: ScaleFlow) -> Ids:
    digits = [c for c in op.kind if c in "123"]
    rank = len(op.inputs[0].shape)
    return flow.constant_along(flow.ids(op.inputs[0]), range(rank - int(digits[-1]), rank))


@rule(*_spelled(_SPATIAL_LINEAR))
def _linear_in_space(op: Operation, flow: ScaleFlow) -> list[Ids]:
    return [_over_space(op, flow)]


@rule(*_spelled(_SPATIAL_MAXIMUM), "mkldnn_max_pool2d")
def _maximum_in_space(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    if flow.kind == "sign":
        return list(flow.barrier(op, f"{op.kind} is not odd"))
    return [_over_space(op, flow), *flow.ones(op)[1:]]


@rule("grid_sampler_2d", "grid_sampler_3d", "grid_sampler")
def _sampled(op: Operation, flow: ScaleFlow) -> list[Ids]:
    x, grid = op.inputs
    flow.fix(grid, op, f"{op.kind} reads positions from it")
    return [flow.constant_along(flow.ids(x), range(2, len(x.shape)))]


@rule("im2col")
def _patches(op: Operation, flow: ScaleFlow) -> list[Ids]:
    x = op.inputs[0]
    rank = len(x.shape)
    channels = flow.constant_along(flow.ids(x), [rank - 2, rank - 1])[..., 0]
    taps = op.outputs[0].shape[-2] // x.shape[-3]
    return [np.repeat(channels, taps, -2) if channels.shape[-2] > 1 else channels]


@rule("cumsum", "logcumsumexp", "cummax")
def _running(op: Operation, flow: ScaleFlow) -> list[Terms | Ids]:
    if op.kind.removesuffix("_") != "aten.cumsum":
        return list(flow.barrier(op, f"{op.kind} lets no factor pass"))
    axis = int(op.argument("dim")) % max(len(op.inputs[0].shape), 1)
    return [flow.constant_along(flow.ids(op.inputs[0]), [axis])]


@rule("_softmax", "_log_softmax", "_safe_softmax", "softmax", "log_softmax", "logsumexp", "sort", "topk",
      "argsort", "msort", "kthvalue", "mode", "prod", "cumprod", "all", "any")  # fmt: skip
def _held(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return flow.barrier(op, f"{op.kind} lets no factor pass")


@rule("_local_scalar_dense", "equal", "allclose")
def _read(op: Operation, flow: ScaleFlow) -> list[Terms]:
    return flow.barrier(op, "a number is read, which may decide anything")


@rule("glu")
def _gated(op: Operation, flow: ScaleFlow) -> list[Ids]:
    value = op.inputs[0]
    axis = int(op.argument("dim")) % len(value.shape)
    ids = flow.ids(value)
    half = ids.shape[axis] // 2
    data, gate = (ids, ids) if not half else np.split(ids, [half], axis)
    flow.unknowns.fix(gate, Reason("the sigmoid of a gate lets no factor pass", op.index))
    return [data]
