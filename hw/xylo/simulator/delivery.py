"""Delivery of events to synapses: four ways, by what stands side by side and by what can happen.

Where no sum can leave 16 bits, order does not matter and nothing has to be looked at. Else each sum is
clamped, source after source, as on the chip. ``n`` clamped additions of a weight equal one clamped
addition of ``n`` times the weight.

``active`` lists the sources that have events. Targets count ``synapse * padded neurons + neuron``.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from .program import WIDTH
from .vectors import (
    NOBODY,
    add,
    add_clamped,
    bitwise_xor,
    compiled,
    count_bits,
    first_bit,
    is_nonzero,
    item,
    load,
    multiply,
    splat,
    store,
    without_first_bit,
)

__all__ = ["deliver_lanes", "deliver_single"]

HIGHEST = 2**15 - 1


@compiled
def _deliver_exactly(source, n, lane, connections, isyn, clipped):
    """Deliver ``n`` events of one source in one lane, whatever the size of their weights."""
    weights, targets = connections.weight, connections.target
    for j in range(connections.first[source], connections.first[source + 1]):
        target = targets[j]
        total = isyn[target, lane] + n * weights[j]
        kept = np.int16(total)
        if kept != total:
            kept = np.int16(min(max(total, -HIGHEST - 1), HIGHEST))
            clipped[target] += 1
        isyn[target, lane] = kept


@compiled
def _add_counted(isyn, at, change):
    """Add to 32 sums; return the mask of those that were clamped."""
    old = load(isyn, at)
    new = add_clamped(old, change)
    store(isyn, at, new)
    return is_nonzero(bitwise_xor(new, add(old, change)))


@compiled
def _deliver_lanes_clamped(active, peaks, events, connections, isyn, clipped):
    for source in active:
        if connections.peak[source] * peaks[source] > HIGHEST:
            for lane in range(WIDTH):
                _deliver_exactly(source, events[source, lane], lane, connections, isyn, clipped)
            continue
        counts = load(events, source * WIDTH)
        for j in range(connections.first[source], connections.first[source + 1]):
            target = np.intp(connections.target[j])
            mask = _add_counted(isyn, target * WIDTH, multiply(counts, splat(connections.weight[j])))
            if mask != NOBODY:
                clipped[target] += count_bits(mask)


@compiled
def _deliver_lanes_full(active, events, dense, fours, isyn):
    """Four targets at a time stay in registers while all sources are added."""
    n_targets = dense.shape[1]
    for target in fours:
        at = target * WIDTH
        a, b = load(isyn, at), load(isyn, at + WIDTH)
        c, d = load(isyn, at + 2 * WIDTH), load(isyn, at + 3 * WIDTH)
        for source in active:
            counts, row = load(events, source * WIDTH), source * n_targets + target
            a = add(a, multiply(counts, splat(item(dense, row))))
            b = add(b, multiply(counts, splat(item(dense, row + 1))))
            c = add(c, multiply(counts, splat(item(dense, row + 2))))
            d = add(d, multiply(counts, splat(item(dense, row + 3))))
        store(isyn, at, a)
        store(isyn, at + WIDTH, b)
        store(isyn, at + 2 * WIDTH, c)
        store(isyn, at + 3 * WIDTH, d)


@compiled
def _deliver_lanes_sparse(active, events, first, targets, weights, isyn):
    for source in active:
        counts = load(events, source * WIDTH)
        for j in range(item(first, source), item(first, source + 1)):
            at = np.intp(item(targets, j)) * WIDTH
            store(isyn, at, add(load(isyn, at), multiply(counts, splat(item(weights, j)))))


@compiled
def deliver_lanes(active, peaks, events, connections, isyn, clipped, largest):
    """Deliver ``events`` (sources, 32) of ``active`` sources, whose largest counts are ``peaks``.

    Args:
        active: (n,) sources.
        peaks: (sources,).
        events: (sources, 32).
        connections: of the program.
        isyn: (targets, 32), added to.
        clipped: (targets,), how many sums were clamped, added to.
        largest: largest magnitude in ``isyn``.

    Returns:
        The largest magnitude that ``isyn`` may have now.
    """
    most = 0
    for source in active:
        most = max(most, peaks[source])
    bound = largest + most * connections.reach
    if bound > HIGHEST:
        _deliver_lanes_clamped(active, peaks, events, connections, isyn, clipped)
        return HIGHEST + 1
    if connections.fours.size > 0:
        _deliver_lanes_full(active, events, connections.dense, connections.fours, isyn)
    else:
        _deliver_lanes_sparse(active, events, connections.first, connections.target, connections.weight, isyn)
    return bound


@compiled
def _deliver_single_clamped(active, events, connections, isyn, clipped):
    dense = connections.dense
    column, n_targets = isyn.reshape(-1, 1), dense.shape[1]
    for source in active:
        n = events[source]
        if dense.shape[0] == 0 or connections.peak[source] * n > HIGHEST:
            _deliver_exactly(source, n, 0, connections, column, clipped)
            continue
        factor = splat(n)
        for start in range(0, n_targets, WIDTH):
            mask = _add_counted(isyn, start, multiply(load(dense, source * n_targets + start), factor))
            while mask != NOBODY:
                clipped[start + first_bit(mask)] += 1
                mask = without_first_bit(mask)


@compiled
def _deliver_single_dense(active, events, dense, isyn):
    n_targets = dense.shape[1]
    for start in range(0, n_targets, WIDTH):
        sums = load(isyn, start)
        for source in active:
            sums = add(sums, multiply(load(dense, source * n_targets + start), splat(events[source])))
        store(isyn, start, sums)


@compiled
def _deliver_single_sparse(active, events, first, targets, weights, isyn):
    for source in active:
        n = events[source]
        for j in range(item(first, source), item(first, source + 1)):
            isyn[item(targets, j)] += n * item(weights, j)


@compiled
def deliver_single(active, events, connections, isyn, clipped, largest):
    """As :func:`deliver_lanes` for one sample: ``events`` (sources,), ``isyn`` (targets,)."""
    bound = largest
    for source in active:
        bound += events[source] * connections.peak[source]
    if bound > HIGHEST:
        _deliver_single_clamped(active, events, connections, isyn, clipped)
        return HIGHEST + 1
    if connections.dense.shape[0] > 0:
        _deliver_single_dense(active, events, connections.dense, isyn)
    else:
        _deliver_single_sparse(
            active, events, connections.first, connections.target, connections.weight, isyn
        )
    return bound
