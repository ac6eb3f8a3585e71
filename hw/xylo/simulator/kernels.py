"""The compiled core, with two orders of loops; :mod:`.reference` defines what they compute.

Importing this module imports Numba, so ``XyloSim`` does it at its first call.

* ``run_lanes``: 32 samples side by side, arrays (neurons, 32). A synapse is one vector operation however
  many of the samples have an event, and parameters are equal along the vector.
* ``run_single``: the neurons of one sample side by side, arrays (neurons,). Single events are followed.

Reordering is safe: a state sees only its own sources, in ascending order wherever a sum may be clamped.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from typing import NamedTuple

import numpy as np

from snnkit.utilities.compilation import disk_cached

from . import delivery as simulator_delivery
from . import neurons as simulator_neurons
from . import program as simulator_program
from . import recording as simulator_recording
from . import vectors as simulator_vectors
from .delivery import deliver_lanes, deliver_single
from .neurons import ZERO, decayed, fire, integrate, integrate_two
from .program import WIDTH
from .recording import record_lanes, record_single
from .vectors import (
    NOBODY,
    OPTIONS,
    add,
    compiled,
    count_bits,
    first_bit,
    highest_of,
    is_nonzero,
    load,
    lowest_of,
    maximum,
    minimum,
    splat,
    store,
    subtract,
    sum_of,
    without_first_bit,
)

__all__ = ["Recording", "Scratch", "Work", "run_lanes", "run_single"]

SPIKES, CAPPED, LOST, SATURATED_V, SATURATED_I = range(5)
"""Rows of the counter arrays; synapse 2 follows synapse 1."""

EVERYBODY = np.uint32(2**WIDTH - 1)


class Work(NamedTuple):
    """States of one share of a batch, int16, (neurons,) or (neurons, 32); updated in place."""

    isyn: np.ndarray
    vmem: np.ndarray
    events: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray
    events_out: np.ndarray


class Scratch(NamedTuple):
    """Working memory, of any content."""

    peaks: np.ndarray
    """(padded neurons,) int16."""
    peaks_out: np.ndarray
    active: np.ndarray
    """(padded sources + 1,) intp."""
    pending: np.ndarray
    tile: np.ndarray
    """(32 * 32,) int16."""
    tile_2: np.ndarray


class Recording(NamedTuple):
    """Flat arrays to fill with rows of neurons, empty where nothing is recorded; see :mod:`.recording`."""

    rows: tuple[int, int, int]
    """Row of the first sample at the first step, rows from sample to sample, and from step to step."""
    spikes: np.ndarray
    vmem: np.ndarray
    isyn: np.ndarray
    isyn_2: np.ndarray
    spikes_out: np.ndarray
    vmem_out: np.ndarray
    isyn_out: np.ndarray


_kernel = disk_cached(
    OPTIONS,
    simulator_delivery,
    simulator_neurons,
    simulator_program,
    simulator_recording,
    simulator_vectors,
)


@compiled
def _list_active(peaks, active):
    """Write the sources that have events into ``active``; return how many there are."""
    found = 0
    for source in range(peaks.shape[0]):
        active[found] = source
        found += peaks[source] != 0
    return found


@compiled
def _list_events(events, active):
    """As :func:`_list_active` for whole vectors of sources."""
    found = 0
    for start in range(0, events.shape[0], WIDTH):
        mask = is_nonzero(load(events, start))
        while mask != NOBODY:
            active[found] = start + first_bit(mask)
            found += 1
            mask = without_first_bit(mask)
    return found


@compiled
def _count(counts, row, start, mask):
    """Add a mask of 32 neurons to their counters."""
    while mask != NOBODY:
        counts[row, start + first_bit(mask)] += 1
        mask = without_first_bit(mask)


@compiled
def _copy_lanes(copies, target, cap, events, counts):
    """Copy events to an alias target."""
    total = add(load(events, target * WIDTH), copies)
    kept = minimum(total, cap)
    store(events, target * WIDTH, kept)
    lost = np.int64(sum_of(subtract(total, kept)))
    counts[LOST, target] += lost
    counts[SPIKES, target] += sum_of(copies) - lost


@compiled
def _step_lanes(layer, version, present, alias_first, alias_target, isyn, vmem, events, peaks, counts):
    """Decay, integrate and fire; ``peaks`` gets the largest event count of each neuron.

    Returns the largest magnitude in ``isyn``.
    """
    aliases, two, n_padded = alias_target.size > 0, layer.synapses == 2, vmem.shape[0]
    zero, cap = splat(ZERO), splat(np.int16(layer.cap))
    high, low = zero, zero
    if aliases:
        events[:] = 0
    for k in range(layer.size):
        at, at_2 = k * WIDTH, (n_padded + k) * WIDTH
        dash, bias = splat(layer.dash_mem[k]), splat(layer.bias[k])
        current = decayed(load(isyn, at), splat(layer.dash_syn[0, k]))
        store(isyn, at, current)
        high, low = maximum(high, current), minimum(low, current)
        if two:
            current_2 = decayed(load(isyn, at_2), splat(layer.dash_syn[1, k]))
            store(isyn, at_2, current_2)
            high, low = maximum(high, current_2), minimum(low, current_2)
            value, clamped = integrate_two(load(vmem, at), current, current_2, dash, bias, version)
        else:
            value, clamped = integrate(load(vmem, at), current, dash, bias, version)
        copied = load(events, at) if aliases else zero
        value, own, rounds, fired, above = fire(value, copied, splat(layer.threshold[k]), cap, present)
        store(vmem, at, value)
        store(events, at, own)
        peaks[k] = rounds
        counts[SPIKES, k] += fired
        counts[CAPPED, k] += count_bits(above)
        counts[SATURATED_V, k] += count_bits(np.uint32(clamped & present))
        for j in range(alias_first[k] if aliases else 0, alias_first[k + 1] if aliases else 0):
            _copy_lanes(own, alias_target[j], cap, events, counts)
    for k in range(layer.size if aliases else 0):
        peaks[k] = highest_of(load(events, k * WIDTH))
    return max(np.int64(highest_of(high)), -np.int64(lowest_of(low)))


@compiled
def _step_single(layer, version, aliases, isyn, vmem, events, counts):
    """As :func:`_step_lanes`; a layer with aliases does not fire yet."""
    dash_mem, dash_syn, biases, thresholds = layer.dash_mem, layer.dash_syn, layer.bias, layer.threshold
    two, n_padded, cap = layer.synapses == 2, vmem.shape[0], splat(np.int16(layer.cap))
    able = NOBODY if aliases else EVERYBODY
    high = low = splat(ZERO)
    for at in range(0, n_padded, WIDTH):
        dash, bias = load(dash_mem, at), load(biases, at)
        current = decayed(load(isyn, at), load(dash_syn, at))
        store(isyn, at, current)
        high, low = maximum(high, current), minimum(low, current)
        if two:
            at_2 = n_padded + at
            current_2 = decayed(load(isyn, at_2), load(dash_syn, at_2))
            store(isyn, at_2, current_2)
            high, low = maximum(high, current_2), minimum(low, current_2)
            value, clamped = integrate_two(load(vmem, at), current, current_2, dash, bias, version)
        else:
            value, clamped = integrate(load(vmem, at), current, dash, bias, version)
        value, own, _, _, above = fire(value, splat(ZERO), load(thresholds, at), cap, able)
        store(vmem, at, value)
        store(events, at, own)
        _count(counts, CAPPED, at, above)
        _count(counts, SATURATED_V, at, clamped)
    return max(np.int64(highest_of(high)), -np.int64(lowest_of(low)))


@compiled
def _fire_in_turn(layer, alias_first, alias_target, vmem, events, counts):
    """Fire neuron after neuron: events that were copied to one before count for its cap."""
    for k in range(layer.size):
        while vmem[k] >= layer.threshold[k] and events[k] < layer.cap:
            events[k] += 1
            vmem[k] = np.int16(vmem[k] - layer.threshold[k])
        counts[CAPPED, k] += vmem[k] >= layer.threshold[k]
        copies = events[k]
        for j in range(alias_first[k], alias_first[k + 1]):
            target = alias_target[j]
            total = events[target] + copies
            counts[LOST, target] += max(total - layer.cap, 0)
            events[target] = min(total, layer.cap)


@_kernel
def run_lanes(program, inputs, input_peaks, work, scratch, recording, lanes, hidden_counts, out_counts):
    """Run up to 32 samples side by side.

    Args:
        program: from ``compile_program``.
        inputs: int16 (time, channels, 32), event counts within the cap.
        input_peaks: int16 (time, channels), the largest count of each vector.
        work: the states, updated in place.
        scratch: working memory.
        recording: filled in place.
        lanes: number of samples; what stands behind them must be zero.
        hidden_counts: int64 (6, padded hidden neurons), added to.
        out_counts: the same for the output neurons.
    """
    n, n_hidden, n_output = work.vmem.shape[0], program.hidden.size, program.output.size
    rows = recording.rows
    clipped, clipped_out = hidden_counts[SATURATED_I:].reshape(-1), out_counts[SATURATED_I:].reshape(-1)
    peaks, peaks_out, active = scratch.peaks, scratch.peaks_out, scratch.active
    tile, tile_2 = scratch.tile, scratch.tile_2
    present = np.uint32(EVERYBODY >> np.uint32(WIDTH - lanes))
    no_aliases = program.alias_target[:0]
    largest = largest_out = 2**15
    for k in range(n):
        peaks[k] = highest_of(load(work.events, k * WIDTH))
    hidden, output, version = program.hidden, program.output, program.version
    from_input, recurrent, to_output = program.inputs, program.recurrent, program.outputs
    alias_first, alias_target = program.alias_first, program.alias_target
    isyn, vmem, events = work.isyn, work.vmem, work.events
    isyn_out, vmem_out, events_out = work.isyn_out, work.vmem_out, work.events_out
    for step in range(inputs.shape[0]):
        senders = active[: _list_active(input_peaks[step], active)]
        largest = deliver_lanes(senders, input_peaks[step], inputs[step], from_input, isyn, clipped, largest)
        senders = active[: _list_active(peaks[: hidden.size], active)]
        deliver_lanes(senders, peaks, events, recurrent, isyn, clipped, largest)
        deliver_lanes(senders, peaks, events, to_output, isyn_out, clipped_out, largest_out)
        largest = _step_lanes(
            hidden, version, present, alias_first, alias_target,
            isyn, vmem, events, peaks, hidden_counts,
        )  # fmt: skip
        largest_out = _step_lanes(
            output, version, present, alias_first, no_aliases,
            isyn_out, vmem_out, events_out, peaks_out, out_counts,
        )  # fmt: skip
        record_lanes(recording.spikes, rows, step, lanes, events, 0, n_hidden, tile, tile_2)
        record_lanes(recording.vmem, rows, step, lanes, vmem, 0, n_hidden, tile, tile_2)
        record_lanes(recording.isyn, rows, step, lanes, isyn, 0, n_hidden, tile, tile_2)
        record_lanes(recording.isyn_2, rows, step, lanes, isyn, n, n_hidden, tile, tile_2)
        record_lanes(recording.spikes_out, rows, step, lanes, events_out, 0, n_output, tile, tile_2)
        record_lanes(recording.vmem_out, rows, step, lanes, vmem_out, 0, n_output, tile, tile_2)
        record_lanes(recording.isyn_out, rows, step, lanes, isyn_out, 0, n_output, tile, tile_2)


@_kernel
def run_single(program, inputs, work, scratch, recording, hidden_counts, out_counts):
    """Run one sample: as :func:`run_lanes`, with ``inputs`` (time, padded channels) and states (neurons,)."""
    n, n_hidden, n_output = work.vmem.shape[0], program.hidden.size, program.output.size
    rows = recording.rows
    clipped, clipped_out = hidden_counts[SATURATED_I:].reshape(-1), out_counts[SATURATED_I:].reshape(-1)
    active, pending = scratch.active, scratch.pending
    largest = largest_out = 2**15
    hidden, output, version = program.hidden, program.output, program.version
    from_input, recurrent, to_output = program.inputs, program.recurrent, program.outputs
    alias_first, alias_target = program.alias_first, program.alias_target
    isyn, vmem, events = work.isyn, work.vmem, work.events
    isyn_out, vmem_out, events_out = work.isyn_out, work.vmem_out, work.events_out
    aliases = alias_target.size > 0
    n_pending = _list_events(events, pending)
    for step in range(inputs.shape[0]):
        senders = active[: _list_events(inputs[step], active)]
        largest = deliver_single(senders, inputs[step], from_input, isyn, clipped, largest)
        senders = pending[:n_pending]
        deliver_single(senders, events, recurrent, isyn, clipped, largest)
        deliver_single(senders, events, to_output, isyn_out, clipped_out, largest_out)
        largest = _step_single(hidden, version, aliases, isyn, vmem, events, hidden_counts)
        largest_out = _step_single(output, version, False, isyn_out, vmem_out, events_out, out_counts)
        if aliases:
            _fire_in_turn(hidden, alias_first, alias_target, vmem, events, hidden_counts)
        n_pending = _list_events(events, pending)
        for k in pending[:n_pending]:
            hidden_counts[SPIKES, k] += events[k]
        for k in active[: _list_events(events_out, active)]:
            out_counts[SPIKES, k] += events_out[k]
        record_single(recording.spikes, rows, step, events, 0, n_hidden)
        record_single(recording.vmem, rows, step, vmem, 0, n_hidden)
        record_single(recording.isyn, rows, step, isyn, 0, n_hidden)
        record_single(recording.isyn_2, rows, step, isyn, n, n_hidden)
        record_single(recording.spikes_out, rows, step, events_out, 0, n_output)
        record_single(recording.vmem_out, rows, step, vmem_out, 0, n_output)
        record_single(recording.isyn_out, rows, step, isyn_out, 0, n_output)
