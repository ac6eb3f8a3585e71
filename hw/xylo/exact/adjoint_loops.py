"""The inner loops of the adjoint, over rows of samples side by side, float32 or float64; imports Numba."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels.loops import _exp_of_negative, compiled

__all__ = [
    "add",
    "bias_sum",
    "block",
    "copy",
    "decay_sum",
    "kept_of",
    "load",
    "load_more",
    "membrane_adjoint",
    "open_slopes",
    "potential_of",
    "reset_adjoint",
    "slopes_exp",
    "slopes_step",
    "spread",
    "synapse_adjoint",
    "synapse_sum",
    "threshold_sum",
    "through_of",
]


@compiled
def spread(values, result):
    """Repeat ``values`` (N,) for all samples of a row."""
    n = values.shape[0]
    for at in range(0, result.shape[0], n):
        result[at : at + n] = values


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


@compiled
def _clamped(value, ends):
    value = ends[0] if value < ends[0] else value
    return ends[1] if value > ends[1] else value


@compiled
def _ends(array):
    """Return the ends of 16 bits, and 1, in the type of an array: other numbers would widen it."""
    kind = array.dtype.type
    return kind(-(2**15)), kind(2**15 - 1), kind(1)


@compiled
def _leaked(v, share, ends):
    """Return what the state loses in a step."""
    least = v if v < ends[2] else ends[2]
    leak = np.floor(v * share)
    return least if leak < least else leak


@compiled
def potential_of(before, current, share, bias, version, potential):
    """Write the potential before events."""
    ends = _ends(before)
    if version == 1:
        for n in range(before.shape[0]):
            v = before[n]
            potential[n] = _clamped(v - _leaked(v, share[n], ends) + current[n], ends)
    else:
        for n in range(before.shape[0]):
            v = before[n]
            inner = _clamped(current[n] - _leaked(v, share[n], ends), ends)
            potential[n] = _clamped(v + _clamped(inner + bias[n], ends), ends)


@compiled
def _sums(v, current, share, bias, ends):
    """Return the three sums of a version 2 core before they are clamped."""
    first = current - _leaked(v, share, ends)
    second = _clamped(first, ends) + bias
    return first, second, v + _clamped(second, ends)


@compiled
def _outside(value, ends):
    """1 where a sum is clamped."""
    return value < ends[0] or value > ends[1]


@compiled
def kept_of(before, current, share, bias, version, kept):
    """Write 1, or 0 where the last sum is clamped: the state before then does not get through."""
    ends = _ends(before)
    zero = before.dtype.type(0)
    if version == 1:
        for n in range(before.shape[0]):
            v = before[n]
            exact = v - _leaked(v, share[n], ends) + current[n]
            kept[n] = zero if _outside(exact, ends) else ends[2]
    else:
        for n in range(before.shape[0]):
            _, _, exact = _sums(before[n], current[n], share[n], bias[n], ends)
            kept[n] = zero if _outside(exact, ends) else ends[2]


@compiled
def through_of(before, current, share, bias, version, through):
    """Write 1, or 0 where any sum is clamped: current and leak then do not get through."""
    ends = _ends(before)
    zero = before.dtype.type(0)
    if version == 1:
        for n in range(before.shape[0]):
            v = before[n]
            exact = v - _leaked(v, share[n], ends) + current[n]
            through[n] = zero if _outside(exact, ends) else ends[2]
    else:
        for n in range(before.shape[0]):
            first, second, exact = _sums(before[n], current[n], share[n], bias[n], ends)
            clamped = _outside(first, ends) or _outside(second, ends) or _outside(exact, ends)
            through[n] = zero if clamped else ends[2]


@compiled
def bias_sum(before, current, share, bias, version, dv, p, total):
    """Add the gradient of the bias, which the first sum does not hold back."""
    ends = _ends(before)
    if version == 1:
        return
    for n in range(before.shape[0]):
        _, second, exact = _sums(before[n], current[n], share[n], bias[n], ends)
        if not (_outside(second, ends) or _outside(exact, ends)):
            total[n] += dv[n] + p[n]


@compiled
def decay_sum(before, through, dv, p, total):
    """Add the gradient of the membrane's decay: of the state before, where the leak gets through."""
    for n in range(before.shape[0]):
        total[n] += (dv[n] + p[n]) * through[n] * before[n]


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
def membrane_adjoint(kept, through, share, dv, p):
    """From the gradient of the state after a step to that before; ``p`` becomes that of the current."""
    for n in range(p.shape[0]):
        total = dv[n] + p[n]
        dv[n] = total * (kept[n] - through[n] * share[n])
        p[n] = total * through[n]


@compiled
def synapse_sum(du, dc, state, total):
    """Add the gradient of a synapse's decay, times that decay: with ``i = beta * c``, ``c`` is ``i / beta``."""
    for n in range(du.shape[0]):
        total[n] += (du[n] + dc[n]) * state[n]


@compiled
def synapse_adjoint(du, state, beta, low, high, dc):
    """``dc = beta * (du + dc)``, and nothing where the charge stood at an end of its range."""
    zero = du.dtype.type(0)
    for n in range(du.shape[0]):
        free = beta[n] if low[n] < state[n] < high[n] else zero
        dc[n] = (du[n] + dc[n]) * free
