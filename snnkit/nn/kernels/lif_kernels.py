"""The kernels of leaky integrate-and-fire neurons with synapses; equations: :mod:`snnkit.nn.lif_sequence`.

Arrays are C-contiguous and of one float type. Axes: ``B``, ``T``, ``N`` and, for channels, ``C = N S``.
An array of size 0 stands for None. Each call does the batch elements ``low ... high - 1``.
"""
# ruff: noqa: ANN201, ANN202, PLR0912, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import loops
from snnkit.nn.kernels.loops import (
    OPTIONS,
    PADDING,
    add_up,
    charge,
    compiled,
    deliver,
    fire,
    gather,
    row,
    slopes_exp,
    slopes_step,
)
from snnkit.utilities.compilation import disk_cached

__all__ = ["lif_backward", "lif_forward"]


@compiled
def _charge_recorded(x, b, t, received, isyn, beta, charges):
    """As ``charge``, with recurrent input (unless of size 0), writing the charges (unless of size 0)."""
    if received.size == 0:
        for j in range(isyn.shape[0]):
            c = isyn[j] + x[b, t, j]
            charges[b, t, j] = c
            isyn[j] = c * beta[j]
    elif charges.size == 0:
        for j in range(isyn.shape[0]):
            isyn[j] = ((isyn[j] + x[b, t, j]) + received[j]) * beta[j]
    else:
        for j in range(isyn.shape[0]):
            c = (isyn[j] + x[b, t, j]) + received[j]
            charges[b, t, j] = c
            isyn[j] = c * beta[j]


@compiled
def _integrate(vmem, b, t, alpha, total, noise, bias):
    if noise.size:
        for n in range(vmem.shape[0]):
            vmem[n] = ((vmem[n] * alpha[n] + total[n]) + noise[b, t, n]) + bias[n]
    else:
        for n in range(vmem.shape[0]):
            vmem[n] = (vmem[n] * alpha[n] + total[n]) + bias[n]


@compiled
def _keep(values, b, t, course):
    for n in range(values.shape[0]):
        course[b, t, n] = values[n]


@disk_cached(OPTIONS, loops)
def lif_forward(
    low, high, x, noise, first_events, alpha, beta, bias, threshold, w_rec, cap,
    vmem_end, isyn_end, spikes, potentials, charges,
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
        cap: most events per step.
        vmem_end: (B, N) the state, updated in place.
        isyn_end: (B, C) the state, updated in place.
        spikes: (B, T, N), written.
        potentials: (B, T, N) before reset, written unless empty.
        charges: (B, T, C) currents before their leak, written unless empty.
    """
    channels, neurons = x.shape[2], vmem_end.shape[1]
    synapses = channels // neurons
    by_neuron, by_channel = (
        np.empty((2, neurons + PADDING), x.dtype),
        np.empty((2, channels + PADDING), x.dtype),
    )
    total, vmem = row(by_neuron, 0), row(by_neuron, 1)
    isyn, received = row(by_channel, 0), row(by_channel, 1)[: channels if w_rec.size else 0]
    for b in range(low, high):
        vmem[:] = vmem_end[b]
        isyn[:] = isyn_end[b]
        for t in range(x.shape[1]):
            if w_rec.size:
                if t:
                    deliver(spikes[:, t - 1], b, w_rec, received)
                else:
                    deliver(first_events, b, w_rec, received)
            if w_rec.size or charges.size:
                _charge_recorded(x, b, t, received, isyn, beta, charges)
            else:
                charge(x, b, t, isyn, beta)
            add_up(isyn, synapses, total)
            _integrate(vmem, b, t, alpha, total, noise, bias)
            if potentials.size:
                _keep(vmem, b, t, potentials)
            fire(vmem, b, t, threshold, cap, spikes)
        vmem_end[b] = vmem
        isyn_end[b] = isyn


@compiled
def _recover_charges(x, b, first, beta, isyn, charges):
    """Write the charges (T, C) of one batch element without recurrence; ``isyn`` (C,) is for working."""
    for j in range(isyn.shape[0]):
        isyn[j] = first[b, j]
    for t in range(x.shape[1]):
        for j in range(isyn.shape[0]):
            c = isyn[j] + x[b, t, j]
            charges[t, j] = c
            isyn[j] = c * beta[j]


@compiled
def _spike_adjoint(g, b, t, threshold, dv, ds):
    if g.size:
        for n in range(ds.shape[0]):
            ds[n] = g[b, t, n] - threshold[n] * dv[n]
    else:
        for n in range(ds.shape[0]):
            ds[n] = -threshold[n] * dv[n]


@compiled
def _multiply(slopes, ds):
    for n in range(ds.shape[0]):
        ds[n] *= slopes[n]


@compiled
def _threshold_sum(spikes, potential, b, t, dv, p, per_threshold, total):
    """Subtract ``s dv + p u / th``."""
    for n in range(p.shape[0]):
        total[n] -= spikes[b, t, n] * dv[n] + (p[n] * potential[b, t, n]) * per_threshold[n]


@compiled
def _membrane_adjoint(dv, p, alpha, du):
    """``du = dv + p``, ``dv = alpha du``."""
    for n in range(p.shape[0]):
        du[n] = dv[n] + p[n]
        dv[n] = du[n] * alpha[n]


@compiled
def _alpha_sum(du, potential, spikes, vmem, threshold, b, t, total):
    """Add ``du v``, with the potential ``v`` that the step before ``t`` left."""
    if t:
        for n in range(du.shape[0]):
            total[n] += du[n] * (potential[b, t - 1, n] - spikes[b, t - 1, n] * threshold[n])
    else:
        for n in range(du.shape[0]):
            total[n] += du[n] * vmem[b, n]


@compiled
def _bias_sum(du, total):
    for n in range(du.shape[0]):
        total[n] += du[n]


@compiled
def _spread(du, synapses, current):
    """Repeat ``du`` for every synapse of its neuron."""
    if synapses == 2:
        for n in range(du.shape[0]):
            current[2 * n] = du[n]
            current[2 * n + 1] = du[n]
    else:
        for n in range(du.shape[0]):
            for k in range(n * synapses, (n + 1) * synapses):
                current[k] = du[n]


@compiled
def _synapse_adjoint(current, beta, dc):
    """``dc = beta (du + dc)``."""
    for j in range(beta.shape[0]):
        dc[j] = (current[j] + dc[j]) * beta[j]


@compiled
def _beta_sum(current, dc, charges, t, d_beta):
    """Add ``(du + dc) c``, before ``dc`` goes on to the step before."""
    for j in range(dc.shape[0]):
        d_beta[j] += (current[j] + dc[j]) * charges[t, j]


@compiled
def _add(values, b, t, total):
    for j in range(total.shape[0]):
        total[j] += values[b, t, j]


@disk_cached(OPTIONS, loops)
def lif_backward(
    low, high, x, isyn, vmem, spikes, potentials, charges, alpha, beta, threshold, w_rec,
    periodic, window, cap, g_spikes, g_potentials, g_charges, dv_ends, dc_ends, dx, du_all, sums, d_beta,
):  # fmt: skip
    """Run the adjoint recursion.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, C) input, read if ``charges`` is empty and ``d_beta`` is not.
        isyn: (B, C) before the first step.
        vmem: (B, N) before the first step.
        spikes: (B, T, N) as the forward pass wrote them; so are ``potentials`` and ``charges``.
        potentials: (B, T, N).
        charges: (B, T, C) or empty.
        alpha: (N,).
        beta: (C,).
        threshold: (N,).
        w_rec: (N, C) or empty.
        periodic: PeriodicExponential, else StepPWL.
        window: of the surrogate.
        cap: most events per step.
        g_spikes: (B, T, N), gradient that arrives; or empty, as the next two.
        g_potentials: (B, T, N).
        g_charges: (B, T, C).
        dv_ends: (B, N), in place: from the gradient of the last vmem to that of the first.
        dc_ends: (B, C), the same of isyn.
        dx: (B, T, C) gradient of the input, written unless empty.
        du_all: (B, T, N) gradient of the noise, written unless empty.
        sums: (3, B, N), written unless empty: sums for alpha, bias and threshold.
        d_beta: (B, C), written unless empty: sums for beta.
    """
    steps, neurons, channels = spikes.shape[1], spikes.shape[2], dc_ends.shape[1]
    synapses = channels // neurons
    by_neuron = np.empty((8, neurons + PADDING), spikes.dtype)
    slopes, ds, du, dv, per_threshold = (
        row(by_neuron, 0), row(by_neuron, 1), row(by_neuron, 2), row(by_neuron, 3), row(by_neuron, 4)
    )  # fmt: skip
    d_alpha, d_bias, d_threshold = row(by_neuron, 5), row(by_neuron, 6), row(by_neuron, 7)
    by_channel = np.empty((4, channels + PADDING), spikes.dtype)
    current = row(by_channel, 0) if synapses > 1 else du
    dc, beta_total, work = row(by_channel, 1), row(by_channel, 2), row(by_channel, 3)
    recover = d_beta.size > 0 and charges.size == 0
    course = np.empty((steps if recover else 0, channels), spikes.dtype)
    per_threshold[:] = spikes.dtype.type(1) / threshold
    for b in range(low, high):
        dv[:], dc[:] = dv_ends[b], dc_ends[b]
        d_alpha[:], d_bias[:], d_threshold[:], beta_total[:] = 0, 0, 0, 0
        if recover:
            _recover_charges(x, b, isyn, beta, work, course)
        elif d_beta.size:
            course = charges[b]
        for t in range(steps - 1, -1, -1):
            if periodic:
                slopes_exp(potentials, b, t, threshold, window, cap, slopes)
            else:
                slopes_step(potentials, b, t, threshold, window, slopes)
            _spike_adjoint(g_spikes, b, t, threshold, dv, ds)
            if w_rec.size and t < steps - 1:
                gather(slopes, w_rec, dc, ds)
            _multiply(slopes, ds)
            if sums.size:
                _threshold_sum(spikes, potentials, b, t, dv, ds, per_threshold, d_threshold)
            if g_potentials.size:
                _add(g_potentials, b, t, dv)
            _membrane_adjoint(dv, ds, alpha, du)
            if sums.size:
                _alpha_sum(du, potentials, spikes, vmem, threshold, b, t, d_alpha)
                _bias_sum(du, d_bias)
            if synapses > 1:
                _spread(du, synapses, current)
            if d_beta.size:
                _beta_sum(current, dc, course, t, beta_total)
            _synapse_adjoint(current, beta, dc)
            if g_charges.size:
                _add(g_charges, b, t, dc)
            if dx.size:
                _keep(dc, b, t, dx)
            if du_all.size:
                _keep(du, b, t, du_all)
        dv_ends[b], dc_ends[b] = dv, dc
        if sums.size:
            sums[0, b], sums[1, b], sums[2, b] = d_alpha, d_bias, d_threshold
        if d_beta.size:
            d_beta[b] = beta_total
