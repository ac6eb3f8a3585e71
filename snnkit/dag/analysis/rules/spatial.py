"""Operations on positions, channel by channel: pooling, interpolation, patches, sampling."""

from snnkit.dag.analysis.axes import Axis, Reason, product
from snnkit.dag.analysis.flow import all_inputs
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation
from snnkit.dag.analysis.unification import freeze, split_inner

Axes = tuple[Axis, ...]

_BY_DIMENSION = (
    "avg_pool", "max_pool", "adaptive_avg_pool", "_adaptive_avg_pool", "adaptive_max_pool",
    "upsample_nearest", "upsample_linear", "upsample_bilinear", "upsample_bicubic", "upsample_trilinear",
    "_upsample_nearest_exact", "_upsample_bilinear", "_upsample_bicubic", "reflection_pad",
    "replication_pad", "fractional_max_pool",
)  # fmt: skip
_KINDS = [
    f"{name}{dimensions}d{ending}"
    for name in _BY_DIMENSION
    for dimensions in (1, 2, 3)
    for ending in ("", "_aa", "_with_indices")
]


@rule(*_KINDS, "grid_sampler_2d", "grid_sampler_3d", "grid_sampler", "mkldnn_max_pool2d", flow=all_inputs)
def _by_channel(op: Operation, p: Propagation) -> list[Axes]:
    axes = p.of(op.inputs[0])
    digits = [c for c in op.kind if c in "123"]
    count = int(digits[-1]) if digits and "sampler" not in op.kind else len(axes) - 2
    lead, space = axes[: len(axes) - count], axes[len(axes) - count :]
    p.freeze(space, f"{op.kind} mixes positions", op)
    for value in op.inputs[1:]:  # where to sample
        p.freeze(p.of(value), f"{op.kind} reads positions from it", op)
    return [
        (*lead, *(p.frozen(n, f"{op.kind} mixes positions", op) for n in value.shape[len(lead) :]))
        for value in op.outputs
    ]


@rule("_fft_r2c", "_fft_c2r", "_fft_c2c", flow=all_inputs)
def _transformed(op: Operation, p: Propagation) -> list[Axes]:
    axes = list(p.of(op.inputs[0]))
    for dim in op.argument("dim"):
        text = f"{op.kind} mixes positions"
        p.freeze([axes[dim]], text, op)
        axes[dim] = p.frozen(op.outputs[0].shape[dim], text, op)
    return [tuple(axes)]


@rule("im2col", flow=all_inputs)
def _patches(op: Operation, p: Propagation) -> list[Axes]:
    *lead, channels, height, width = p.of(op.inputs[0])
    p.freeze([height, width], f"{op.kind} mixes positions", op)
    taps = op.outputs[0].shape[-2] // channels.size
    text = f"taps and positions of {op.kind}"
    return [
        (*lead, product([channels, p.frozen(taps, text, op)]), p.frozen(op.outputs[0].shape[-1], text, op))
    ]


@rule("col2im", flow=all_inputs)
def _image(op: Operation, p: Propagation) -> list[Axes]:
    *lead, columns, positions = p.of(op.inputs[0])
    p.freeze([positions], f"{op.kind} mixes positions", op)
    channels, height, width = op.outputs[0].shape[-3:]
    note = Reason(f"taps of {op.kind}", op.index)
    halves = split_inner(columns, columns.size // channels, note)
    space = [p.frozen(n, note.text, op) for n in (height, width)]
    if halves is None:
        freeze(columns, note)
        return [(*lead, p.frozen(channels, note.text, op), *space)]
    freeze(halves[1], note)
    return [(*lead, halves[0], *space)]


@rule("unfold", "unfold_copy", flow=all_inputs)
def _windows(op: Operation, p: Propagation) -> list[Axes]:
    axes = list(p.of(op.inputs[0]))
    dim = int(op.argument("dimension")) % len(axes)
    text = f"windows of {op.kind}"
    p.freeze([axes[dim]], text, op)
    shape = op.outputs[0].shape
    axes[dim] = p.frozen(shape[dim], text, op)
    return [(*axes, p.frozen(shape[-1], text, op))]
