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
    add_up,
    charge,
    compiled,
    deliver,
    fire,
    gather,
    slopes_exp,
    slopes_step,
)
from snnkit.utilities.compilation import disk_cached

__all__ = ["lif_backward", "lif_forward"]


@compiled
def _charge_recorded(x, received, isyn, beta, charges):
    """As ``charge``, with recurrent input (unless of size 0), writing the charges (unless of size 0)."""
    if received.size == 0:
        for j in range(isyn.shape[0]):
            c = isyn[j] + x[j]
            charges[j] = c
            isyn[j] = c * beta[j]
    elif charges.size == 0:
        for j in range(isyn.shape[0]):
            isyn[j] = ((isyn[j] + x[j]) + received[j]) * beta[j]
    else:
        for j in range(isyn.shape[0]):
            c = (isyn[j] + x[j]) + received[j]
            charges[j] = c
            isyn[j] = c * beta[j]


@compiled
def _integrate(vmem, alpha, total, bias):
    for n in range(vmem.shape[0]):
        vmem[n] = (vmem[n] * alpha[n] + total[n]) + bias[n]


@compiled
def _integrate_noisy(vmem, alpha, total, noise, bias):
    for n in range(vmem.shape[0]):
        vmem[n] = ((vmem[n] * alpha[n] + total[n]) + noise[n]) + bias[n]


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
    total = np.empty(neurons, x.dtype)
    received = np.empty(channels if w_rec.size else 0, x.dtype)
    nothing = np.empty(0, x.dtype)
    for b in range(low, high):
        vmem, isyn, events = vmem_end[b], isyn_end[b], first_events[b]
        for t in range(x.shape[1]):
            if w_rec.size or charges.size:
                if w_rec.size:
                    deliver(events, w_rec, received)
                _charge_recorded(x[b, t], received, isyn, beta, charges[b, t] if charges.size else nothing)
            else:
                charge(x[b, t], isyn, beta)
            add_up(isyn, synapses, total)
            if noise.size:
                _integrate_noisy(vmem, alpha, total, noise[b, t], bias)
            else:
                _integrate(vmem, alpha, total, bias)
            if potentials.size:
                potentials[b, t] = vmem
            events = spikes[b, t]
            fire(vmem, threshold, cap, events)


@compiled
def _recover_charges(x, isyn, beta, charges):
    """Write the charges (T, C) of one batch element without recurrence; ``isyn`` is used up."""
    for t in range(x.shape[0]):
        row, now = charges[t], x[t]
        for j in range(isyn.shape[0]):
            c = isyn[j] + now[j]
            row[j] = c
            isyn[j] = c * beta[j]


@compiled
def _membrane_adjoint(dv, ds, slopes, alpha, du):
    """``du = dv + ds slopes``, ``dv = alpha du``."""
    for n in range(dv.shape[0]):
        du[n] = dv[n] + ds[n] * slopes[n]
        dv[n] = du[n] * alpha[n]


@compiled
def _spike_adjoint(g, threshold, dv, ds):
    for n in range(dv.shape[0]):
        ds[n] = g[n] - threshold[n] * dv[n]


@compiled
def _add_product(one, other, total):
    for n in range(total.shape[0]):
        total[n] += one[n] * other[n]


@compiled
def _add_product_of_three(one, two, three, total):
    for n in range(total.shape[0]):
        total[n] += (one[n] * two[n]) * three[n]


@compiled
def _after_reset(potential, spikes, threshold, vmem):
    for n in range(vmem.shape[0]):
        vmem[n] = potential[n] - spikes[n] * threshold[n]


@compiled
def _spread(du, synapses, current):
    """Repeat ``du`` for every synapse of its neuron."""
    if synapses == 2:
        for n in range(du.shape[0]):
            current[2 * n] = du[n]
            current[2 * n + 1] = du[n]
    else:
        for n in range(du.shape[0]):
            current[n * synapses : (n + 1) * synapses] = du[n]


@compiled
def _synapse_adjoint(current, beta, dc):
    """``dc = beta (du + dc)``."""
    for j in range(dc.shape[0]):
        dc[j] = (current[j] + dc[j]) * beta[j]


@compiled
def _beta_sum(current, dc, charges, d_beta):
    """Add ``(du + dc) c``, before ``dc`` goes on to the step before."""
    for j in range(dc.shape[0]):
        d_beta[j] += (current[j] + dc[j]) * charges[j]


@compiled
def _add(values, total):
    for j in range(total.shape[0]):
        total[j] += values[j]


@disk_cached(OPTIONS, loops)
def lif_backward(
    low, high, x, isyn, vmem, spikes, potentials, charges, alpha, beta, threshold, w_rec,
    periodic, window, cap, g_spikes, g_potentials, g_charges, dv, dc, dx, du_all, sums, d_beta,
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
        dv: (B, N), in place: from the gradient of the last vmem to that of the first.
        dc: (B, C), the same of isyn.
        dx: (B, T, C) gradient of the input, written unless empty.
        du_all: (B, T, N) gradient of the noise, written unless empty.
        sums: (4, B, N) zeros or empty; sums for alpha, bias and twice for the threshold.
        d_beta: (B, C) zeros or empty; sums for beta.
    """
    steps, neurons, channels = spikes.shape[1], spikes.shape[2], dc.shape[1]
    synapses = channels // neurons
    slopes, before = np.empty(neurons, spikes.dtype), np.empty(neurons, spikes.dtype)
    ds, du = np.empty(neurons, spikes.dtype), np.empty(neurons, spikes.dtype)
    nothing = np.zeros(neurons, spikes.dtype)
    current = np.empty(channels, spikes.dtype) if synapses > 1 else du
    recover = d_beta.size > 0 and charges.size == 0
    recovered = np.empty((steps if recover else 0, channels), spikes.dtype)
    for b in range(low, high):
        if recover:
            _recover_charges(x[b], isyn[b].copy(), beta, recovered)
        course = recovered if recover else (charges[b] if charges.size else recovered)
        for t in range(steps - 1, -1, -1):
            if periodic:
                slopes_exp(potentials[b, t], threshold, window, cap, slopes)
            else:
                slopes_step(potentials[b, t], threshold, window, slopes)
            _spike_adjoint(g_spikes[b, t] if g_spikes.size else nothing, threshold, dv[b], ds)
            if w_rec.size and t < steps - 1:
                gather(slopes, w_rec, dc[b], ds)
            if sums.size:
                _add_product(spikes[b, t], dv[b], sums[2, b])
                _add_product_of_three(ds, slopes, potentials[b, t], sums[3, b])
            if g_potentials.size:
                _add(g_potentials[b, t], dv[b])
            _membrane_adjoint(dv[b], ds, slopes, alpha, du)
            if sums.size:
                if t:
                    _after_reset(potentials[b, t - 1], spikes[b, t - 1], threshold, before)
                    _add_product(du, before, sums[0, b])
                else:
                    _add_product(du, vmem[b], sums[0, b])
                _add(du, sums[1, b])
            if synapses > 1:
                _spread(du, synapses, current)
            if d_beta.size:
                _beta_sum(current, dc[b], course[t], d_beta[b])
            _synapse_adjoint(current, beta, dc[b])
            if g_charges.size:
                _add(g_charges[b, t], dc[b])
            if dx.size:
                dx[b, t] = dc[b]
            if du_all.size:
                du_all[b, t] = du
