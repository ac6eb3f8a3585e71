"""The kernels of LIF neurons whose recurrent weights are sparse; importing this imports Numba.

What a neuron does in a step is that of :mod:`snnkit.nn.kernels.lif_steps`; the arrays are as in
:mod:`snnkit.nn.kernels.lif_kernels`, but for the recurrent weights: neuron ``m`` sends ``values[k]`` to the
channel ``indices[k]`` for ``k`` in ``pointers[m] ... pointers[m + 1] - 1``. Forward, an event adds the
synapses of the neuron that fired; backward, only neurons whose potential gives a slope gather from theirs.
The channels receive their events in ascending order, as from a dense matrix, so the results are the same.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np
from numba import njit

from snnkit.nn.kernels import bumps, events, lif_recurrence, lif_steps, loops, simd, spans, vectors_in_memory
from snnkit.nn.kernels.events import list_events
from snnkit.nn.kernels.lif_recurrence import list_slopes
from snnkit.nn.kernels.lif_steps import (
    CHARGE,
    FED,
    FIRST_SYNAPSE,
    PER_SYNAPSE,
    advance,
    begin,
    foresee,
    get_gradients,
    go_back,
    restore,
    save,
    set_gradients,
)
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import all_lanes, first_lanes, lanes_of, multiply_add, splat, sum_of
from snnkit.nn.kernels.spans import SPAN
from snnkit.nn.kernels.vectors_in_memory import aligned, get, load, put
from snnkit.sparse.kernels import gathering
from snnkit.sparse.kernels.gathering import gather_at, load_places
from snnkit.utilities.compilation import disk_cached

__all__ = ["sparse_lif_backward", "sparse_lif_forward"]

inlined = njit(forceinline=True, **OPTIONS)

SOURCES = (bumps, events, gathering, lif_recurrence, lif_steps, loops, simd, spans, vectors_in_memory)


@inlined
def _deliver(source, at, neurons, values, pointers, indices, found, numbers, received):
    """Write what all channels receive from the events of one step."""
    received[:] = 0
    for event in range(list_events(source, at, neurons, found, numbers)):
        m, number = get(found, event), get(numbers, event)
        for k in range(get(pointers, m), get(pointers, m + 1)):
            to = get(indices, k)
            put(received, to, get(received, to) + number * get(values, k))


@inlined
def _collected(values, pointers, indices, m, dc):
    """Return the sum of a neuron's weights times the gradients of the channels that they reach."""
    lanes, whole, total = lanes_of(dc), all_lanes(dc), splat(dc.dtype.type(0))
    first, last = get(pointers, m), get(pointers, m + 1)
    for k in range(first, last, lanes):
        mask = first_lanes(dc, last - k) if k + lanes > last else whole
        reached = gather_at(dc, load_places(dc, indices, k, mask), mask)
        total = multiply_add(load(values, k, mask), reached, total)
    return sum_of(total)


@inlined
def _feed_back(
    values, pointers, indices, dc, neurons, work, at, size, course, course_at, course_size,
    window, relative, periodic, found,
):  # fmt: skip
    """Write the gradients of events for the neurons with a slope, and 0 for the others."""
    lanes = lanes_of(work)
    length = list_slopes(
        work, at, size, course, course_at, course_size, neurons, window, relative, periodic, found
    )
    for k in range(length):
        m = get(found, k)
        put(
            work, at + m // lanes * size + FED * lanes + m % lanes,
            _collected(values, pointers, indices, m, dc),
        )  # fmt: skip


@disk_cached(OPTIONS, *SOURCES)
def sparse_lif_forward(
    low, high, x, shape, noise, first_events, alpha, beta, bias, threshold, values, pointers, indices, cap,
    vmem_end, isyn_end, spikes, potentials, charges, vmem_marks, isyn_marks,
):  # fmt: skip
    """Run the neurons of the batch elements ``low ... high - 1``.

    Args:
        low: first batch element.
        high: the one after the last.
        x: (B, T, C) input.
        shape: (T, N, S).
        noise: (B, T, N) or empty.
        first_events: (B, N) events before the first step.
        alpha: (N,) membrane decays.
        beta: (C,) synaptic decays.
        bias: (N,).
        threshold: (N,).
        values: (nnz,) recurrent weights, see above.
        pointers: (N + 1,).
        indices: (nnz,).
        cap: most events per step.
        vmem_end: (B, N) the state, updated in place.
        isyn_end: (B, C) the state, updated in place.
        spikes: (B, T, N), written.
        potentials: (B, T, N) before reset, written unless empty.
        charges: (B, T, C) currents before their leak, written unless empty.
        vmem_marks: (B, M, N) the state before every ``SPAN``-th step, written unless empty.
        isyn_marks: (B, M, C), as ``vmem_marks``.
    """
    steps, neurons, synapses = shape
    lanes = lanes_of(x)
    size = (FIRST_SYNAPSE + PER_SYNAPSE * synapses) * lanes
    work, none = np.empty((neurons + lanes - 1) // lanes * size + lanes, x.dtype), np.empty(0, x.dtype)
    edge, received = aligned(work), np.zeros(neurons * synapses, x.dtype)
    found, numbers = np.empty(neurons, np.int64), np.empty(neurons, x.dtype)
    for b in range(low, high):
        begin(alpha, beta, bias, threshold, none, none, 0, synapses, work, edge, size, neurons)
        restore(vmem_end, isyn_end, none, none, b * neurons, synapses, work, edge, size, neurons)
        for t in range(steps):
            if vmem_marks.size and t % SPAN == 0:
                mark = (b * ((steps + SPAN - 1) // SPAN) + t // SPAN) * neurons
                save(vmem_marks, isyn_marks, none, none, mark, synapses, work, edge, size, neurons)
            at = (b * steps + t) * neurons
            source, place = (spikes, at - neurons) if t else (first_events, b * neurons)
            _deliver(source, place, neurons, values, pointers, indices, found, numbers, received)
            advance(
                x, noise, received, cap, synapses, False, at, work, edge, size, neurons,
                spikes, potentials, charges, none, none, 0, 0,
            )  # fmt: skip
        save(vmem_end, isyn_end, none, none, b * neurons, synapses, work, edge, size, neurons)


@disk_cached(OPTIONS, *SOURCES)
def sparse_lif_backward(
    low, high, x, shape, noise, first_events, alpha, beta, bias, threshold, values, pointers, indices, cap,
    window, relative, periodic, spikes, vmem_marks, isyn_marks, g_spikes, g_potentials, g_charges,
    dv_ends, dc_ends, dx, du_all, sums, d_beta,
):  # fmt: skip
    """Run the adjoint recursion; all but ``values`` get their gradients here.

    Args:
        low: first batch element.
        high: the one after the last.
        x: as in the forward pass, as are those up to ``cap``.
        shape: (T, N, S).
        noise: (B, T, N) or empty.
        first_events: (B, N).
        alpha: (N,).
        beta: (C,).
        bias: (N,).
        threshold: (N,).
        values: (nnz,).
        pointers: (N + 1,).
        indices: (nnz,).
        cap: most events per step.
        window: of the surrogate.
        relative: the window is in units of the threshold.
        periodic: PeriodicExponential, else StepPWL.
        spikes: (B, T, N) as the forward pass wrote them.
        vmem_marks: (B, M, N), likewise.
        isyn_marks: (B, M, C), likewise.
        g_spikes: (B, T, N), gradient that arrives; or empty, as the next two.
        g_potentials: (B, T, N).
        g_charges: (B, T, C).
        dv_ends: (B, N), in place: from the gradient of the last vmem to that of the first.
        dc_ends: (B, C), the same of isyn.
        dx: (B, T, C) gradient of the input, written unless empty.
        du_all: (B, T, N) gradient of the noise, written unless empty.
        sums: (5, B, N), written unless empty: sums for alpha, bias and threshold come first.
        d_beta: (B, C), written unless empty: sums for beta.
    """
    steps, neurons, synapses = shape
    lanes = lanes_of(x)
    blocks = (neurons + lanes - 1) // lanes
    size, step_size = (FIRST_SYNAPSE + PER_SYNAPSE * synapses) * lanes, (CHARGE + synapses) * lanes
    row = blocks * step_size
    work, none = np.empty(blocks * size + lanes, x.dtype), np.empty(0, x.dtype)
    course = np.empty(SPAN * row + lanes, x.dtype)
    edge, course_edge = aligned(work), aligned(course)
    received, fed = np.zeros(neurons * synapses, x.dtype), np.zeros(neurons * synapses + lanes, x.dtype)
    found, numbers = np.empty(neurons, np.int64), np.empty(neurons, x.dtype)
    for b in range(low, high):
        begin(alpha, beta, bias, threshold, none, none, 0, synapses, work, edge, size, neurons)
        set_gradients(dv_ends, dc_ends, none, b * neurons, synapses, work, edge, size, neurons)
        for span in range((steps - 1) // SPAN, -1, -1):
            low_t, high_t = span * SPAN, min(span * SPAN + SPAN, steps)
            mark = (b * ((steps + SPAN - 1) // SPAN) + span) * neurons
            restore(vmem_marks, isyn_marks, none, none, mark, synapses, work, edge, size, neurons)
            for t in range(low_t, high_t):
                at = (b * steps + t) * neurons
                foresee(g_spikes, at, neurons)
                source, place = (spikes, at - neurons) if t else (first_events, b * neurons)
                _deliver(source, place, neurons, values, pointers, indices, found, numbers, received)
                advance(
                    x, noise, received, cap, synapses, False, at, work, edge, size, neurons,
                    none, none, none, none, course, course_edge + (t - low_t) * row, step_size,
                )  # fmt: skip
            for t in range(high_t - 1, low_t - 1, -1):
                at, here = (b * steps + t) * neurons, course_edge + (t - low_t) * row
                if t < steps - 1:
                    _feed_back(
                        values, pointers, indices, fed, neurons, work, edge, size, course, here, step_size,
                        window, relative, periodic, found,
                    )  # fmt: skip
                go_back(
                    g_spikes, g_potentials, g_charges, none, window, relative, cap, periodic,
                    t < steps - 1, False, False, sums.size > 0, d_beta.size > 0, synapses, at, work, edge,
                    size, course, here, step_size, neurons, dx, du_all, fed, 0,
                )  # fmt: skip
        get_gradients(dv_ends, dc_ends, none, sums, d_beta, b * neurons, synapses, work, edge, size, neurons)
