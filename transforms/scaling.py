"""Which float becomes which chip integer: the one place that says so.

Quantisation-aware training and deployment both call these functions, so the values a network is
trained with and the integers on the chip are the same numbers. Per target neuron ``j`` one scale
``S_j`` (state units per float unit) multiplies everything that meets in its membrane: every incoming
weight, the threshold and the bias. A common factor leaves the neuron's spikes as they were.

All arithmetic is done in float64, so a float32 network and its float64 copy give the same integers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ParameterError, ShapeError

from .passthrough import straight_through

__all__ = [
    "ScalePlan",
    "dash_for_decay",
    "decay_for_dash",
    "fold_bias",
    "neuron_scales",
    "quantise_bias",
    "quantise_threshold",
    "quantise_weights",
]

DEFAULT_HEADROOM = 1.25


@dataclass(frozen=True, eq=False)
class ScalePlan:
    """The choices that scales depend on, apart from the parameters themselves.

    ``peaks`` maps the module path of a LIF population to ``(N,)``: the largest absolute state that each
    neuron reached on calibration data, in float units. Empty means that nothing limits the states.
    """

    weight_shift_in: int = 0
    weight_shift_rec: int = 0
    weight_shift_out: int = 0
    peaks: Mapping[str, Tensor] = field(default_factory=dict)
    headroom: float = DEFAULT_HEADROOM
    """Peaks are multiplied by it before they limit a scale: new data may reach further."""

    def __post_init__(self) -> None:
        for name in ("weight_shift_in", "weight_shift_rec", "weight_shift_out"):
            shift = getattr(self, name)
            if shift < 0 or int(shift) != shift:
                raise ParameterError(f"{name} is {shift}; a weight shift is a whole number of 0 or more.")
        if not self.headroom > 0:
            raise ParameterError(f"headroom is {self.headroom}; it must be greater than 0.")


def neuron_scales(
    *,
    weights: Sequence[tuple[Tensor, int]],
    threshold: Tensor,
    bias: Tensor | None = None,
    peak: Tensor | None = None,
    chip: Chip,
    headroom: float = DEFAULT_HEADROOM,
) -> Tensor:
    """Return the largest scale per target neuron that keeps every limit: ``(N,)`` float64, detached.

    ``weights``: every matrix into these neurons, ``(Nsrc, N)`` or ``(Nsrc, N, S)``, with its weight shift.
    ``threshold``, ``bias``: ``(N,)`` or ``()``. ``peak``: ``(N,)`` largest absolute states in float units,
    multiplied by ``headroom`` here. For each neuron ``j``::

        max_k |w_kj| * S_j / 2**shift <= chip.max_weight          (each matrix)
        threshold_j * S_j             <= chip.max_threshold
        |bias_j| * S_j                <= chip.max_bias            (where the chip has a bias)
        peak_j * headroom * S_j       <= chip.max_state

    A threshold of ``chip.max_threshold`` or more is there so as never to be reached (neurons that are read
    out by their membrane): it limits nothing.

    Raises :class:`ParameterError` for thresholds that are not positive and for values that are not finite.
    """
    _check_parameters(weights, threshold, bias, peak)
    never = threshold >= chip.max_threshold
    limits = [(chip.max_threshold / _magnitude(threshold)).masked_fill(never, torch.inf)]
    for matrix, shift in weights:
        limits.append(chip.max_weight * 2.0**shift / _column_peaks(matrix))
    if bias is not None and chip.has_bias:
        limits.append(chip.max_bias / _magnitude(bias))
    if peak is not None:
        limits.append(chip.max_state / (_magnitude(peak.to(threshold.device)) * headroom))
    try:
        candidates = torch.broadcast_tensors(*limits)
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(limit.shape)) for limit in limits)
        raise ShapeError(
            f"Weights, threshold, bias and peak belong to different numbers of neurons: {shapes}."
        ) from error
    scale = torch.stack(candidates).amin(0)
    return scale.masked_fill(torch.isinf(scale), float(chip.max_threshold))


def quantise_weights(
    weights: Tensor, scale: Tensor, shift: int, chip: Chip, *, integers: bool = False
) -> Tensor:
    """Round ``weights`` ``(Nsrc, N)`` or ``(Nsrc, N, S)`` to what the chip holds.

    The integer is ``round_half_even(w * S / 2**shift)``, clamped to ``+-chip.max_weight``. With
    ``integers=True`` that int64 tensor is returned (no gradient); otherwise its value in float units,
    ``integer * 2**shift / S``, in the dtype of ``weights`` and with the identity as gradient.
    """
    factor = (scale[:, None] if weights.ndim == 3 else scale) / 2.0**shift
    rounded = _round(weights, factor).clamp(-chip.max_weight, chip.max_weight)
    return _finish(weights, rounded, factor, integers)


def quantise_threshold(threshold: Tensor, scale: Tensor, chip: Chip, *, integers: bool = False) -> Tensor:
    """Round ``threshold`` (``(N,)`` or ``()``) to ``max(1, round(threshold * S))``, within the chip's range.

    A threshold of 0 would fire on every step; see :func:`quantise_weights` for ``integers``.
    """
    rounded = _round(threshold, scale).clamp(1, chip.max_threshold)
    return _finish(threshold, rounded, scale, integers)


def quantise_bias(bias: Tensor, scale: Tensor, chip: Chip, *, integers: bool = False) -> Tensor:
    """Round ``bias`` (``(N,)`` or ``()``) to ``round(bias * S)`` within the chip's bias range.

    See :func:`quantise_weights` for ``integers``.
    """
    rounded = _round(bias, scale).clamp(-chip.max_bias, chip.max_bias)
    return _finish(bias, rounded, scale, integers)


def fold_bias(bias: Tensor, dash_syn: Tensor) -> Tensor:
    """Return the membrane bias ``(N,)`` that stands for a constant synaptic input ``bias`` ``(N * S,)``.

    A linear layer's bias enters the synapse at every step and settles at ``b * beta / (1 - beta)``; with
    ``beta = 1 - 2**-dash`` that is ``b * (2**dash - 1)``. ``dash_syn`` is ``(N, S)``; channels run neuron by
    neuron.
    The chip has a bias only on the membrane, where the same current arrives from the first step on.
    """
    gain = torch.exp2(dash_syn.to(torch.float64)) - 1.0
    return (bias.expand(gain.numel()).to(torch.float64).reshape(gain.shape) * gain).sum(-1)


def dash_for_decay(alpha: Tensor, chip: Chip | type[Chip] = Chip) -> Tensor:
    """Return the bit shift (float64, whole) whose decay ``1 - 2**-dash`` is nearest to ``alpha`` in log2.

    ``dash = -log2(1 - alpha)``, rounded half to even, within the chip's range. Never 0, which would clear
    the state before it is used. Decays of 1 and more get the longest shift.
    """
    lost = (1.0 - alpha.detach().to(torch.float64)).clamp(min=0.0)
    if bool(torch.isnan(lost).any()):
        raise ParameterError("A decay is NaN, so it has no bit shift. Check the time constants.")
    return torch.round(-torch.log2(lost)).clamp(chip.min_dash, chip.max_dash)


def decay_for_dash(dash: Tensor) -> Tensor:
    """Return the decay factor ``1 - 2**-dash`` in float64."""
    return 1.0 - torch.exp2(-dash.to(torch.float64))


def _magnitude(values: Tensor) -> Tensor:
    return values.detach().to(torch.float64).abs()


def _column_peaks(matrix: Tensor) -> Tensor:
    """Largest magnitude per target neuron; 0 (no limit) where nothing arrives."""
    if matrix.ndim not in (2, 3):
        raise ShapeError(
            f"A weight matrix has shape {tuple(matrix.shape)}; (Nsrc, N) or (Nsrc, N, S) is needed."
        )
    by_target = _magnitude(matrix).movedim(1, 0).flatten(1)
    if by_target.shape[1] == 0:
        return by_target.new_zeros(by_target.shape[0])
    return by_target.amax(1)


def _round(values: Tensor, factor: Tensor) -> Tensor:
    return torch.round(values.detach().to(torch.float64) * factor)


def _finish(source: Tensor, rounded: Tensor, factor: Tensor, integers: bool) -> Tensor:
    if integers:
        return rounded.to(torch.int64)
    return straight_through(source.expand(rounded.shape), rounded / factor)


def _check_parameters(
    weights: Sequence[tuple[Tensor, int]], threshold: Tensor, bias: Tensor | None, peak: Tensor | None
) -> None:
    named = [(f"weights[{i}]", matrix) for i, (matrix, _) in enumerate(weights)]
    named += [("threshold", threshold), ("bias", bias), ("peak", peak)]  # type: ignore[list-item]
    for name, values in named:
        if values is not None and not bool(torch.isfinite(values).all()):
            raise ParameterError(f"{name} holds values that are not finite; they have no integer.")
    if bool((threshold <= 0).any()):
        lowest = float(threshold.min())
        raise ParameterError(f"The lowest threshold is {lowest}; thresholds must be greater than 0.")
