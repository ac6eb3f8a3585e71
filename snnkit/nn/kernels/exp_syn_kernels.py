"""The kernels of exponential synapses.

Forward ``c[t] = i[t-1] + x[t]``, ``i[t] = beta c[t]``; backward, ``d`` being gradients and ``g`` those from
outside, ``di = g + dc[t+1]``, ``dbeta += di c``, ``dc = dx = beta di``.

Arrays are C-contiguous and of one float type; an array of size 0 stands for None.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import loops
from snnkit.nn.kernels.loops import OPTIONS, PADDING, compiled, row
from snnkit.utilities.compilation import disk_cached

__all__ = ["exp_syn_backward", "exp_syn_forward"]


@compiled
def _leak(x, b, t, beta, isyn, currents):
    for n in range(isyn.shape[0]):
        i = (isyn[n] + x[b, t, n]) * beta[n]
        isyn[n] = i
        currents[b, t, n] = i


@disk_cached(OPTIONS, loops)
def exp_syn_forward(low, high, x, beta, isyn_end, currents):
    """Run the synapses.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, N) input.
        beta: (N,) decays.
        isyn_end: (B, N) the state, updated in place.
        currents: (B, T, N), written.
    """
    isyn = np.empty(beta.shape[0], x.dtype)
    for b in range(low, high):
        isyn[:] = isyn_end[b]
        for t in range(x.shape[1]):
            _leak(x, b, t, beta, isyn, currents)
        isyn_end[b] = isyn


@compiled
def _beta_sum(di, x, currents, isyn, b, t, total):
    if t:
        for n in range(di.shape[0]):
            total[n] += di[n] * (currents[b, t - 1, n] + x[b, t, n])
    else:
        for n in range(di.shape[0]):
            total[n] += di[n] * (isyn[b, n] + x[b, t, n])


@compiled
def _charge_adjoint(g, b, t, dc, di):
    if g.size:
        for n in range(dc.shape[0]):
            di[n] = g[b, t, n] + dc[n]
    else:
        for n in range(dc.shape[0]):
            di[n] = dc[n]


@compiled
def _scale(di, beta, dc):
    for n in range(dc.shape[0]):
        dc[n] = di[n] * beta[n]


@compiled
def _scale_and_keep(di, beta, b, t, dc, dx):
    for n in range(dc.shape[0]):
        d = di[n] * beta[n]
        dc[n] = d
        dx[b, t, n] = d


@disk_cached(OPTIONS, loops)
def exp_syn_backward(low, high, x, isyn, currents, beta, g, dc_ends, dx, d_beta):
    """Run the adjoint recursion.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, N) input, read if ``d_beta`` is not empty.
        isyn: (B, N) before the first step.
        currents: (B, T, N) as the forward pass wrote them.
        beta: (N,).
        g: (B, T, N), gradient that arrives for the currents; or empty.
        dc_ends: (B, N), in place: from the gradient of the last current to that of the first.
        dx: (B, T, N) gradient of the input, written unless empty.
        d_beta: (B, N), written unless empty.
    """
    work = np.empty((3, beta.shape[0] + PADDING), currents.dtype)
    di, dc, total = row(work, 0), row(work, 1), row(work, 2)
    for b in range(low, high):
        dc[:] = dc_ends[b]
        total[:] = 0
        for t in range(currents.shape[1] - 1, -1, -1):
            _charge_adjoint(g, b, t, dc, di)
            if d_beta.size:
                _beta_sum(di, x, currents, isyn, b, t, total)
            if dx.size:
                _scale_and_keep(di, beta, b, t, dc, dx)
            else:
                _scale(di, beta, dc)
        dc_ends[b] = dc
        if d_beta.size:
            d_beta[b] = total
