"""The kernels of leaky integrate-and-fire neurons without synapses.

Forward ``u[t] = alpha v[t-1] + x[t] + bias``, ``s[t] = spike(u[t])``, ``v[t] = u[t] - th s[t]``; backward the
recursion of :mod:`snnkit.nn.lif_sequence` without its synaptic part: ``dx = du``.

Arrays are C-contiguous and of one float type; an array of size 0 stands for None.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import adjoint_loops, loops
from snnkit.nn.kernels.adjoint_loops import (
    add_course,
    add_to,
    alpha_sum,
    keep,
    membrane_adjoint,
    multiply,
    spike_adjoint,
    threshold_sum,
)
from snnkit.nn.kernels.loops import OPTIONS, PADDING, compiled, fire, row, slopes_exp, slopes_step
from snnkit.utilities.compilation import disk_cached

__all__ = ["lif_neuron_backward", "lif_neuron_forward"]


@compiled
def _integrate(vmem, b, t, alpha, x, bias):
    for n in range(vmem.shape[0]):
        vmem[n] = (vmem[n] * alpha[n] + x[b, t, n]) + bias[n]


@disk_cached(OPTIONS, loops, adjoint_loops)
def lif_neuron_forward(low, high, x, alpha, bias, threshold, cap, vmem_end, spikes, potentials):
    """Run the neurons.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, N) input.
        alpha: (N,) decays.
        bias: (N,).
        threshold: (N,).
        cap: most events per step.
        vmem_end: (B, N) the state, updated in place.
        spikes: (B, T, N), written.
        potentials: (B, T, N) before reset, written unless empty.
    """
    vmem = np.empty(alpha.shape[0], x.dtype)
    for b in range(low, high):
        vmem[:] = vmem_end[b]
        for t in range(x.shape[1]):
            _integrate(vmem, b, t, alpha, x, bias)
            if potentials.size:
                keep(vmem, b, t, potentials)
            fire(vmem, b, t, threshold, cap, spikes)
        vmem_end[b] = vmem


@disk_cached(OPTIONS, loops, adjoint_loops)
def lif_neuron_backward(
    low, high, vmem, spikes, potentials, alpha, threshold, periodic, window, cap,
    g_spikes, g_potentials, dv_ends, dx, sums,
):  # fmt: skip
    """Run the adjoint recursion.

    Args:
        low: first batch element.
        high: the one after the last.
        vmem: (B, N) before the first step.
        spikes: (B, T, N) as the forward pass wrote them; so are ``potentials``.
        potentials: (B, T, N).
        alpha: (N,).
        threshold: (N,).
        periodic: PeriodicExponential, else StepPWL.
        window: of the surrogate.
        cap: most events per step.
        g_spikes: (B, T, N), gradient that arrives; or empty, as the next.
        g_potentials: (B, T, N).
        dv_ends: (B, N), in place: from the gradient of the last vmem to that of the first.
        dx: (B, T, N) gradient of the input, written unless empty.
        sums: (3, B, N), written unless empty: sums for alpha, bias and threshold.
    """
    work = np.empty((8, alpha.shape[0] + PADDING), spikes.dtype)
    slopes, ds, du, dv = row(work, 0), row(work, 1), row(work, 2), row(work, 3)
    per_threshold, d_alpha, d_bias, d_threshold = row(work, 4), row(work, 5), row(work, 6), row(work, 7)
    per_threshold[:] = spikes.dtype.type(1) / threshold
    for b in range(low, high):
        dv[:] = dv_ends[b]
        d_alpha[:], d_bias[:], d_threshold[:] = 0, 0, 0
        for t in range(spikes.shape[1] - 1, -1, -1):
            if periodic:
                slopes_exp(potentials, b, t, threshold, window, cap, slopes)
            else:
                slopes_step(potentials, b, t, threshold, window, slopes)
            spike_adjoint(g_spikes, b, t, threshold, dv, ds)
            multiply(slopes, ds)
            if sums.size:
                threshold_sum(spikes, potentials, b, t, dv, ds, per_threshold, d_threshold)
            if g_potentials.size:
                add_course(g_potentials, b, t, dv)
            membrane_adjoint(dv, ds, alpha, du)
            if sums.size:
                alpha_sum(du, potentials, spikes, vmem, threshold, b, t, d_alpha)
                add_to(du, d_bias)
            if dx.size:
                keep(du, b, t, dx)
        dv_ends[b] = dv
        if sums.size:
            sums[0, b], sums[1, b], sums[2, b] = d_alpha, d_bias, d_threshold
