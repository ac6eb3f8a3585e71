"""The compiled core, with two orders of loops; :mod:`.reference` defines what they compute.

Importing this module imports Numba, so ``XyloSim`` does it at its first call.

* ``run_lanes``: 32 samples side by side, arrays (neurons, 32). A synapse is one vector operation however
  many of the samples have an event, and parameters are equal along the vector.
* ``run_single``: the neurons of one sample side by side, arrays (neurons,). Single events are followed.

Reordering is safe: a state sees only its own sources, in ascending order, and ``n`` clamped additions of a
weight equal one clamped addition of ``n`` times the weight.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from . import arithmetic as simulator_arithmetic
from . import program as simulator_program
from .arithmetic import (
    ONE,
    OPTIONS,
    ZERO,
    add_scaled,
    compiled,
    decay,
    membrane,
    multiply,
    subtract,
)
from .program import WIDTH

__all__ = ["Recording", "Work", "run_lanes", "run_single"]

LOWEST = np.int16(-(2**15))
SPIKES, CAPPED, LOST, SATURATED_V, SATURATED_I = range(5)
"""Rows of the counter arrays; synapse 2 follows synapse 1."""


class Work(NamedTuple):
    """States of one share of a batch, int16, (neurons,) or (neurons, 32); updated in place."""

    isyn: np.ndarray
    vmem: np.ndarray
    events: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray
    events_out: np.ndarray


class Recording(NamedTuple):
    """Arrays (samples, time, neurons) to fill; those without samples are not recorded."""

    spikes: np.ndarray
    vmem: np.ndarray
    isyn: np.ndarray
    isyn_2: np.ndarray
    spikes_out: np.ndarray
    vmem_out: np.ndarray
    isyn_out: np.ndarray


def _kernel(function: Callable[..., Any]) -> Any:
    """Compile an entry point, and keep it on disk where any cache folder can be written."""
    # Numba looks for changes in this file only; the name of the cache entry watches the others.
    sources = (
        Path(str(module.__file__)).read_bytes() for module in (simulator_arithmetic, simulator_program)
    )
    function.__qualname__ += "_" + hashlib.sha256(b"".join(sources)).hexdigest()[:12]
    try:
        return njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writeable
        return compiled(function)


@compiled
def _deliver_exactly(source, n, lane, connections, isyn, clipped):
    """Deliver ``n`` events of one source in one lane, whatever the size of their weights."""
    weights, targets = connections.weight, connections.target
    for j in range(connections.first[source], connections.first[source + 1]):
        target = targets[j]
        total = isyn[target, lane] + n * weights[j]
        kept = np.int16(total)
        if kept != total:
            kept = np.int16(min(max(total, -32768), 32767))
            clipped[target] += 1
        isyn[target, lane] = kept


@compiled
def _deliver_lanes(events, peaks, connections, isyn, clipped):
    """Deliver ``events`` (sources, 32) to ``isyn``; ``peaks`` (sources,) are the largest counts."""
    for source in range(peaks.shape[0]):
        if peaks[source] == 0:
            continue
        if connections.peak[source] * peaks[source] > 32767:
            for lane in range(WIDTH):
                _deliver_exactly(source, events[source, lane], lane, connections, isyn, clipped)
            continue
        for j in range(connections.first[source], connections.first[source + 1]):
            target = np.intp(connections.target[j])
            mask = add_scaled(isyn, target * WIDTH, events, source * WIDTH, connections.weight[j])
            while mask != 0:
                clipped[target] += 1
                mask &= mask - np.uint32(1)


@compiled
def _deliver_row(source, n, dense, isyn, clipped):
    for start in range(0, dense.shape[1], WIDTH):
        mask = add_scaled(isyn, start, dense, source * dense.shape[1] + start, n)
        for bit in range(WIDTH if mask != 0 else 0):
            clipped[start + bit] += (mask >> np.uint32(bit)) & np.uint32(1)


@compiled
def _find_active(events, active):
    """Write the sources that have events into ``active``; return how many there are."""
    found = 0
    quads = events.view(np.int64)
    for quad in range(quads.shape[0]):
        if quads[quad] != 0:
            for source in range(4 * quad, 4 * quad + 4):
                active[found] = source
                found += events[source] != 0
    return found


@compiled
def _deliver_single(active, events, connections, isyn, clipped):
    """Deliver the events of ``active`` sources to ``isyn``, as whole rows of weights where they are dense."""
    dense = connections.dense
    column = isyn.reshape(-1, 1)
    for source in active:
        n = events[source]
        if dense.shape[0] == 0 or connections.peak[source] * n > 32767:
            _deliver_exactly(source, n, 0, connections, column, clipped)
        else:
            _deliver_row(source, n, dense, isyn, clipped)


@compiled
def _integrate_lanes(layer, version, isyn, vmem, flags, peaks, counts):
    """Decay and integrate; ``peaks`` gets the largest membrane state of each neuron."""
    two, n_padded = layer.synapses == 2, vmem.shape[0]
    for k in range(layer.size):
        dash_mem, bias, dash = layer.dash_mem[k], layer.bias[k], layer.dash_syn[0, k]
        peak, any_clamped = LOWEST, ZERO
        # Two loops, because a test inside would keep the vectoriser out.
        if two:
            dash_2, k_2 = layer.dash_syn[1, k], n_padded + k
            for i in range(WIDTH):
                isyn[k, i] = current = subtract(isyn[k, i], decay(isyn[k, i], dash))
                isyn[k_2, i] = current_2 = subtract(isyn[k_2, i], decay(isyn[k_2, i], dash_2))
                new, clamped = membrane(vmem[k, i], current, current_2, dash_mem, bias, version)
                vmem[k, i] = new
                flags[i] = clamped
                any_clamped |= clamped
                peak = max(peak, new)
        else:
            for i in range(WIDTH):
                isyn[k, i] = current = subtract(isyn[k, i], decay(isyn[k, i], dash))
                new, clamped = membrane(vmem[k, i], current, ZERO, dash_mem, bias, version)
                vmem[k, i] = new
                flags[i] = clamped
                any_clamped |= clamped
                peak = max(peak, new)
        peaks[k] = peak
        for i in range(WIDTH if any_clamped != 0 else 0):
            counts[SATURATED_V, k] += flags[i] != 0


@compiled
def _integrate_single(layer, version, isyn, vmem, flags, counts):
    n_padded = vmem.shape[0]
    for s in range(layer.synapses):
        row, dashes = isyn[s * n_padded : (s + 1) * n_padded], layer.dash_syn[s]
        for k in range(n_padded):
            row[k] = subtract(row[k], decay(row[k], dashes[k]))
    any_clamped = ZERO
    if layer.synapses == 2:
        for k in range(n_padded):
            vmem[k], flags[k] = membrane(
                vmem[k], isyn[k], isyn[n_padded + k], layer.dash_mem[k], layer.bias[k], version
            )
            any_clamped |= flags[k]
    else:
        for k in range(n_padded):
            vmem[k], flags[k] = membrane(vmem[k], isyn[k], ZERO, layer.dash_mem[k], layer.bias[k], version)
            any_clamped |= flags[k]
    for k in range(n_padded if any_clamped != 0 else 0):
        counts[SATURATED_V, k] += flags[k] != 0


@compiled
def _fire(k, lane, threshold, cap, vmem, events, counts):
    """Fire neuron ``k``; events that were copied to it before count for its cap."""
    v, n = vmem[k, lane], events[k, lane]
    if threshold > 0:
        if v >= threshold and n < cap:
            # A division takes longer than all the rest, and is seldom needed.
            fired = 1 if v < 2 * threshold else min(v // threshold, cap - n)
            n += fired
            v -= fired * threshold
    else:
        while v >= threshold and n < cap:
            n += 1
            v = np.int16(v - threshold)
    vmem[k, lane], events[k, lane] = v, n
    counts[CAPPED, k] += v >= threshold


@compiled
def _copy_events(k, lane, cap, alias_first, alias_target, events, counts):
    """Copy the events of neuron ``k`` to its alias targets."""
    copies = events[k, lane]
    for j in range(alias_first[k], alias_first[k + 1] if copies != 0 else alias_first[k]):
        target = alias_target[j]
        total = events[target, lane] + copies
        counts[LOST, target] += max(total - cap, 0)
        events[target, lane] = min(total, cap)


@compiled
def _fire_lanes(layer, lanes, alias_first, alias_target, peaks, vmem, events, counts):
    """Fire a layer, then leave in ``peaks`` the largest event count of each neuron."""
    aliases = alias_target.size > 0
    for k in range(layer.size):
        threshold = layer.threshold[k]
        if not aliases and 0 < threshold <= peaks[k] < 2 * threshold:
            for i in range(WIDTH):
                n = ONE if vmem[k, i] >= threshold else ZERO
                events[k, i] = n
                vmem[k, i] = subtract(vmem[k, i], multiply(n, threshold))
        elif peaks[k] >= threshold:
            for i in range(lanes):
                _fire(k, i, threshold, layer.cap, vmem, events, counts)
        for i in range(lanes if aliases else 0):
            _copy_events(k, i, layer.cap, alias_first, alias_target, events, counts)
    for k in range(layer.size):
        peak = ZERO
        for i in range(WIDTH):
            peak = max(peak, events[k, i])
        peaks[k] = peak
        for i in range(WIDTH if peak > 0 else 0):
            counts[SPIKES, k] += events[k, i]


@compiled
def _fire_single(layer, alias_first, alias_target, vmem, flags, events, counts):
    aliases, threshold = alias_target.size > 0, layer.threshold
    vmem_column, event_column = vmem.reshape(-1, 1), events.reshape(-1, 1)
    for k in range(vmem.shape[0]):
        flags[k] = ONE if vmem[k] >= threshold[k] else ZERO
    quads = flags.view(np.int64)
    for quad in range(quads.shape[0]):
        if quads[quad] == 0 and not aliases:
            continue
        for k in range(4 * quad, min(4 * quad + 4, layer.size)):
            if flags[k] != 0:
                _fire(k, 0, threshold[k], layer.cap, vmem_column, event_column, counts)
            if aliases:
                _copy_events(k, 0, layer.cap, alias_first, alias_target, event_column, counts)
            else:
                counts[SPIKES, k] += events[k]
    for k in range(layer.size if aliases else 0):
        counts[SPIKES, k] += events[k]


@compiled
def _record(array, step, values):
    """Write ``values`` (neurons, lanes) into ``array[:, step]``, if it is wanted."""
    # Groups of neurons keep the strided reads within the first cache.
    for start in range(0, array.shape[2], WIDTH):
        for lane in range(array.shape[0]):
            row = array[lane, step]
            for k in range(start, min(start + WIDTH, array.shape[2])):
                row[k] = values[k, lane]


@compiled
def _record_all(recording, step, work, n_padded):
    _record(recording.spikes, step, work.events)
    _record(recording.vmem, step, work.vmem)
    _record(recording.isyn, step, work.isyn)
    _record(recording.isyn_2, step, work.isyn[n_padded:])
    _record(recording.spikes_out, step, work.events_out)
    _record(recording.vmem_out, step, work.vmem_out)
    _record(recording.isyn_out, step, work.isyn_out)


@_kernel
def run_lanes(program, inputs, input_peaks, work, recording, lanes, hidden_counts, out_counts):
    """Run up to 32 samples side by side.

    Args:
        program: from ``compile_program``.
        inputs: int16 (time, channels, 32), event counts within the cap.
        input_peaks: int16 (time, channels), the largest count of each vector.
        work: the states, updated in place.
        recording: filled in place.
        lanes: number of samples; what stands behind them must be zero.
        hidden_counts: int64 (6, padded hidden neurons), added to.
        out_counts: the same for the output neurons.
    """
    n, n_out = work.vmem.shape[0], work.vmem_out.shape[0]
    clipped, clipped_out = hidden_counts[SATURATED_I:].reshape(-1), out_counts[SATURATED_I:].reshape(-1)
    flags, peaks, peaks_out = np.zeros(WIDTH, np.int16), np.zeros(n, np.int16), np.zeros(n_out, np.int16)
    no_aliases = program.alias_target[:0]
    for k in range(n):
        peaks[k] = work.events[k].max()
    # Numba counts references wherever a field is taken out of a tuple: not in the loop.
    hidden, output, version = program.hidden, program.output, program.version
    from_input, recurrent, to_output = program.inputs, program.recurrent, program.outputs
    alias_first, alias_target = program.alias_first, program.alias_target
    isyn, vmem, events = work.isyn, work.vmem, work.events
    isyn_out, vmem_out, events_out = work.isyn_out, work.vmem_out, work.events_out
    for step in range(inputs.shape[0]):
        pending = peaks[: hidden.size]
        _deliver_lanes(inputs[step], input_peaks[step], from_input, isyn, clipped)
        _deliver_lanes(events, pending, recurrent, isyn, clipped)
        _deliver_lanes(events, pending, to_output, isyn_out, clipped_out)
        events[:] = 0
        events_out[:] = 0
        _integrate_lanes(hidden, version, isyn, vmem, flags, peaks, hidden_counts)
        _integrate_lanes(output, version, isyn_out, vmem_out, flags, peaks_out, out_counts)
        if lanes < WIDTH:  # samples that do not exist stay at rest, whatever the bias
            vmem[:, lanes:] = 0
            vmem_out[:, lanes:] = 0
        _fire_lanes(
            hidden, lanes, alias_first, alias_target,
            peaks, vmem, events, hidden_counts,
        )  # fmt: skip
        _fire_lanes(
            output, lanes, alias_first, no_aliases,
            peaks_out, vmem_out, events_out, out_counts,
        )  # fmt: skip
        _record_all(recording, step, work, n)


@_kernel
def run_single(program, inputs, work, recording, hidden_counts, out_counts):
    """Run one sample: as :func:`run_lanes`, with ``inputs`` (time, padded channels) and states (neurons,)."""
    n = work.vmem.shape[0]
    clipped, clipped_out = hidden_counts[SATURATED_I:].reshape(-1), out_counts[SATURATED_I:].reshape(-1)
    flags, flags_out = np.zeros(n, np.int16), np.zeros(work.vmem_out.shape[0], np.int16)
    active = np.zeros(max(n, inputs.shape[1]) + 1, np.intp)
    no_aliases = program.alias_target[:0]
    columns = Work(
        work.isyn.reshape(-1, 1), work.vmem.reshape(-1, 1), work.events.reshape(-1, 1),
        work.isyn_out.reshape(-1, 1), work.vmem_out.reshape(-1, 1), work.events_out.reshape(-1, 1),
    )  # fmt: skip
    # Numba counts references wherever a field is taken out of a tuple: not in the loop.
    hidden, output, version = program.hidden, program.output, program.version
    from_input, recurrent, to_output = program.inputs, program.recurrent, program.outputs
    alias_first, alias_target = program.alias_first, program.alias_target
    isyn, vmem, events = work.isyn, work.vmem, work.events
    isyn_out, vmem_out, events_out = work.isyn_out, work.vmem_out, work.events_out
    for step in range(inputs.shape[0]):
        senders = active[: _find_active(inputs[step], active)]
        _deliver_single(senders, inputs[step], from_input, isyn, clipped)
        senders = active[: _find_active(events, active)]
        _deliver_single(senders, events, recurrent, isyn, clipped)
        _deliver_single(senders, events, to_output, isyn_out, clipped_out)
        events[:] = 0
        events_out[:] = 0
        _integrate_single(hidden, version, isyn, vmem, flags, hidden_counts)
        _integrate_single(output, version, isyn_out, vmem_out, flags_out, out_counts)
        _fire_single(
            hidden, alias_first, alias_target,
            vmem, flags, events, hidden_counts,
        )  # fmt: skip
        _fire_single(
            output, alias_first, no_aliases,
            vmem_out, flags_out, events_out, out_counts,
        )  # fmt: skip
        _record_all(recording, step, columns, n)
