"""The kernels of leaky integrate-and-fire neurons with synapses and after-hyperpolarisation.

To the equations of :mod:`snnkit.nn.lif_sequence` comes, forward, a current ``a`` per neuron,

    q[t] = a[t-1] + w_ahp s[t-1]      a[t] = gamma q[t]      u[t] += a[t]

and backward ``da = du + dq[t+1] + g_a``, ``dq = gamma da``, ``ds[t-1] += w_ahp dq[t]``,
``dgamma += da q``, ``dw_ahp += s[t-1] dq[t]``.

Arrays are C-contiguous and of one float type. Axes: ``B``, ``T``, ``N`` and, for channels, ``C = N S``.
An array of size 0 stands for None. Each call does the batch elements ``low ... high - 1``.
"""
# ruff: noqa: ANN201, ANN202, PLR0912, PLR0915, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import adjoint_loops, loops
from snnkit.nn.kernels.adjoint_loops import (
    add_course,
    add_product,
    add_to,
    alpha_sum,
    keep,
    membrane_adjoint,
    multiply,
    spike_adjoint,
    threshold_sum,
)
from snnkit.nn.kernels.loops import (
    OPTIONS,
    PADDING,
    add_up,
    compiled,
    deliver,
    fire,
    gather,
    row,
    slopes_exp,
    slopes_step,
)
from snnkit.utilities.compilation import disk_cached

__all__ = ["alif_backward", "alif_forward"]


@compiled
def _charge(x, b, t, received, charge):
    """``charge += x``, and recurrent input unless that is of size 0."""
    if received.size:
        for j in range(charge.shape[0]):
            charge[j] = (charge[j] + x[b, t, j]) + received[j]
    else:
        for j in range(charge.shape[0]):
            charge[j] += x[b, t, j]


@compiled
def _leak(beta, isyn):
    for j in range(isyn.shape[0]):
        isyn[j] *= beta[j]


@compiled
def _tire(events, b, w_ahp, gamma, iahp):
    for n in range(iahp.shape[0]):
        iahp[n] = (iahp[n] + events[b, n] * w_ahp[n]) * gamma[n]


@compiled
def _integrate(vmem, alpha, total, iahp):
    for n in range(vmem.shape[0]):
        vmem[n] = (vmem[n] * alpha[n] + total[n]) + iahp[n]


@disk_cached(OPTIONS, loops, adjoint_loops)
def alif_forward(
    low, high, x, noise, first_events, alpha, beta, bias, threshold, w_rec, w_ahp, gamma, cap,
    vmem_end, isyn_end, iahp_end, spikes, potentials, charges, adaptations,
):  # fmt: skip
    """Run the neurons.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, C) input.
        noise: (B, T, N) or empty.
        first_events: (B, N) events before the first step.
        alpha: (N,) membrane decays.
        beta: (C,) synaptic decays.
        bias: (N,).
        threshold: (N,).
        w_rec: (N, C) or empty.
        w_ahp: (N,) charge of the adaptation per event.
        gamma: (N,) its decays.
        cap: most events per step.
        vmem_end: (B, N) the state, updated in place; so are the next two.
        isyn_end: (B, C).
        iahp_end: (B, N).
        spikes: (B, T, N), written.
        potentials: (B, T, N) before reset, written unless empty; so are the next two.
        charges: (B, T, C) currents before their leak.
        adaptations: (B, T, N) currents of the adaptation.
    """
    channels, neurons = x.shape[2], vmem_end.shape[1]
    synapses = channels // neurons
    by_neuron = np.empty((3, neurons + PADDING), x.dtype)
    by_channel = np.empty((2, channels + PADDING), x.dtype)
    total, vmem, iahp = row(by_neuron, 0), row(by_neuron, 1), row(by_neuron, 2)
    isyn, received = row(by_channel, 0), row(by_channel, 1)[: channels if w_rec.size else 0]
    for b in range(low, high):
        vmem[:], isyn[:], iahp[:] = vmem_end[b], isyn_end[b], iahp_end[b]
        for t in range(x.shape[1]):
            before = spikes[:, t - 1] if t else first_events
            if w_rec.size:
                deliver(before, b, w_rec, received)
            _charge(x, b, t, received, isyn)
            if charges.size:
                keep(isyn, b, t, charges)
            _leak(beta, isyn)
            add_up(isyn, synapses, total)
            _tire(before, b, w_ahp, gamma, iahp)
            if adaptations.size:
                keep(iahp, b, t, adaptations)
            _integrate(vmem, alpha, total, iahp)
            if noise.size:
                add_course(noise, b, t, vmem)
            add_to(bias, vmem)
            if potentials.size:
                keep(vmem, b, t, potentials)
            fire(vmem, b, t, threshold, cap, spikes)
        vmem_end[b], isyn_end[b], iahp_end[b] = vmem, isyn, iahp


@compiled
def _recover_charges(x, b, first, beta, isyn, charges):
    """Write the charges (T, C) of one batch element without recurrence; ``isyn`` (C,) is for working."""
    isyn[:] = first[b]
    for t in range(x.shape[1]):
        for j in range(isyn.shape[0]):
            c = isyn[j] + x[b, t, j]
            charges[t, j] = c
            isyn[j] = c * beta[j]


@compiled
def _recover_adaptation(spikes, b, first_events, first, w_ahp, gamma, iahp, course):
    """Write the charges ``q`` (T, N) of the adaptation of one batch element; ``iahp`` is for working."""
    iahp[:] = first[b]
    for t in range(spikes.shape[1]):
        before = spikes[:, t - 1] if t else first_events
        for n in range(iahp.shape[0]):
            q = iahp[n] + before[b, n] * w_ahp[n]
            course[t, n] = q
            iahp[n] = q * gamma[n]


@compiled
def _synapse_adjoint(du, synapses, dc):
    """``di = du + dc`` in the place of ``dc``."""
    if synapses == 1:
        for n in range(du.shape[0]):
            dc[n] += du[n]
    else:
        for n in range(du.shape[0]):
            for k in range(n * synapses, (n + 1) * synapses):
                dc[k] += du[n]


@disk_cached(OPTIONS, loops, adjoint_loops)
def alif_backward(
    low, high, x, first_events, isyn, vmem, iahp, spikes, potentials, charges,
    alpha, beta, threshold, w_rec, w_ahp, gamma, periodic, window, cap,
    g_spikes, g_potentials, g_charges, g_adaptations, dv_ends, dc_ends, dq_ends, dx, du_all, sums, d_beta,
):  # fmt: skip
    """Run the adjoint recursion.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, C) input, read if ``charges`` is empty and ``d_beta`` is not.
        first_events: (B, N) before the first step; so are the next three.
        isyn: (B, C).
        vmem: (B, N).
        iahp: (B, N).
        spikes: (B, T, N) as the forward pass wrote them; so are the next two.
        potentials: (B, T, N).
        charges: (B, T, C) or empty.
        alpha: (N,).
        beta: (C,).
        threshold: (N,).
        w_rec: (N, C) or empty.
        w_ahp: (N,).
        gamma: (N,).
        periodic: PeriodicExponential, else StepPWL.
        window: of the surrogate.
        cap: most events per step.
        g_spikes: (B, T, N), gradient that arrives; or empty, as the next three.
        g_potentials: (B, T, N).
        g_charges: (B, T, C).
        g_adaptations: (B, T, N).
        dv_ends: (B, N), in place: from the gradient of the last vmem to that of the first.
        dc_ends: (B, C), the same of isyn.
        dq_ends: (B, N), the same of iahp.
        dx: (B, T, C) gradient of the input, written unless empty.
        du_all: (B, T, N) gradient of the noise, written unless empty.
        sums: (5, B, N), written unless empty: sums for alpha, bias, threshold, w_ahp and gamma.
        d_beta: (B, C), written unless empty: sums for beta.
    """
    steps, neurons, channels = spikes.shape[1], spikes.shape[2], dc_ends.shape[1]
    synapses = channels // neurons
    by_neuron = np.empty((11, neurons + PADDING), spikes.dtype)
    slopes, ds, du, dv = row(by_neuron, 0), row(by_neuron, 1), row(by_neuron, 2), row(by_neuron, 3)
    dq, per_threshold = row(by_neuron, 4), row(by_neuron, 5)
    d_alpha, d_bias, d_threshold = row(by_neuron, 6), row(by_neuron, 7), row(by_neuron, 8)
    d_w_ahp, d_gamma = row(by_neuron, 9), row(by_neuron, 10)
    by_channel = np.empty((3, channels + PADDING), spikes.dtype)
    dc, beta_total, work = row(by_channel, 0), row(by_channel, 1), row(by_channel, 2)
    recover = d_beta.size > 0 and charges.size == 0
    course = np.empty((steps if recover else 0, channels), spikes.dtype)
    tiring = np.empty((steps if sums.size else 0, neurons), spikes.dtype)
    per_threshold[:] = spikes.dtype.type(1) / threshold
    for b in range(low, high):
        dv[:], dc[:], dq[:] = dv_ends[b], dc_ends[b], dq_ends[b]
        d_alpha[:], d_bias[:], d_threshold[:], beta_total[:] = 0, 0, 0, 0
        d_w_ahp[:], d_gamma[:] = 0, 0
        if recover:
            _recover_charges(x, b, isyn, beta, work, course)
        elif d_beta.size:
            course = charges[b]
        if sums.size:
            _recover_adaptation(spikes, b, first_events, iahp, w_ahp, gamma, du, tiring)
        for t in range(steps - 1, -1, -1):
            if periodic:
                slopes_exp(potentials, b, t, threshold, window, cap, slopes)
            else:
                slopes_step(potentials, b, t, threshold, window, slopes)
            spike_adjoint(g_spikes, b, t, threshold, dv, ds)
            if t < steps - 1:
                add_product(w_ahp, dq, ds)
                if w_rec.size:
                    gather(slopes, w_rec, dc, ds)
            multiply(slopes, ds)
            if sums.size:
                threshold_sum(spikes, potentials, b, t, dv, ds, per_threshold, d_threshold)
            if g_potentials.size:
                add_course(g_potentials, b, t, dv)
            membrane_adjoint(dv, ds, alpha, du)
            add_to(du, dq)
            if g_adaptations.size:
                add_course(g_adaptations, b, t, dq)
            if sums.size:
                alpha_sum(du, potentials, spikes, vmem, threshold, b, t, d_alpha)
                add_to(du, d_bias)
                add_product(dq, tiring[t], d_gamma)
            multiply(gamma, dq)
            if sums.size:
                add_product(spikes[b, t - 1] if t else first_events[b], dq, d_w_ahp)
            _synapse_adjoint(du, synapses, dc)
            if d_beta.size:
                add_product(dc, course[t], beta_total)
            multiply(beta, dc)
            if g_charges.size:
                add_course(g_charges, b, t, dc)
            if dx.size:
                keep(dc, b, t, dx)
            if du_all.size:
                keep(du, b, t, du_all)
        dv_ends[b], dc_ends[b], dq_ends[b] = dv, dc, dq
        if sums.size:
            sums[0, b], sums[1, b], sums[2, b] = d_alpha, d_bias, d_threshold
            sums[3, b], sums[4, b] = d_w_ahp, d_gamma
        if d_beta.size:
            d_beta[b] = beta_total
