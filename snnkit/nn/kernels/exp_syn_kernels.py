"""The kernels of exponential synapses.

Forward ``c[t] = i[t-1] + x[t]``, ``i[t] = beta c[t]``; backward, ``d`` being gradients and ``g`` those from
outside, ``di = g + dc[t+1]``, ``dbeta += di c``, ``dc = dx = beta di``.

All arrays are of one float type, C-contiguous and flat: the shapes named here are how their numbers lie. One
of size 0 stands for None. ``shape`` is ``(T, N)``. Each call does the batch elements ``low ... high - 1``.
The array ``work`` holds for each block of synapses, as many as a vector has lanes, one plane per state.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np
from numba import njit

from snnkit.nn.kernels import lif_steps, loops, simd, vectors_in_memory
from snnkit.nn.kernels.lif_steps import foresee
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import all_lanes, first_lanes, lanes_of, multiply_add, splat
from snnkit.nn.kernels.vectors_in_memory import aligned, load, load_all, store, store_all
from snnkit.utilities.compilation import disk_cached

__all__ = ["exp_syn_backward", "exp_syn_forward"]

inlined = njit(forceinline=True, **OPTIONS)

AHEAD = 8
"""Steps for which the backward pass has its input fetched: processors foresee only what is read forward."""

PLANES = 3
STATE, BETA, D_BETA = range(PLANES)

SOURCES = (lif_steps, loops, simd, vectors_in_memory)


@inlined
def _begin(states, beta, b, count, work, edge):
    """Set the states of one batch element, and its sums to zero."""
    lanes = lanes_of(work)
    for n in range(0, count, lanes):
        mask, at = first_lanes(work, count - n), edge + n * PLANES
        store_all(work, at + STATE * lanes, load(states, b * count + n, mask))
        store_all(work, at + BETA * lanes, load(beta, n, mask))
        store_all(work, at + D_BETA * lanes, splat(work.dtype.type(0)))


@inlined
def _end(plane, numbers, b, count, work, edge):
    """Write one plane of a batch element."""
    lanes = lanes_of(work)
    for n in range(0, count, lanes):
        vector = load_all(work, edge + n * PLANES + plane * lanes)
        store(numbers, b * count + n, vector, first_lanes(work, count - n))


@inlined
def _advance(x, currents, place, work, at, mask):
    lanes = lanes_of(work)
    charge = load_all(work, at + STATE * lanes) + load(x, place, mask)
    isyn = charge * load_all(work, at + BETA * lanes)
    store_all(work, at + STATE * lanes, isyn)
    store(currents, place, isyn, mask)


@disk_cached(OPTIONS, *SOURCES)
def exp_syn_forward(low, high, x, shape, beta, isyn_end, currents):
    """Run the synapses.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, N) input.
        shape: (T, N).
        beta: (N,) decays.
        isyn_end: (B, N) the state, updated in place.
        currents: (B, T, N), written.
    """
    steps, count = shape
    lanes = lanes_of(x)
    work = np.empty((count + 2 * lanes) * PLANES, x.dtype)
    edge, whole = aligned(work), count - count % lanes
    rest = first_lanes(work, count - whole)
    for b in range(low, high):
        _begin(isyn_end, beta, b, count, work, edge)
        for t in range(steps):
            row = (b * steps + t) * count
            for n in range(0, whole, lanes):
                _advance(x, currents, row + n, work, edge + n * PLANES, all_lanes(work))
            if whole < count:
                _advance(x, currents, row + whole, work, edge + whole * PLANES, rest)
        _end(STATE, isyn_end, b, count, work, edge)


@inlined
def _go_back(x, before, before_at, g, summed, place, work, at, mask, dx):
    lanes = lanes_of(work)
    di = load_all(work, at + STATE * lanes)
    if g.size:
        di = di + load(g, place, mask)
    if summed:
        charge = load(before, before_at, mask) + load(x, place, mask)
        total = multiply_add(di, charge, load_all(work, at + D_BETA * lanes))
        store_all(work, at + D_BETA * lanes, total)
    dc = di * load_all(work, at + BETA * lanes)
    store_all(work, at + STATE * lanes, dc)
    if dx.size:
        store(dx, place, dc, mask)


@disk_cached(OPTIONS, *SOURCES)
def exp_syn_backward(low, high, x, shape, isyn, currents, beta, g, dc_ends, dx, d_beta):
    """Run the adjoint recursion.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, N) input, read if ``d_beta`` is not empty.
        shape: (T, N).
        isyn: (B, N) before the first step.
        currents: (B, T, N) as the forward pass wrote them.
        beta: (N,).
        g: (B, T, N), gradient that arrives for the currents; or empty.
        dc_ends: (B, N), in place: from the gradient of the last current to that of the first.
        dx: (B, T, N) gradient of the input, written unless empty.
        d_beta: (B, N), written unless empty.
    """
    steps, count = shape
    lanes, summed = lanes_of(x), d_beta.size > 0
    work = np.empty((count + 2 * lanes) * PLANES, x.dtype)
    edge, whole = aligned(work), count - count % lanes
    rest = first_lanes(work, count - whole)
    for b in range(low, high):
        _begin(dc_ends, beta, b, count, work, edge)
        for t in range(steps - 1, -1, -1):
            row = (b * steps + t) * count
            foresee(g, row - AHEAD * count, count)
            if summed:
                foresee(x, row - AHEAD * count, count)
                foresee(currents, row - (AHEAD + 1) * count, count)
            before, at = (currents, row - count) if t else (isyn, b * count)
            for n in range(0, whole, lanes):
                place = edge + n * PLANES
                _go_back(x, before, at + n, g, summed, row + n, work, place, all_lanes(work), dx)
            if whole < count:
                place = edge + whole * PLANES
                _go_back(x, before, at + whole, g, summed, row + whole, work, place, rest, dx)
        _end(STATE, dc_ends, b, count, work, edge)
        if summed:
            _end(D_BETA, d_beta, b, count, work, edge)
