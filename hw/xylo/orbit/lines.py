"""Searches the integers of one neuron: its scale, the offsets of threshold and bias, and its rounding.

Every neuron is driven by events that are given, so neurons do not depend on each other, and the search moves
along one line after the other: all points of a line are judged at once, in the chip's arithmetic.
"""

from dataclasses import dataclass, replace

import numpy as np

from snnkit.utilities.chips import Chip

from .neurons import Candidates, Neuron, Shifts, judge
from .settings import OrbitSettings

__all__ = ["Choice", "best_scale", "biases", "search_neuron", "thresholds"]

Numbers = np.ndarray | float

_HIGHEST, _LOWEST = 1.5, 1 / 64
"""Ends of the scales that are tried, relative to the one at which the largest weight just fits. Beyond it the
largest weights are clipped, which a neuron whose states are small for its weights may well stand."""

_LINE = 32
"""Points of a line: what the judge takes at once."""

_ROUNDS = 2
_THRESHOLD_STEP = 0.01
"""Offsets of thresholds are tried up to 16 of these steps away, relative to the threshold."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Integers of one neuron.

    Attributes:
        scale: state units per float unit.
        weights: int64 (sources, synapses) before the weight shifts.
        threshold_offset: added to the scaled threshold before it is rounded.
        bias_offset: the same for the bias.
        mismatch: events that differ from the float network's.
        judged: candidates that were tried.
    """

    scale: float
    weights: np.ndarray
    threshold_offset: float
    bias_offset: float
    mismatch: int
    judged: int


def rounded(neuron: Neuron, shifts: Shifts, scales: np.ndarray) -> np.ndarray:
    """Return the nearest integers of the weights at some scales: int64 (scales, sources, synapses)."""
    exact = exact_weights(neuron, shifts, scales)
    largest = neuron.chip.max_weight
    whole: np.ndarray = np.clip(np.rint(exact), -largest, largest).astype(np.int64)
    return whole


def exact_weights(neuron: Neuron, shifts: Shifts, scales: np.ndarray) -> np.ndarray:
    """Return the weights in units of the integers before they are rounded, (scales, sources, synapses)."""
    unit = np.exp2(np.asarray(shifts, np.float64))[neuron.bank]
    exact: np.ndarray = neuron.weights[None] * (scales[:, None] / unit[None])[:, :, None]
    return exact


def thresholds(threshold: Numbers, scale: Numbers, offset: Numbers, chip: Chip) -> np.ndarray:
    """Return the integer thresholds at some scales, int64."""
    whole = np.clip(np.rint(threshold * scale + offset), 1, chip.max_threshold)
    return np.atleast_1d(whole).astype(np.int64)


def biases(bias: Numbers, scale: Numbers, offset: Numbers, chip: Chip) -> np.ndarray:
    """Return the integer biases at some scales, int64; 0 on chips that have none."""
    largest = chip.max_bias if chip.has_bias else 0
    return np.atleast_1d(np.clip(np.rint(bias * scale + offset), -largest, largest)).astype(np.int64)


def best_scale(neuron: Neuron, shifts: Shifts, count: int, start: float | None = None) -> Choice:
    """Return the best of ``count`` scales over the whole range, without offsets.

    Args:
        neuron: the neuron.
        shifts: of its weights.
        count: of scales.
        start: a scale that is tried in any case.
    """
    largest = neuron.largest_scale(shifts)
    first = [largest] if start is None else [largest, start]
    scales = np.concatenate([first, largest * np.geomspace(_HIGHEST, _LOWEST, count - len(first))])
    weights = rounded(neuron, shifts, scales)
    found = judge(neuron, shifts, _candidates(neuron, weights, scales, 0.0, 0.0))
    best = int(found.argmin())
    return Choice(float(scales[best]), weights[best], 0.0, 0.0, int(found[best]), count)


def search_neuron(neuron: Neuron, shifts: Shifts, settings: OrbitSettings, start: float | None) -> Choice:
    """Return the best integers that are found for a neuron under some weight shifts."""
    choice = best_scale(neuron, shifts, settings.scales, start)
    step = np.log(_HIGHEST / _LOWEST) / settings.scales
    for turn in range(1, _ROUNDS + 1):
        choice = _shift_bounds(neuron, shifts, settings, choice, turn)
        choice = _scale_line(neuron, shifts, choice, step / turn)
    for turn in range(1, settings.rounding + 1):
        before = choice.mismatch
        choice = _turn_weights(neuron, shifts, choice)
        if choice.mismatch == before:
            break
        choice = _shift_bounds(neuron, shifts, settings, choice, turn)
    return choice


def _shift_bounds(
    neuron: Neuron, shifts: Shifts, settings: OrbitSettings, choice: Choice, turn: int
) -> Choice:
    """Try other offsets of bias and threshold."""
    if not settings.offsets:
        return choice
    steps = _around()
    if neuron.chip.has_bias:
        choice = _best_offset(neuron, shifts, choice, bias=choice.bias_offset + steps)
    if neuron.never_fires:
        return choice
    step = max(1.0, _THRESHOLD_STEP * neuron.threshold * choice.scale / turn)
    return _best_offset(neuron, shifts, choice, threshold=choice.threshold_offset + steps * step)


def _around() -> np.ndarray:
    """Return whole steps around 0, which comes first so that it wins a tie."""
    steps = np.arange(_LINE) - _LINE // 2
    return steps[np.argsort(np.abs(steps), kind="stable")]


def _best_offset(
    neuron: Neuron,
    shifts: Shifts,
    choice: Choice,
    *,
    bias: np.ndarray | None = None,
    threshold: np.ndarray | None = None,
) -> Choice:
    bias_offsets = np.full(_LINE, choice.bias_offset) if bias is None else bias
    threshold_offsets = np.full(_LINE, choice.threshold_offset) if threshold is None else threshold
    tried = _candidates(neuron, choice.weights[None], choice.scale, threshold_offsets, bias_offsets)
    found = judge(neuron, shifts, tried)
    best = int(found.argmin())
    choice = replace(choice, judged=choice.judged + _LINE)
    if found[best] >= choice.mismatch:
        return choice
    return replace(
        choice,
        bias_offset=float(bias_offsets[best]),
        threshold_offset=float(threshold_offsets[best]),
        mismatch=int(found[best]),
    )


def _scale_line(neuron: Neuron, shifts: Shifts, choice: Choice, reach: float) -> Choice:
    """Try scales nearby; the threshold's offset goes with the scale."""
    factors = np.exp(np.linspace(-reach, reach, _LINE))
    scales, offsets = choice.scale * factors, choice.threshold_offset * factors
    weights = rounded(neuron, shifts, scales)
    found = judge(neuron, shifts, _candidates(neuron, weights, scales, offsets, choice.bias_offset))
    best = int(found.argmin())
    judged = choice.judged + _LINE
    if found[best] >= choice.mismatch:
        return replace(choice, judged=judged)
    return Choice(
        float(scales[best]), weights[best], float(offsets[best]), choice.bias_offset, int(found[best]), judged
    )


def _turn_weights(neuron: Neuron, shifts: Shifts, choice: Choice) -> Choice:
    """Round weights the other way: each alone, then the best of them together, as many as serve."""
    exact = exact_weights(neuron, shifts, np.array([choice.scale]))[0]
    largest = neuron.chip.max_weight
    low, high = (np.clip(f(exact), -largest, largest).astype(np.int64) for f in (np.floor, np.ceil))
    other = np.where(choice.weights == low, high, low)
    places = np.argwhere(low != high)
    if not len(places):
        return choice
    alone = _with_turned(choice.weights, other, places, together=False)
    found = _judge_weights(neuron, shifts, choice, alone)
    order = np.argsort(found, kind="stable")[:_LINE]
    order = order[found[order] < choice.mismatch]
    judged = choice.judged + len(places) + len(order)
    if not len(order):
        return replace(choice, judged=judged)
    joined = _with_turned(choice.weights, other, places[order], together=True)
    found = _judge_weights(neuron, shifts, choice, joined)
    best = int(found.argmin())
    return replace(choice, weights=joined[best], mismatch=int(found[best]), judged=judged)


def _with_turned(weights: np.ndarray, other: np.ndarray, places: np.ndarray, *, together: bool) -> np.ndarray:
    """Return copies of the weights, each with one of the places turned, or with all up to that one."""
    copies = np.repeat(weights[None], len(places), axis=0)
    for number, (source, synapse) in enumerate(places):
        rows = slice(number, None) if together else number
        copies[rows, source, synapse] = other[source, synapse]
    return copies


def _judge_weights(neuron: Neuron, shifts: Shifts, choice: Choice, weights: np.ndarray) -> np.ndarray:
    scales = np.full(len(weights), choice.scale)
    tried = _candidates(neuron, weights, scales, choice.threshold_offset, choice.bias_offset)
    return judge(neuron, shifts, tried)


def _candidates(
    neuron: Neuron, weights: np.ndarray, scale: Numbers, threshold_offset: Numbers, bias_offset: Numbers
) -> Candidates:
    threshold = thresholds(neuron.threshold, scale, threshold_offset, neuron.chip)
    bias = biases(neuron.bias, scale, bias_offset, neuron.chip)
    threshold, bias = np.broadcast_arrays(threshold, bias)
    return Candidates(weights, threshold, bias)
