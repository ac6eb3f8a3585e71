"""The kernels of leaky integrate-and-fire neurons; equations: :mod:`snnkit.nn.lif_sequence`.

With adaptation there is one more current per neuron, forward

    q[t] = iahp[t-1] + w_ahp s[t-1]      iahp[t] = gamma q[t]      u[t] += iahp[t]

and backward ``di = du + dq[t+1] + g``, ``dq = gamma di``, ``ds[t-1] += w_ahp dq[t]``, ``dgamma += di q``,
``dw_ahp += s[t-1] dq[t]``. Neurons without synapses (``S = 0``) have the input ``(B, T, N)`` in the place of
their synaptic current.

All arrays are of one float type, C-contiguous, and flat: the shapes named here are how their numbers lie,
with ``B`` batch, ``T`` time, ``N`` neurons and ``C = N S`` channels. One of size 0 stands for None.
``shape`` is ``(T, N, S)``. The work is divided into parts: a part is one batch element and, without
recurrence, at most ``WIDTH`` of its neurons, so that their states stay in the cache. A call does the parts
``low ... high - 1``.

The backward pass needs potentials, events and charges of all steps. They are not kept but computed again,
``SPAN`` steps at a time, from the states that the forward pass left as marks: that takes less time than
writing and reading them, and less memory.
"""
# ruff: noqa: ANN201, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.nn.kernels import bumps, events, lif_recurrence, lif_steps, loops, simd, spans, vectors_in_memory
from snnkit.nn.kernels.events import deliver
from snnkit.nn.kernels.lif_recurrence import feed_back
from snnkit.nn.kernels.lif_steps import (
    ADAPTATION_COURSE,
    CHARGE,
    FIRST_SYNAPSE,
    PER_ADAPTATION,
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
from snnkit.nn.kernels.simd import lanes_of
from snnkit.nn.kernels.spans import SPAN, WIDTH
from snnkit.nn.kernels.vectors_in_memory import aligned
from snnkit.utilities.compilation import disk_cached

__all__ = ["lif_backward", "lif_forward"]

AT_ONCE = 64
"""Neurons that keep the processor busy: what one does in a step waits for its step before."""

SOURCES = (bumps, events, lif_recurrence, lif_steps, loops, simd, spans, vectors_in_memory)


@disk_cached(OPTIONS, *SOURCES)
def lif_forward(
    low, high, x, shape, kind, noise, first_events, alpha, beta, bias, threshold, w_rec, w_ahp, gamma, cap,
    vmem_end, isyn_end, iahp_end, spikes, potentials, charges, adaptations,
    vmem_marks, isyn_marks, iahp_marks, event_marks,
):  # fmt: skip
    """Run the neurons.

    Args:
        low: first part.
        high: the one after the last.
        x: (B, T, C) input.
        shape: (T, N, S).
        kind: ``()``, or ``(1,)`` with adaptation: as a type it is known when the kernel is compiled.
        noise: (B, T, N) or empty.
        first_events: (B, N) events before the first step.
        alpha: (N,) membrane decays.
        beta: (C,) synaptic decays.
        bias: (N,).
        threshold: (N,).
        w_rec: (N, C) or empty.
        w_ahp: (N,) charge of the adaptation per event, or empty, as are all arrays of it then.
        gamma: (N,) its decays.
        cap: most events per step.
        vmem_end: (B, N) the state, updated in place.
        isyn_end: (B, C) the state, updated in place.
        iahp_end: (B, N) the state, updated in place.
        spikes: (B, T, N), written.
        potentials: (B, T, N) before reset, written unless empty.
        charges: (B, T, C) currents before their leak, written unless empty.
        adaptations: (B, T, N) currents of the adaptation, written unless empty.
        vmem_marks: (B, M, N) the state before every ``SPAN``-th step, written unless empty.
        isyn_marks: (B, M, C), as ``vmem_marks``.
        iahp_marks: (B, M, N), as ``vmem_marks``.
        event_marks: (B, M, N) the events of the step before those, with adaptation.
    """
    steps, neurons, synapses = shape
    adapts = len(kind) > 0
    lanes, parts = lanes_of(x), 1 if w_rec.size else (neurons + WIDTH - 1) // WIDTH
    most = neurons if parts == 1 else WIDTH
    size = (FIRST_SYNAPSE + PER_SYNAPSE * synapses + (PER_ADAPTATION if adapts else 0)) * lanes
    row = (most + lanes - 1) // lanes * size
    at_once = max(1, AT_ONCE // most) if parts == 1 else 1
    work, nothing = np.empty(at_once * row + lanes, x.dtype), np.empty(0, x.dtype)
    edge = aligned(work)
    received = np.zeros(w_rec.size // neurons, x.dtype)
    found, numbers = np.empty(neurons, np.int64), np.empty(neurons, x.dtype)
    for start in range(low, high, at_once):
        first, b, together = start % parts * WIDTH, start // parts, min(at_once, high - start)
        count = min(most, neurons - first)
        for k in range(together):
            at = (b + k) * neurons + first
            place = edge + k * row
            begin(alpha, beta, bias, threshold, w_ahp, gamma, first, synapses, work, place, size, count)
            restore(vmem_end, isyn_end, iahp_end, first_events, at, synapses, work, place, size, count)
        for t in range(steps):
            if vmem_marks.size and t % SPAN == 0:
                for k in range(together):
                    mark = ((b + k) * ((steps + SPAN - 1) // SPAN) + t // SPAN) * neurons + first
                    save(
                        vmem_marks, isyn_marks, iahp_marks, event_marks, mark, synapses, work, edge + k * row,
                        size, count,
                    )  # fmt: skip
            for k in range(together):
                at = ((b + k) * steps + t) * neurons + first
                if w_rec.size:
                    source, place = (spikes, at - neurons) if t else (first_events, (b + k) * neurons)
                    deliver(source, place, neurons, w_rec, neurons * synapses, found, numbers, received, 0)
                advance(
                    x, noise, received, cap, synapses, adapts, at, work, edge + k * row, size, count,
                    spikes, potentials, charges, adaptations, nothing, 0, 0,
                )  # fmt: skip
        for k in range(together):
            at = (b + k) * neurons + first
            save(vmem_end, isyn_end, iahp_end, nothing, at, synapses, work, edge + k * row, size, count)


@disk_cached(OPTIONS, *SOURCES)
def lif_backward(
    low, high, x, shape, kind, noise, first_events, alpha, beta, bias, threshold, w_rec, w_ahp, gamma, cap,
    window, relative, periodic, spikes, vmem_marks, isyn_marks, iahp_marks, event_marks,
    g_spikes, g_potentials, g_charges, g_adaptations, dv_ends, dc_ends, dq_ends, dx, du_all, sums, d_beta,
):  # fmt: skip
    """Run the adjoint recursion.

    Args:
        low: first part.
        high: the one after the last.
        x: (B, T, C), as in the forward pass; so are those up to ``cap``.
        shape: (T, N, S).
        kind: ``()``, or ``(1,)`` with adaptation: as a type it is known when the kernel is compiled.
        noise: (B, T, N) or empty.
        first_events: (B, N).
        alpha: (N,).
        beta: (C,).
        bias: (N,).
        threshold: (N,).
        w_rec: (N, C) or empty.
        w_ahp: (N,) or empty.
        gamma: (N,) or empty.
        cap: most events per step.
        window: of the surrogate.
        relative: the window is in units of the threshold.
        periodic: PeriodicExponential, else StepPWL.
        spikes: (B, T, N) as the forward pass wrote them, if there is ``w_rec``.
        vmem_marks: (B, M, N) as the forward pass wrote them.
        isyn_marks: (B, M, C).
        iahp_marks: (B, M, N).
        event_marks: (B, M, N).
        g_spikes: (B, T, N), gradient that arrives; or empty, as the next three.
        g_potentials: (B, T, N).
        g_charges: (B, T, C).
        g_adaptations: (B, T, N).
        dv_ends: (B, N), in place: from the gradient of the last vmem to that of the first.
        dc_ends: (B, C), the same of isyn.
        dq_ends: (B, N), the same of iahp.
        dx: (B, T, C) gradient of the input, written unless empty; (B, T, N) without synapses.
        du_all: (B, T, N) gradient of the noise, written unless empty.
        sums: (5, B, N), written unless empty: sums for alpha, bias, threshold, w_ahp and gamma.
        d_beta: (B, C), written unless empty: sums for beta.
    """
    steps, neurons, synapses = shape
    adapts = len(kind) > 0
    lanes, parts = lanes_of(x), 1 if w_rec.size else (neurons + WIDTH - 1) // WIDTH
    most = neurons if parts == 1 else WIDTH
    size = (FIRST_SYNAPSE + PER_SYNAPSE * synapses + (PER_ADAPTATION if adapts else 0)) * lanes
    step_size = (CHARGE + synapses + (ADAPTATION_COURSE if adapts else 0)) * lanes
    blocks = (most + lanes - 1) // lanes
    row, course_row = blocks * size, blocks * step_size
    at_once = max(1, AT_ONCE // most) if parts == 1 else 1
    work, nothing = np.empty(at_once * row + lanes, x.dtype), np.empty(0, x.dtype)
    edge = aligned(work)
    course = np.empty(at_once * SPAN * course_row + lanes, x.dtype)
    course_edge = aligned(course)
    received = np.zeros(w_rec.size // neurons, x.dtype)
    fed_row = most * synapses + lanes if w_rec.size else 0
    fed = np.zeros(at_once * fed_row, x.dtype)
    found, numbers = np.empty(neurons, np.int64), np.empty(neurons, x.dtype)
    for start in range(low, high, at_once):
        first, b, together = start % parts * WIDTH, start // parts, min(at_once, high - start)
        count = min(most, neurons - first)
        for k in range(together):
            at, place = (b + k) * neurons + first, edge + k * row
            begin(alpha, beta, bias, threshold, w_ahp, gamma, first, synapses, work, place, size, count)
            set_gradients(dv_ends, dc_ends, dq_ends, at, synapses, work, place, size, count)
        for span in range((steps - 1) // SPAN, -1, -1):
            low_t, high_t = span * SPAN, min(span * SPAN + SPAN, steps)
            for k in range(together):
                mark = ((b + k) * ((steps + SPAN - 1) // SPAN) + span) * neurons + first
                restore(
                    vmem_marks, isyn_marks, iahp_marks, event_marks, mark, synapses, work, edge + k * row,
                    size, count,
                )  # fmt: skip
            for t in range(low_t, high_t):
                for k in range(together):
                    at = ((b + k) * steps + t) * neurons + first
                    foresee(g_spikes, at, count)
                    if w_rec.size:
                        source, place = (spikes, at - neurons) if t else (first_events, (b + k) * neurons)
                        deliver(
                            source, place, neurons, w_rec, neurons * synapses, found, numbers, received, 0
                        )
                    advance(
                        x, noise, received, cap, synapses, adapts, at, work, edge + k * row, size, count,
                        nothing, nothing, nothing, nothing,
                        course, course_edge + (k * SPAN + t - low_t) * course_row, step_size,
                    )  # fmt: skip
            for t in range(high_t - 1, low_t - 1, -1):
                for k in range(together):
                    at, place = ((b + k) * steps + t) * neurons + first, edge + k * row
                    course_at = course_edge + (k * SPAN + t - low_t) * course_row
                    foresee(x, (at - SPAN * neurons) * max(synapses, 1), count * max(synapses, 1))
                    fed_back = w_rec.size > 0 and t < steps - 1
                    if fed_back:
                        feed_back(
                            w_rec, fed, k * fed_row, neurons * synapses, work, place, size,
                            course, course_at, step_size, window, relative, periodic, found,
                        )  # fmt: skip
                    go_back(
                        g_spikes, g_potentials, g_charges, g_adaptations, window, relative, cap, periodic,
                        fed_back, adapts and t < steps - 1, adapts, sums.size > 0, d_beta.size > 0, synapses,
                        at, work, place, size, course, course_at, step_size, count, dx, du_all, fed,
                        k * fed_row,
                    )  # fmt: skip
        for k in range(together):
            at = (b + k) * neurons + first
            get_gradients(
                dv_ends, dc_ends, dq_ends, sums, d_beta, at, synapses, work, edge + k * row, size, count
            )
