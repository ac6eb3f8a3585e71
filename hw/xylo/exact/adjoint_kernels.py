"""The compiled adjoint of a population on the chip; :mod:`.reference` defines what it computes.

Recorded states are 16-bit integers ``(time, batch, all neurons of the layer)``, of which a population takes
the columns from ``first`` on. Everything else is of one float type; integers below 2**24 are exact in it. An
array of size 0 stands for None. Each call does the batch elements ``low ... high - 1``.

Samples stand side by side in rows of about a thousand numbers, which stay in the cache from step to step.
Each loop touches few arrays: the compiler must check that none of them overlap before it can use vectors.
"""
# ruff: noqa: ANN201, PLR0912, PLR0915, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import loops
from snnkit.utilities.compilation import disk_cached

from . import adjoint_loops
from .adjoint_loops import (
    OPTIONS,
    add,
    bias_sum,
    block,
    copy,
    decay_sum,
    far_from_ends,
    gather,
    join,
    kept_of,
    load,
    load_more,
    membrane_adjoint,
    open_slopes,
    potential_of,
    put,
    reset_adjoint,
    slopes_exp,
    slopes_step,
    spread,
    synapse_adjoint,
    synapse_sum,
    threshold_sum,
    through_of,
)

__all__ = ["population_backward"]

ROW = 1024
"""Numbers that are worked on together, about."""


@disk_cached(OPTIONS, loops, adjoint_loops)
def population_backward(
    low, high, share, beta, bias, threshold, window, ends, w_rec, version, periodic, cap,
    vmem, isyn, isyn_2, limits, first_vmem, first, g, g_vmem, g_isyn, dx, sums, d_beta, work,
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
        vmem: (T, B, all) int16, recorded.
        isyn: (T, B, all) int16.
        isyn_2: the same of synapse 2, read if S is 2.
        limits: (T, B, all) recorded events of a population that copies arrive at; or empty.
        first_vmem: (1, B, all) before the first step.
        first: column of the population's first neuron.
        g: (T, B, N) gradient of the events, but for what the population's own weights send back.
        g_vmem: (T, B, N) gradient of the recorded membranes; or empty.
        g_isyn: (S, T, B, N) of the recorded synapses; or empty.
        dx: (S, T, B, N) gradient of what arrives at the synapses, written.
        sums: (3, B, N) sums for the membrane's decay, bias and threshold, written unless empty.
        d_beta: (S, B, N) sums for the synapses' decays, written unless empty.
        work: (17 + 6 S, B * N + 1) working memory, of any content; one more than is used, so that rows of a
            round size do not push each other out of the cache.
    """
    synapses, neurons = beta.shape
    steps = vmem.shape[0]
    together = max(1, min(ROW // neurons, high - low))
    size = together * neurons
    at, end = low * neurons, low * neurons + size
    shares, biases, thresholds, windows = work[0, at:end], work[1, at:end], work[2, at:end], work[3, at:end]
    before, after, current, potential = work[4, at:end], work[5, at:end], work[6, at:end], work[7, at:end]
    kept, through, slopes, ds, dv = (
        work[8, at:end],
        work[9, at:end],
        work[10, at:end],
        work[11, at:end],
        work[12, at:end],
    )
    events, d_alpha, d_bias, d_threshold = (
        work[13, at:end],
        work[14, at:end],
        work[15, at:end],
        work[16, at:end],
    )
    kind = share.dtype.type
    far = kind(np.inf) if version == 1 else kind(2**15)
    numbers = (-far, far - kind(1), kind(-(2**15)), kind(2**15 - 1), kind(1), kind(0))
    spread(share, shares)
    spread(bias, biases)
    spread(threshold, thresholds)
    spread(window, windows)
    # For each synapse: what stays, the two ends, gradient of the charge, sum for the decay, state.
    for s in range(synapses):
        spread(beta[s], work[17 + 6 * s, at:end])
        spread(ends[s, 0], work[18 + 6 * s, at:end])
        spread(ends[s, 1], work[19 + 6 * s, at:end])
    free = False
    for start in range(low, high, together):
        count = min(together, high - start)
        for k in range(12, 17):
            work[k, at:end][:] = 0
        for s in range(synapses):
            work[20 + 6 * s, at:end][:] = 0
            work[21 + 6 * s, at:end][:] = 0
        if steps:
            load(vmem, steps - 1, start, count, first, neurons, after)
        for t in range(steps - 1, -1, -1):
            if t:
                load(vmem, t - 1, start, count, first, neurons, before)
            else:
                load(first_vmem, 0, start, count, first, neurons, before)
            load(isyn, t, start, count, first, neurons, work[22, at:end])
            load(isyn, t, start, count, first, neurons, current)
            if synapses == 2:
                load(isyn_2, t, start, count, first, neurons, work[28, at:end])
                load_more(isyn_2, t, start, count, first, neurons, current)
            potential_of(before, current, shares, biases, numbers, potential)
            if far_from_ends(before, current, biases, numbers):
                if not free:
                    kept[:], through[:] = 1, 1
                free = True
            else:
                kept_of(before, current, shares, biases, numbers, kept)
                through_of(before, current, shares, biases, numbers, kept, through)
                free = False
            if periodic:
                slopes_exp(potential, thresholds, windows, cap, slopes)
            else:
                slopes_step(potential, thresholds, windows, slopes)
            open_slopes(after, thresholds, slopes)
            if g_vmem.size:
                add(g_vmem, t, start, count, dv)
            copy(g, t, start, count, ds)
            if w_rec.size and t < steps - 1:
                for k in range(count):
                    here = slice(k * neurons, (k + 1) * neurons)
                    for s in range(synapses):
                        gather(slopes[here], w_rec[s], work[20 + 6 * s, at:end][here], ds[here])
            if limits.size:
                load(limits, t, start, count, first, neurons, events)
                block(events, cap, ds)
            reset_adjoint(thresholds, dv, slopes, ds)
            if sums.size:
                threshold_sum(potential, after, thresholds, dv, ds, d_threshold)
            join(dv, ds)
            if sums.size:
                bias_sum(before, current, shares, biases, numbers, kept, ds, d_bias)
                decay_sum(before, through, ds, d_alpha)
            membrane_adjoint(kept, through, shares, dv, ds)
            for s in range(synapses):
                dc, state = work[20 + 6 * s, at:end], work[22 + 6 * s, at:end]
                if g_isyn.size:
                    add(g_isyn[s], t, start, count, dc)
                if d_beta.size:
                    synapse_sum(ds, dc, state, work[21 + 6 * s, at:end])
                synapse_adjoint(
                    ds,
                    state,
                    work[17 + 6 * s, at:end],
                    work[18 + 6 * s, at:end],
                    work[19 + 6 * s, at:end],
                    dc,
                )
                put(dc, dx[s, t].reshape(-1)[start * neurons : (start + count) * neurons])
            before, after = after, before
        for k in range(count):
            here = slice(k * neurons, (k + 1) * neurons)
            if sums.size:
                put(d_alpha[here], sums[0, start + k])
                put(d_bias[here], sums[1, start + k])
                put(d_threshold[here], sums[2, start + k])
            if d_beta.size:
                for s in range(synapses):
                    put(work[21 + 6 * s, at:end][here], d_beta[s, start + k])
