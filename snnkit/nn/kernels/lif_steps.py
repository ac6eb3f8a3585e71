"""What a block of LIF neurons (as many as a vector has lanes) does in one step, forward and backward.

The equations are those of :mod:`snnkit.nn.lif_sequence`, in the same order of operations. All that a block
needs lies together in the array ``work``, a plane of one vector after the other, so that one address leads
to it.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from numba import njit

from snnkit.nn.kernels.bumps import bump
from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import all_lanes, first_lanes, floor, lanes_of, multiply_add, select, splat
from snnkit.nn.kernels.vectors_in_memory import (
    load,
    load_all,
    load_apart,
    prefetch,
    store,
    store_all,
    store_apart,
)

__all__ = [
    "ADAPTATION_COURSE",
    "CHARGE",
    "FED",
    "FIRST_SYNAPSE",
    "PER_ADAPTATION",
    "PER_SYNAPSE",
    "POTENTIAL",
    "THRESHOLD",
    "advance",
    "begin",
    "foresee",
    "get_gradients",
    "go_back",
    "restore",
    "save",
    "set_gradients",
]

inlined = njit(forceinline=True, **OPTIONS)

# Planes of a block. The constants and vmem come first, then what the backward pass keeps.
VMEM, ALPHA, BIAS, THRESHOLD, PER_THRESHOLD = range(5)
DV, FED, D_ALPHA, D_BIAS, D_THRESHOLD = range(5, 10)
FIRST_SYNAPSE, PER_SYNAPSE = 10, 4
ISYN, BETA, DC, D_BETA = range(4)
# Behind those of the synapses, for neurons that adapt.
PER_ADAPTATION = 7
IAHP, W_AHP, GAMMA, LAST_EVENTS, DQ, D_W_AHP, D_GAMMA = range(7)

# Planes of a block in one step of the course that the backward pass computes again.
POTENTIAL, EVENTS, BEFORE, CHARGE = range(4)
# Behind the charges, for neurons that adapt.
ADAPTATION_COURSE = 2
TIREDNESS, EVENTS_BEFORE = range(2)


@inlined
def synapse(lanes, s, plane):
    """Return where a block has a plane of its neurons' synapse ``s``."""
    return (FIRST_SYNAPSE + PER_SYNAPSE * s + plane) * lanes


@inlined
def adaptation(lanes, synapses, plane):
    """Return where a block has a plane of its neurons' adaptation."""
    return (FIRST_SYNAPSE + PER_SYNAPSE * synapses + plane) * lanes


@inlined
def load_channels(array, at, synapses, mask):
    """Return one channel of each neuron, of ``synapses`` that they have."""
    return load(array, at, mask) if synapses == 1 else load_apart(array, at, synapses, mask)


@inlined
def store_channels(array, at, synapses, numbers, mask):
    """Write one channel of each neuron."""
    if synapses == 1:
        store(array, at, numbers, mask)
    else:
        store_apart(array, at, synapses, numbers, mask)


@inlined
def _charge(x, received, charges, channel, received_at, course, course_at, s, synapses, work, at, mask):
    """Charge and leak one synapse of each neuron: ``isyn = beta (isyn + x + received)``; return it."""
    lanes = lanes_of(work)
    c = load_all(work, at + synapse(lanes, s, ISYN)) + load_channels(x, channel + s, synapses, mask)
    if received.size:
        c = c + load_channels(received, received_at + s, synapses, mask)
    if charges.size:
        store_channels(charges, channel + s, synapses, c, mask)
    if course.size:
        store_all(course, course_at + (CHARGE + s) * lanes, c)
    isyn = c * load_all(work, at + synapse(lanes, s, BETA))
    store_all(work, at + synapse(lanes, s, ISYN), isyn)
    return isyn


@inlined
def _tire(adaptations, neuron, synapses, work, at, mask, course, course_at):
    """Count the last events and leak: ``iahp = gamma (iahp + w_ahp events)``; return it."""
    lanes = lanes_of(work)
    own = at + adaptation(lanes, synapses, 0)
    last = load_all(work, own + LAST_EVENTS * lanes)
    q = load_all(work, own + IAHP * lanes) + last * load_all(work, own + W_AHP * lanes)
    iahp = q * load_all(work, own + GAMMA * lanes)
    store_all(work, own + IAHP * lanes, iahp)
    if adaptations.size:
        store(adaptations, neuron, iahp, mask)
    if course.size:
        store_all(course, course_at + (CHARGE + synapses + TIREDNESS) * lanes, q)
        store_all(course, course_at + (CHARGE + synapses + EVENTS_BEFORE) * lanes, last)
    return iahp


@inlined
def _advance_block(
    x, noise, received, cap, synapses, adapts, neuron, received_at, work, at, mask,
    spikes, potentials, charges, adaptations, course, course_at,
):  # fmt: skip
    """Go one step ahead: charge, integrate, emit ``min(floor(vmem / threshold), cap)`` events, reset.

    There are no events below 0, and NaN stays NaN. Written are those of the last five arrays that are not
    empty; ``neuron`` is the place of the block's first neuron, in this step, in arrays ``(B, T, N)``.
    """
    lanes = lanes_of(work)
    before = load_all(work, at + VMEM * lanes)
    channel = neuron * synapses
    if synapses:
        total = _charge(
            x, received, charges, channel, received_at, course, course_at, 0, synapses, work, at, mask
        )
    else:
        total = load(x, neuron, mask)
    for s in range(1, synapses):
        total = total + _charge(
            x, received, charges, channel, received_at, course, course_at, s, synapses, work, at, mask
        )
    u = before * load_all(work, at + ALPHA * lanes) + total
    if adapts:
        u = u + _tire(adaptations, neuron, synapses, work, at, mask, course, course_at)
    if noise.size:
        u = u + load(noise, neuron, mask)
    u = u + load_all(work, at + BIAS * lanes)
    most, zero = splat(cap), splat(work.dtype.type(0))
    threshold = load_all(work, at + THRESHOLD * lanes)
    events = floor(u / threshold)
    events = select(events < zero, zero, events)
    events = select(events > most, most, events)
    store_all(work, at + VMEM * lanes, u - events * threshold)
    if adapts:
        store_all(work, at + adaptation(lanes, synapses, LAST_EVENTS), events)
    if spikes.size:
        store(spikes, neuron, events, mask)
    if potentials.size:
        store(potentials, neuron, u, mask)
    if course.size:
        store_all(course, course_at + POTENTIAL * lanes, u)
        store_all(course, course_at + EVENTS * lanes, events)
        store_all(course, course_at + BEFORE * lanes, before)


@inlined
def _recover(du, g_adaptations, neuron, synapses, summed, work, at, mask, course, course_at):
    """Go back from the gradient of the adaptation: ``dq = gamma (du + dq + g)``."""
    lanes = lanes_of(work)
    own = at + adaptation(lanes, synapses, 0)
    da = du + load_all(work, own + DQ * lanes)
    if g_adaptations.size:
        da = da + load(g_adaptations, neuron, mask)
    dq = da * load_all(work, own + GAMMA * lanes)
    store_all(work, own + DQ * lanes, dq)
    if summed:
        q = load_all(course, course_at + (CHARGE + synapses + TIREDNESS) * lanes)
        last = load_all(course, course_at + (CHARGE + synapses + EVENTS_BEFORE) * lanes)
        total = multiply_add(da, q, load_all(work, own + D_GAMMA * lanes))
        store_all(work, own + D_GAMMA * lanes, total)
        total = multiply_add(last, dq, load_all(work, own + D_W_AHP * lanes))
        store_all(work, own + D_W_AHP * lanes, total)


@inlined
def _channels_back(
    du, g_charges, beta_summed, synapses, neuron, work, at, course, course_at, mask, dx, dc_row, dc_at
):
    """Go back from the gradients of the currents: ``dc = beta (du + dc) + g``."""
    lanes = lanes_of(work)
    for s in range(synapses):
        di = du + load_all(work, at + synapse(lanes, s, DC))
        if beta_summed:
            total = load_all(work, at + synapse(lanes, s, D_BETA))
            total = multiply_add(di, load_all(course, course_at + (CHARGE + s) * lanes), total)
            store_all(work, at + synapse(lanes, s, D_BETA), total)
        dc = di * load_all(work, at + synapse(lanes, s, BETA))
        if g_charges.size:
            dc = dc + load_channels(g_charges, neuron * synapses + s, synapses, mask)
        store_all(work, at + synapse(lanes, s, DC), dc)
        if dx.size:
            store_channels(dx, neuron * synapses + s, synapses, dc, mask)
        if dc_row.size:
            store_channels(dc_row, dc_at + s, synapses, dc, mask)


@inlined
def _go_back_block(
    g_spikes, g_potentials, g_charges, g_adaptations, window, relative, cap, periodic,
    fed_back, tired, adapts, summed, beta_summed, synapses, neuron, work, at, course, course_at, mask,
    dx, du_all, dc_row, dc_at,
):  # fmt: skip
    """Go from the gradients after a step to those before it, and add to the sums of the constants.

    ``dc_row`` receives the gradients of the channels unless it is empty, as does ``dx``. ``tired``: events of
    this step count for the adaptation of a next one.
    """
    lanes = lanes_of(work)
    none, width = splat(work.dtype.type(0)), splat(window)
    dv, u = load_all(work, at + DV * lanes), load_all(course, course_at + POTENTIAL * lanes)
    threshold, per_threshold = (
        load_all(work, at + THRESHOLD * lanes),
        load_all(work, at + PER_THRESHOLD * lanes),
    )
    width = width * threshold if relative else width
    ds = load(g_spikes, neuron, mask) if g_spikes.size else none
    ds = ds - threshold * dv
    if fed_back:
        ds = ds + load_all(work, at + FED * lanes)
    if tired:
        own = at + adaptation(lanes, synapses, 0)
        ds = ds + load_all(work, own + W_AHP * lanes) * load_all(work, own + DQ * lanes)
    if periodic:
        p = ds * (bump(u, threshold, width, splat(cap)) / threshold)
    else:
        p = ds * select(u >= threshold - width, per_threshold, none)
    if summed:
        lost = multiply_add(load_all(course, course_at + EVENTS * lanes), dv, p * u * per_threshold)
        store_all(work, at + D_THRESHOLD * lanes, load_all(work, at + D_THRESHOLD * lanes) - lost)
    if g_potentials.size:
        dv = dv + load(g_potentials, neuron, mask)
    du = dv + p
    store_all(work, at + DV * lanes, du * load_all(work, at + ALPHA * lanes))
    if summed:
        before, total = load_all(course, course_at + BEFORE * lanes), load_all(work, at + D_ALPHA * lanes)
        store_all(work, at + D_ALPHA * lanes, multiply_add(du, before, total))
        store_all(work, at + D_BIAS * lanes, load_all(work, at + D_BIAS * lanes) + du)
    if du_all.size:
        store(du_all, neuron, du, mask)
    if adapts:
        _recover(du, g_adaptations, neuron, synapses, summed, work, at, mask, course, course_at)
    if synapses:
        _channels_back(
            du, g_charges, beta_summed, synapses, neuron, work, at, course, course_at, mask, dx, dc_row, dc_at
        )
    elif dx.size:
        store(dx, neuron, du, mask)


# --- Rows: all blocks of a part ---------------------------------------------------------------------------


@inlined
def advance(
    x, noise, received, cap, synapses, adapts, neuron, work, at, size, count,
    spikes, potentials, charges, adaptations, course, course_at, step,
):  # fmt: skip
    """Go one step ahead with ``count`` neurons; blocks of ``size`` numbers begin at ``at``."""
    lanes = lanes_of(work)
    whole = count // lanes
    for k in range(whole):
        _advance_block(
            x, noise, received, cap, synapses, adapts, neuron + k * lanes, k * lanes * synapses, work,
            at + k * size, all_lanes(work), spikes, potentials, charges, adaptations,
            course, course_at + k * step,
        )  # fmt: skip
    if count % lanes:
        _advance_block(
            x, noise, received, cap, synapses, adapts, neuron + whole * lanes, whole * lanes * synapses, work,
            at + whole * size, first_lanes(work, count % lanes), spikes, potentials, charges, adaptations,
            course, course_at + whole * step,
        )  # fmt: skip


@inlined
def go_back(
    g_spikes, g_potentials, g_charges, g_adaptations, window, relative, cap, periodic,
    fed_back, tired, adapts, summed, beta_summed, synapses, neuron, work, at, size, course, course_at, step,
    count, dx, du_all, dc_row, dc_at,
):  # fmt: skip
    """Go one step back with ``count`` neurons."""
    lanes = lanes_of(work)
    whole = count // lanes
    for k in range(whole):
        _go_back_block(
            g_spikes, g_potentials, g_charges, g_adaptations, window, relative, cap, periodic,
            fed_back, tired, adapts, summed, beta_summed, synapses, neuron + k * lanes, work, at + k * size,
            course, course_at + k * step, all_lanes(work), dx, du_all, dc_row, dc_at + k * lanes * synapses,
        )  # fmt: skip
    if count % lanes:
        _go_back_block(
            g_spikes, g_potentials, g_charges, g_adaptations, window, relative, cap, periodic,
            fed_back, tired, adapts, summed, beta_summed, synapses, neuron + whole * lanes, work,
            at + whole * size,
            course, course_at + whole * step, first_lanes(work, count % lanes), dx, du_all,
            dc_row, dc_at + whole * lanes * synapses,
        )  # fmt: skip


@inlined
def begin(alpha, beta, bias, threshold, w_ahp, gamma, first, synapses, work, at, size, count):
    """Set the constants of ``count`` neurons from ``first`` on, and all sums to zero."""
    lanes = lanes_of(work)
    zero = splat(work.dtype.type(0))
    for n in range(0, count, lanes):
        mask = first_lanes(work, count - n)
        place = at + n // lanes * size
        for plane in range(size // lanes):
            store_all(work, place + plane * lanes, zero)
        store_all(work, place + ALPHA * lanes, load(alpha, first + n, mask))
        store_all(work, place + BIAS * lanes, load(bias, first + n, mask))
        th = load(threshold, first + n, mask)
        store_all(work, place + THRESHOLD * lanes, th)
        store_all(work, place + PER_THRESHOLD * lanes, splat(work.dtype.type(1)) / th)
        for s in range(synapses):
            decay = load_channels(beta, (first + n) * synapses + s, synapses, mask)
            store_all(work, place + synapse(lanes, s, BETA), decay)
        if w_ahp.size:
            own = place + adaptation(lanes, synapses, 0)
            store_all(work, own + W_AHP * lanes, load(w_ahp, first + n, mask))
            store_all(work, own + GAMMA * lanes, load(gamma, first + n, mask))


@inlined
def restore(vmem, isyn, iahp, events, neuron, synapses, work, at, size, count):
    """Read the states of ``count`` neurons from ``neuron`` on; those of adaptation if there is ``iahp``."""
    lanes = lanes_of(work)
    for n in range(0, count, lanes):
        mask = first_lanes(work, count - n)
        place = at + n // lanes * size
        store_all(work, place + VMEM * lanes, load(vmem, neuron + n, mask))
        for s in range(synapses):
            current = load_channels(isyn, (neuron + n) * synapses + s, synapses, mask)
            store_all(work, place + synapse(lanes, s, ISYN), current)
        if iahp.size:
            own = place + adaptation(lanes, synapses, 0)
            store_all(work, own + IAHP * lanes, load(iahp, neuron + n, mask))
            store_all(work, own + LAST_EVENTS * lanes, load(events, neuron + n, mask))


@inlined
def save(vmem, isyn, iahp, events, neuron, synapses, work, at, size, count):
    """Write the states of ``count`` neurons from ``neuron`` on; of the last two arrays what is not empty."""
    lanes = lanes_of(work)
    for n in range(0, count, lanes):
        mask = first_lanes(work, count - n)
        place = at + n // lanes * size
        store(vmem, neuron + n, load_all(work, place + VMEM * lanes), mask)
        for s in range(synapses):
            current = load_all(work, place + synapse(lanes, s, ISYN))
            store_channels(isyn, (neuron + n) * synapses + s, synapses, current, mask)
        own = place + adaptation(lanes, synapses, 0)
        if iahp.size:
            store(iahp, neuron + n, load_all(work, own + IAHP * lanes), mask)
        if events.size:
            store(events, neuron + n, load_all(work, own + LAST_EVENTS * lanes), mask)


@inlined
def set_gradients(dv, dc, dq, neuron, synapses, work, at, size, count):
    """Read the gradients of the last states."""
    lanes = lanes_of(work)
    for n in range(0, count, lanes):
        mask = first_lanes(work, count - n)
        place = at + n // lanes * size
        store_all(work, place + DV * lanes, load(dv, neuron + n, mask))
        for s in range(synapses):
            current = load_channels(dc, (neuron + n) * synapses + s, synapses, mask)
            store_all(work, place + synapse(lanes, s, DC), current)
        if dq.size:
            store_all(work, place + adaptation(lanes, synapses, DQ), load(dq, neuron + n, mask))


@inlined
def get_gradients(dv, dc, dq, sums, d_beta, neuron, synapses, work, at, size, count):
    """Write the gradients of the first states, and the sums for the constants."""
    lanes = lanes_of(work)
    for n in range(0, count, lanes):
        mask = first_lanes(work, count - n)
        place = at + n // lanes * size
        store(dv, neuron + n, load_all(work, place + DV * lanes), mask)
        if sums.size:
            for k in range(3):
                total = load_all(work, place + (D_ALPHA + k) * lanes)
                store(sums, k * dv.size + neuron + n, total, mask)
        for s in range(synapses):
            channel = (neuron + n) * synapses + s
            store_channels(dc, channel, synapses, load_all(work, place + synapse(lanes, s, DC)), mask)
            if d_beta.size:
                total = load_all(work, place + synapse(lanes, s, D_BETA))
                store_channels(d_beta, channel, synapses, total, mask)
        if dq.size:
            own = place + adaptation(lanes, synapses, 0)
            store(dq, neuron + n, load_all(work, own + DQ * lanes), mask)
            if sums.size:
                store(sums, 3 * dv.size + neuron + n, load_all(work, own + D_W_AHP * lanes), mask)
                store(sums, 4 * dv.size + neuron + n, load_all(work, own + D_GAMMA * lanes), mask)


@inlined
def foresee(array, at, count):
    """Have numbers fetched that will be needed soon; nothing if the array is empty."""
    if array.size:
        for j in range(0, count, lanes_of(array)):
            prefetch(array, at + j)
