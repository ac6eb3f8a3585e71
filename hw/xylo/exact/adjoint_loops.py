"""The inner loops of the adjoint, over rows of samples side by side, float32 or float64; imports Numba."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np
from numba import njit

from snnkit.nn.kernels.loops import _exp_of_negative

__all__ = [
    "OPTIONS",
    "add",
    "bias_sum",
    "block",
    "copy",
    "decay_sum",
    "far_from_ends",
    "kept_of",
    "load",
    "load_more",
    "membrane_adjoint",
    "open_slopes",
    "potential_of",
    "put",
    "reset_adjoint",
    "slopes_exp",
    "slopes_step",
    "spread",
    "synapse_adjoint",
    "synapse_sum",
    "threshold_sum",
    "through_of",
]


OPTIONS = {"nogil": True, "error_model": "numpy", "_nrt": False}
"""Without Numba's memory manager: counting references at every view takes a third of the compilation."""

compiled = njit(**OPTIONS)
"""For functions inside a kernel: the disk cache holds them as a part of it."""


@compiled
def gather(slopes, w_rec, dc, ds):
    """Add ``w_rec @ dc`` to ``ds``, for the neurons with a slope: those of the others are multiplied by 0."""
    for m in range(slopes.shape[0]):
        if slopes[m] != 0:
            ds[m] += _dot(w_rec, m, dc)


@njit(fastmath={"reassoc", "contract"}, **OPTIONS)
def _dot(w_rec, m, values):
    """The order of the sum is the compiler's."""
    total = values.dtype.type(0)
    for j in range(values.shape[0]):
        total += w_rec[m, j] * values[j]
    return total


@compiled
def spread(values, result):
    """Repeat ``values`` (N,) for all samples of a row."""
    n = values.shape[0]
    for at in range(0, result.shape[0], n):
        put(values, result[at : at + n])


@compiled
def put(values, result):
    """Copy ``values``; an assignment to a slice would need the memory manager."""
    for n in range(result.shape[0]):
        result[n] = values[n]


@compiled
def load(values, t, start, count, first, neurons, result):
    """Read the columns from ``first`` on of ``values[t]`` (B, all), ``count`` samples from ``start`` on."""
    for k in range(count):
        source = values[t, start + k, first : first + neurons]
        target = result[k * neurons : (k + 1) * neurons]
        for n in range(neurons):
            target[n] = source[n]


@compiled
def load_more(values, t, start, count, first, neurons, result):
    """As :func:`load`, added to what is there."""
    for k in range(count):
        source = values[t, start + k, first : first + neurons]
        target = result[k * neurons : (k + 1) * neurons]
        for n in range(neurons):
            target[n] += source[n]


@compiled
def copy(values, t, start, count, result):
    """Copy samples of ``values[t]`` (B, N)."""
    n = values.shape[2]
    source = values[t].reshape(-1)[start * n : (start + count) * n]
    for i in range(source.shape[0]):
        result[i] = source[i]


@compiled
def add(values, t, start, count, result):
    """Add samples of ``values[t]`` (B, N)."""
    n = values.shape[2]
    source = values[t].reshape(-1)[start * n : (start + count) * n]
    for i in range(source.shape[0]):
        result[i] += source[i]


# --- The update of the membrane, computed as the core does -------------------------------------------
#
# ``ends``: lowest and highest increment, lowest and highest state, 1 and 0, in the type of the arrays (other
# numbers would widen them). Version 1 adds current and leak at once: its increments have no ends.


@compiled
def _clamped(value, low, high):
    value = low if value < low else value
    return high if value > high else value


@compiled
def _sums(v, current, share, bias, ends):
    """Return the three sums of a step before they are clamped."""
    least = v if v < ends[4] else ends[4]
    leak = np.floor(v * share)
    leak = least if leak < least else leak
    first = current - leak
    second = _clamped(first, ends[0], ends[1]) + bias
    return first, second, v + _clamped(second, ends[0], ends[1])


@compiled
def potential_of(before, current, share, bias, ends, potential):
    """Write the potential before events."""
    for n in range(before.shape[0]):
        _, _, exact = _sums(before[n], current[n], share[n], bias[n], ends)
        potential[n] = _clamped(exact, ends[2], ends[3])


@compiled
def kept_of(before, current, share, bias, ends, kept):
    """Write 1, or 0 where the last sum is clamped: the state before then does not get through."""
    for n in range(before.shape[0]):
        _, _, exact = _sums(before[n], current[n], share[n], bias[n], ends)
        kept[n] = ends[4] if ends[2] <= exact <= ends[3] else ends[5]


@compiled
def through_of(before, current, share, bias, ends, kept, through):
    """Write 1, or 0 where any sum is clamped: current and leak then do not get through."""
    for n in range(before.shape[0]):
        first, second, _ = _sums(before[n], current[n], share[n], bias[n], ends)
        free = kept[n] if ends[0] <= first <= ends[1] else ends[5]
        through[n] = free if ends[0] <= second <= ends[1] else ends[5]


@compiled
def far_from_ends(before, current, bias, ends):
    """Tell whether no sum can be clamped, whatever the signs."""
    near = 0
    for n in range(before.shape[0]):
        near += abs(before[n]) + abs(current[n]) + abs(bias[n]) > ends[3]
    return near == 0


@compiled
def bias_sum(before, current, share, bias, ends, kept, p, total):
    """Add the gradient of the bias, which the first sum does not hold back."""
    for n in range(before.shape[0]):
        _, second, _ = _sums(before[n], current[n], share[n], bias[n], ends)
        total[n] += kept[n] * p[n] if ends[0] <= second <= ends[1] else ends[5]


@compiled
def decay_sum(before, through, p, total):
    """Add the gradient of the membrane's decay: of the state before, where the leak gets through."""
    for n in range(before.shape[0]):
        total[n] += p[n] * through[n] * before[n]


# --- Events ---------------------------------------------------------------------------------------------


@compiled
def slopes_step(potential, threshold, window, slopes):
    """Write the surrogate slopes of StepPWL."""
    zero, one = potential.dtype.type(0), potential.dtype.type(1)
    for n in range(slopes.shape[0]):
        slopes[n] = (one if potential[n] >= threshold[n] - window[n] else zero) / threshold[n]


@compiled
def slopes_exp(potential, threshold, window, cap, slopes):
    """Write the surrogate slopes of PeriodicExponential."""
    one, two = potential.dtype.type(1), potential.dtype.type(2)
    last = cap - one
    for n in range(slopes.shape[0]):
        u, th = potential[n], threshold[n]
        half = th / two
        shifted = u - half
        periods = np.floor(shifted / th)
        periods = last if periods > last else periods
        folded = shifted if u < th else shifted - periods * th
        slopes[n] = _exp_of_negative(-abs(folded - half) / window[n]) / th


@compiled
def open_slopes(after, threshold, slopes):
    """Nothing follows a change where more charge is left than the chip allows events for."""
    zero = slopes.dtype.type(0)
    for n in range(slopes.shape[0]):
        slopes[n] = slopes[n] if after[n] < threshold[n] else zero


@compiled
def block(events, cap, ds):
    """Where copies and own events add up to the chip's limit, neither changes what leaves."""
    zero = ds.dtype.type(0)
    for n in range(ds.shape[0]):
        ds[n] = ds[n] if events[n] < cap else zero


@compiled
def reset_adjoint(threshold, dv, slopes, ds):
    """From the gradient of the events that leave to that of the potential: each event also resets."""
    for n in range(ds.shape[0]):
        ds[n] = (ds[n] - threshold[n] * dv[n]) * slopes[n]


@compiled
def threshold_sum(potential, after, threshold, dv, p, total):
    """Subtract ``events * dv + p * potential / threshold``."""
    for n in range(p.shape[0]):
        events = np.rint((potential[n] - after[n]) / threshold[n])
        total[n] -= events * dv[n] + p[n] * potential[n] / threshold[n]


# --- From step to step -----------------------------------------------------------------------------------


@compiled
def join(dv, p):
    """Add the gradient of the state after events to that of the events: ``p`` becomes the potential's."""
    for n in range(p.shape[0]):
        p[n] += dv[n]


@compiled
def membrane_adjoint(kept, through, share, dv, p):
    """From the gradient of the potential to that of the state before; ``p`` becomes that of the current."""
    for n in range(p.shape[0]):
        dv[n] = p[n] * (kept[n] - through[n] * share[n])
        p[n] *= through[n]


@compiled
def synapse_sum(du, dc, state, total):
    """Add the gradient of a synapse's decay times that decay: with ``i = beta c``, ``c`` is ``i / beta``."""
    for n in range(du.shape[0]):
        total[n] += (du[n] + dc[n]) * state[n]


@compiled
def synapse_adjoint(du, state, beta, low, high, dc):
    """``dc = beta * (du + dc)``, and nothing where the charge stood at an end of its range."""
    zero = du.dtype.type(0)
    for n in range(du.shape[0]):
        free = beta[n] if low[n] < state[n] < high[n] else zero
        dc[n] = (du[n] + dc[n]) * free
