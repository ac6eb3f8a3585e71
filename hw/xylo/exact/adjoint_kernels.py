"""The compiled adjoint of a population on the chip; :mod:`.reference` defines what it computes.

Recorded states are 16-bit integers ``(batch, time, all neurons of the layer)``, of which a population takes
the columns from ``first`` on. Everything else is of one float type; integers below 2**24 are exact in it.
An array of size 0 stands for None. Each call does the batch elements ``low ... high - 1``.
"""
# ruff: noqa: ANN201, ANN202, PLR0912, PLR0915, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import loops
from snnkit.nn.kernels.loops import OPTIONS, PADDING, _exp_of_negative, compiled, gather, row
from snnkit.utilities.compilation import disk_cached

__all__ = ["population_backward"]


@compiled
def _load(values, b, t, first, result):
    for n in range(result.shape[0]):
        result[n] = values[b, t, first + n]


@compiled
def _load_state(values, b, first, result):
    for n in range(result.shape[0]):
        result[n] = values[b, first + n]


@compiled
def _integrate(before, current, share, bias, version, low, high, potential, kept, biased, through):
    """Compute the potential before events as the chip does, from the state before and the current.

    The last three are 1 or 0: whether the last sum is not clamped, so that the state before gets through;
    whether the bias gets through; and whether the current does, and the leak.
    """
    zero, one = before.dtype.type(0), before.dtype.type(1)
    for n in range(before.shape[0]):
        v = before[n]
        leak = max(np.floor(v * share[n]), min(v, one))
        if version == 1:
            exact = v - leak + current[n]
            value = min(max(exact, low), high)
            ok = inner = outer = one if exact == value else zero
        else:
            first = current[n] - leak
            second = min(max(first, low), high) + bias[n]
            exact = v + min(max(second, low), high)
            value = min(max(exact, low), high)
            ok = one if exact == value else zero
            inner = ok if second <= high and second >= low else zero
            outer = inner if first <= high and first >= low else zero
        potential[n], kept[n], biased[n], through[n] = value, ok, inner, outer


@compiled
def _slopes_step(potential, after, threshold, window, slopes):
    zero, one = potential.dtype.type(0), potential.dtype.type(1)
    for n in range(slopes.shape[0]):
        near = one if potential[n] >= threshold[n] - window[n] else zero
        # Charge left above the threshold: more events than the chip allows, so none follows a change.
        near = near if after[n] < threshold[n] else zero
        slopes[n] = near / threshold[n]


@compiled
def _slopes_exp(potential, after, threshold, window, cap, slopes):
    zero, one, two = potential.dtype.type(0), potential.dtype.type(1), potential.dtype.type(2)
    last = cap - one
    for n in range(slopes.shape[0]):
        u, th = potential[n], threshold[n]
        half = th / two
        shifted = u - half
        periods = np.floor(shifted / th)
        periods = last if periods > last else periods
        folded = shifted if u < th else shifted - periods * th
        slope = _exp_of_negative(-abs(folded - half) / window[n]) / th
        slopes[n] = slope if after[n] < th else zero


@compiled
def _reset_adjoint(threshold, dv, slopes, ds):
    """From the gradient of the events that leave to that of the potential: each event also resets."""
    for n in range(ds.shape[0]):
        ds[n] = (ds[n] - threshold[n] * dv[n]) * slopes[n]


@compiled
def _block(limits, b, t, first, cap, ds):
    """Where copies and own events add up to the chip's limit, neither changes what leaves."""
    zero = ds.dtype.type(0)
    for n in range(ds.shape[0]):
        ds[n] = ds[n] if limits[b, t, first + n] < cap else zero


@compiled
def _copy(values, b, t, result):
    for n in range(result.shape[0]):
        result[n] = values[b, t, n]


@compiled
def _add(values, b, t, total):
    for n in range(total.shape[0]):
        total[n] += values[b, t, n]


@compiled
def _threshold_sum(potential, after, threshold, dv, p, total):
    """Subtract ``events * dv + p * potential / threshold``."""
    one = p.dtype.type(1)
    for n in range(p.shape[0]):
        per_threshold = one / threshold[n]
        events = np.rint((potential[n] - after[n]) * per_threshold)
        total[n] -= events * dv[n] + p[n] * potential[n] * per_threshold


@compiled
def _constant_sums(du, before, biased, through, d_alpha, d_bias):
    for n in range(du.shape[0]):
        d_alpha[n] += du[n] * through[n] * before[n]
        d_bias[n] += du[n] * biased[n]


@compiled
def _membrane_adjoint(dv, p, kept, through, share, du):
    """From the gradient of the state after a step to that before it; ``du`` gets that of the current."""
    for n in range(p.shape[0]):
        total = dv[n] + p[n]
        dv[n] = total * (kept[n] - through[n] * share[n])
        du[n] = total


@compiled
def _synapse_adjoint(isyn, b, t, first, du, through, beta, low, high, dc, total):
    """``dc = beta * (du + dc)``, and nothing where the charge stood at the end of its range.

    ``total`` gets the sum for the decay: with ``i = beta * c`` the charge ``c`` is ``i / beta``.
    """
    zero = du.dtype.type(0)
    for n in range(du.shape[0]):
        state = du.dtype.type(isyn[b, t, first + n])
        di = du[n] * through[n] + dc[n]
        total[n] += di * state
        free = beta[n] if state < high[n] and state > low[n] else zero
        dc[n] = di * free


@compiled
def _keep(values, s, b, t, course):
    for n in range(values.shape[0]):
        course[s, b, t, n] = values[n]


@disk_cached(OPTIONS, loops)
def population_backward(
    low, high, share, beta, bias, threshold, window, ends, w_rec, version, periodic, cap,
    vmem, isyn, isyn_2, limits, first_vmem, first, g, g_vmem, g_isyn, dx, sums, d_beta,
):  # fmt: skip
    """Run the adjoint recursion of one population.

    Args:
        low: first batch element.
        high: the one after the last.
        share: (N,) what leaves the membrane, ``2**-dash``.
        beta: (S, N) what stays in a synapse, ``1 - 2**-dash``.
        bias: (N,).
        threshold: (N,).
        window: (N,) of the surrogate, in states of the chip.
        ends: (S, 2, N) a synapse's state after its decay, from the two ends of its range.
        w_rec: (S, N, N) weights of the population onto itself, shifted; or empty.
        version: of the core.
        periodic: PeriodicExponential, else StepPWL.
        cap: most events in a step.
        vmem: (B, T, all) int16, recorded.
        isyn: (B, T, all) int16.
        isyn_2: the same of synapse 2, read if S is 2.
        limits: (B, T, all) recorded events of a population that copies arrive at; or empty.
        first_vmem: (B, all) before the first step.
        first: column of the population's first neuron.
        g: (B, T, N) gradient of the events, but for what the population's own weights send back.
        g_vmem: (B, T, N) gradient of the recorded membranes; or empty.
        g_isyn: (S, B, T, N) of the recorded synapses; or empty.
        dx: (S, B, T, N) gradient of what arrives at the synapses, written.
        sums: (3, B, N) sums for the membrane's decay, bias and threshold, written unless empty.
        d_beta: (S, B, N) sums for the synapses' decays, written unless empty.
    """
    synapses, neurons = beta.shape
    steps = vmem.shape[1]
    kind = share.dtype.type
    lowest, highest = kind(-(2**15)), kind(2**15 - 1)
    work = np.zeros((13, neurons + PADDING), share.dtype)
    before, after, current, potential = row(work, 0), row(work, 1), row(work, 2), row(work, 3)
    kept, biased, through, slopes = row(work, 4), row(work, 5), row(work, 6), row(work, 7)
    ds, du, dv = row(work, 8), row(work, 9), row(work, 10)
    d_alpha, d_bias = row(work, 11), row(work, 12)
    synaptic = np.zeros((2 * synapses + 1, neurons + PADDING), share.dtype)
    d_threshold = row(synaptic, 2 * synapses)
    for b in range(low, high):
        dv[:], d_alpha[:], d_bias[:], synaptic[:] = 0, 0, 0, 0
        if steps:
            _load(vmem, b, steps - 1, first, after)
        for t in range(steps - 1, -1, -1):
            if t:
                _load(vmem, b, t - 1, first, before)
            else:
                _load_state(first_vmem, b, first, before)
            _load(isyn, b, t, first, current)
            if synapses == 2:
                for n in range(neurons):
                    current[n] += isyn_2[b, t, first + n]
            _integrate(
                before, current, share, bias, version, lowest, highest, potential, kept, biased, through
            )
            if periodic:
                _slopes_exp(potential, after, threshold, window, cap, slopes)
            else:
                _slopes_step(potential, after, threshold, window, slopes)
            if g_vmem.size:
                _add(g_vmem, b, t, dv)
            _copy(g, b, t, ds)
            if w_rec.size and t < steps - 1:
                for s in range(synapses):
                    gather(slopes, w_rec[s], row(synaptic, s), ds)
            if limits.size:
                _block(limits, b, t, first, cap, ds)
            _reset_adjoint(threshold, dv, slopes, ds)
            if sums.size:
                _threshold_sum(potential, after, threshold, dv, ds, d_threshold)
            _membrane_adjoint(dv, ds, kept, through, share, du)
            if sums.size:
                _constant_sums(du, before, biased, through, d_alpha, d_bias)
            for s in range(synapses):
                dc, total = row(synaptic, s), row(synaptic, synapses + s)
                if g_isyn.size:
                    _add(g_isyn[s], b, t, dc)
                states = isyn if s == 0 else isyn_2
                _synapse_adjoint(states, b, t, first, du, through, beta[s], ends[s, 0], ends[s, 1], dc, total)
                _keep(dc, s, b, t, dx)
            before, after = after, before
        if sums.size:
            sums[0, b], sums[1, b], sums[2, b] = d_alpha, d_bias, d_threshold
        if d_beta.size:
            for s in range(synapses):
                d_beta[s, b] = row(synaptic, synapses + s)
