"""The compiled core, with two orders of loops; :mod:`.reference` defines what they compute.

Importing this module imports Numba, so ``XyloSim`` does it at its first call.

* Lanes: 32 samples side by side. Sample ``b`` of neuron ``k`` stands at ``k * 32 + b``, a synapse is one
  vector operation however many samples have an event, and parameters are equal along the vector.
* Single: the neurons of one sample side by side; single events are followed.

In the code, ``stride`` is the distance between neighbouring neurons: 32 or 1.

Arithmetic stays in 16 bits (Numba alone would widen it to 64), so that a register holds four times as many
numbers. Reordering is safe: a state sees only its own sources, in ascending order, and ``n`` clamped
additions of a weight equal one clamped addition of ``n`` times the weight.

All kernel code stands in this one file, because Numba's disk cache notices changes file by file.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .simulator_program import WIDTH

__all__ = ["Recording", "State", "run"]

ZERO, ONE = np.int16(0), np.int16(1)
LOWEST = np.int16(-(2**15))
SPIKES, CAPPED, LOST, SATURATED_V, SATURATED_I = range(5)
"""Rows of the counter arrays; synapse 2 follows synapse 1."""


class State(NamedTuple):
    """int16 arrays (batch, ..., neurons); ``isyn`` (batch, synapses, neurons)."""

    isyn: np.ndarray
    vmem: np.ndarray
    spikes: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray


class Recording(NamedTuple):
    """Arrays (batch, time, neurons) to fill; those of batch size 0 are not recorded."""

    spikes: np.ndarray
    vmem: np.ndarray
    isyn: np.ndarray
    isyn_2: np.ndarray
    spikes_out: np.ndarray
    vmem_out: np.ndarray
    isyn_out: np.ndarray
    hibernation: np.ndarray


class Work(NamedTuple):
    """The working copies of one kernel call, flat: sample ``b`` of neuron ``k`` at ``k * stride + b``."""

    inputs: np.ndarray
    isyn: np.ndarray
    vmem: np.ndarray
    events: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray
    events_out: np.ndarray


_OPTIONS = {"nogil": True, "error_model": "numpy"}

_compiled = njit(**_OPTIONS)
"""For what stands inside the entry point: kept in the cache as a part of it."""


def _entry_point(function: Callable[..., Any]) -> Any:
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writeable
        return _compiled(function)


_BINARY = types.int16(types.int16, types.int16)
_VECTOR = ir.VectorType(ir.IntType(16), WIDTH)


def _saturating_add(builder: Any, a: Any, b: Any, name: str) -> Any:
    kind = ir.FunctionType(a.type, [a.type, a.type])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [a, b])


@intrinsic
def _shift_right(_typing, value, amount):  # type: ignore[no-untyped-def]
    return _BINARY, lambda _c, builder, _s, arguments: builder.ashr(*arguments)


@intrinsic
def _add(_typing, a, b):  # type: ignore[no-untyped-def]
    """The low 16 bits of a + b."""
    return _BINARY, lambda _c, builder, _s, arguments: builder.add(*arguments)


@intrinsic
def _subtract(_typing, a, b):  # type: ignore[no-untyped-def]
    """The low 16 bits of a - b."""
    return _BINARY, lambda _c, builder, _s, arguments: builder.sub(*arguments)


@intrinsic
def _multiply(_typing, a, b):  # type: ignore[no-untyped-def]
    """The low 16 bits of a * b."""
    return _BINARY, lambda _c, builder, _s, arguments: builder.mul(*arguments)


@intrinsic
def _add_clamped(_typing, a, b):  # type: ignore[no-untyped-def]
    def generate(_c, builder, _s, arguments):  # type: ignore[no-untyped-def]
        return _saturating_add(builder, *arguments, "llvm.sadd.sat.i16")

    return _BINARY, generate


@intrinsic
def _add_scaled(_typing, sums, first_sum, values, first_value, factor):  # type: ignore[no-untyped-def]
    """sums[i] = clamp(sums[i] + values[i] * factor) for WIDTH neighbours; the products must fit 16 bits.

    Returns an integer with a bit set for each sum that was clamped. Written as vectors because the loop
    would be checked for overlap of its arrays again at every synapse.
    """
    signature = types.uint32(sums, types.intp, values, types.intp, types.int16)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def vector_at(position):  # type: ignore[no-untyped-def]
            array = context.make_array(signature.args[position])(context, builder, arguments[position])
            address = builder.gep(array.data, [arguments[position + 1]])
            return builder.bitcast(address, _VECTOR.as_pointer())

        sums_at = vector_at(0)
        old = builder.load(sums_at, align=2)
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        single = builder.insert_element(undefined, arguments[4], ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        factors = builder.shuffle_vector(single, undefined, zeros)
        product = builder.mul(builder.load(vector_at(2), align=2), factors)
        clamped = _saturating_add(builder, old, product, f"llvm.sadd.sat.v{WIDTH}i16")
        builder.store(clamped, sums_at, align=2)
        differs = builder.icmp_signed("!=", clamped, builder.add(old, product))
        return builder.bitcast(differs, ir.IntType(WIDTH))

    return signature, generate


@_compiled
def _decay(value, dash):  # type: ignore[no-untyped-def]
    # The shift leaves 0 of a small positive value, where the chip takes 1; a negative one is never 0.
    return max(_shift_right(value, dash), min(value, ONE))


@_compiled
def _sum_of_three(a, b, c):  # type: ignore[no-untyped-def]
    """Return clamp(a + b + c), though only 16 bits are at hand."""
    clamped = _add_clamped(a, b)
    excess = _subtract(_add(a, b), clamped)
    return _add_clamped(clamped, _add_clamped(excess, c))


@_compiled
def _membrane(value, isyn, isyn_2, dash, bias, version):  # type: ignore[no-untyped-def]
    """Return the new membrane state, its increment, and non-zero if any sum was clamped.

    Version 1 adds the current to the decayed state, version 2 saturates the increment before adding it.
    """
    decayed, old = (value, ZERO) if version == 1 else (ZERO, value)
    base = _subtract(decayed, _decay(value, dash))
    total = _sum_of_three(isyn, isyn_2, base)
    increment = _add_clamped(total, bias)
    new = _add_clamped(old, increment)
    clamped = total ^ _add(_add(isyn, isyn_2), base)
    clamped |= increment ^ _add(total, bias)
    clamped |= new ^ _add(old, increment)
    return new, increment, clamped


@_compiled
def _deliver_exactly(source, n, at, stride, connections, isyn, clipped):  # type: ignore[no-untyped-def]
    """Deliver ``n`` events of one source in one lane, ``at``, whatever the size of their weights."""
    for j in range(connections.first[source], connections.first[source + 1]):
        target = connections.target[j]
        total = isyn[target * stride + at] + n * connections.weight[j]
        if total > 32767:
            total = 32767
            clipped[target] += 1
        elif total < -32768:
            total = -32768
            clipped[target] += 1
        isyn[target * stride + at] = total


@_compiled
def _deliver_lanes(events, peaks, connections, isyn, clipped):  # type: ignore[no-untyped-def]
    for source in range(peaks.shape[0]):
        if peaks[source] == 0:
            continue
        if connections.peak[source] * peaks[source] > 32767:
            for lane in range(WIDTH):
                n = events[source * WIDTH + lane]
                _deliver_exactly(source, n, lane, WIDTH, connections, isyn, clipped)
            continue
        for j in range(connections.first[source], connections.first[source + 1]):
            target = np.intp(connections.target[j])
            mask = _add_scaled(isyn, target * WIDTH, events, source * WIDTH, connections.weight[j])
            while mask != 0:
                clipped[target] += 1
                mask &= mask - np.uint32(1)


@_compiled
def _deliver_single(events, connections, isyn, clipped):  # type: ignore[no-untyped-def]
    dense = connections.dense
    for source in range(events.shape[0]):
        n = events[source]
        if n == 0:
            continue
        if dense.shape[0] == 0 or connections.peak[source] * n > 32767:
            _deliver_exactly(source, n, 0, 1, connections, isyn, clipped)
            continue
        for start in range(0, dense.shape[1], WIDTH):
            mask = _add_scaled(isyn, start, dense, source * dense.shape[1] + start, n)
            for bit in range(WIDTH if mask != 0 else 0):
                clipped[start + bit] += (mask >> np.uint32(bit)) & np.uint32(1)


@_compiled
def _integrate_lanes(layer, version, isyn, vmem, flags, peaks, counts):  # type: ignore[no-untyped-def]
    """Decay and integrate; ``peaks`` gets the largest membrane state of each neuron."""
    two = layer.synapses == 2
    n_padded = vmem.shape[0]
    for k in range(layer.size):
        dash_mem, bias, dash = layer.dash_mem[k], layer.bias[k], layer.dash_syn[0, k]
        peak, any_clamped = LOWEST, ZERO
        # Two loops, because a test inside would keep the vectoriser out.
        if two:
            dash_2, k_2 = layer.dash_syn[1, k], n_padded + k
            for i in range(WIDTH):
                isyn[k, i] = current = _subtract(isyn[k, i], _decay(isyn[k, i], dash))
                isyn[k_2, i] = current_2 = _subtract(isyn[k_2, i], _decay(isyn[k_2, i], dash_2))
                new, _, clamped = _membrane(vmem[k, i], current, current_2, dash_mem, bias, version)
                vmem[k, i] = new
                flags[i] = clamped
                any_clamped |= clamped
                peak = max(peak, new)
        else:
            for i in range(WIDTH):
                isyn[k, i] = current = _subtract(isyn[k, i], _decay(isyn[k, i], dash))
                new, _, clamped = _membrane(vmem[k, i], current, ZERO, dash_mem, bias, version)
                vmem[k, i] = new
                flags[i] = clamped
                any_clamped |= clamped
                peak = max(peak, new)
        peaks[k] = peak
        for i in range(WIDTH if any_clamped != 0 else 0):
            counts[SATURATED_V, k] += flags[i] != 0


@_compiled
def _integrate_single(layer, version, isyn, vmem, flags, counts):  # type: ignore[no-untyped-def]
    n_padded = vmem.shape[0]
    for s in range(layer.synapses):
        row, dashes = isyn[s * n_padded : (s + 1) * n_padded], layer.dash_syn[s]
        for k in range(n_padded):
            row[k] = _subtract(row[k], _decay(row[k], dashes[k]))
    any_clamped = ZERO
    if layer.synapses == 2:
        for k in range(n_padded):
            state = _membrane(vmem[k], isyn[k], isyn[n_padded + k], layer.dash_mem[k], layer.bias[k], version)
            vmem[k], _, flags[k] = state
            any_clamped |= flags[k]
    else:
        for k in range(n_padded):
            vmem[k], _, flags[k] = _membrane(
                vmem[k], isyn[k], ZERO, layer.dash_mem[k], layer.bias[k], version
            )
            any_clamped |= flags[k]
    for k in range(n_padded if any_clamped != 0 else 0):
        counts[SATURATED_V, k] += flags[k] != 0


@_compiled
def _fire(layer, k, at, vmem, events, counts):  # type: ignore[no-untyped-def]
    """Fire neuron ``k``, whose state stands at ``at``; events copied to it before count for its cap."""
    threshold, n = layer.threshold[k], events[at]
    if threshold > 0:
        if vmem[at] >= threshold and n < layer.cap:
            fired = min(np.int16(vmem[at] // threshold), np.int16(layer.cap - n))
            n += fired
            vmem[at] -= fired * threshold
    else:
        while vmem[at] >= threshold and n < layer.cap:
            n += 1
            vmem[at] = np.int16(vmem[at] - threshold)
    events[at] = n
    counts[CAPPED, k] += vmem[at] >= threshold


@_compiled
def _copy_events(program, k, at, stride, events, counts):  # type: ignore[no-untyped-def]
    """Copy the events of neuron ``k`` in lane ``at`` to its alias targets."""
    copies = events[k * stride + at]
    if copies == 0:
        return
    for j in range(program.alias_first[k], program.alias_first[k + 1]):
        target = program.alias_target[j]
        total = events[target * stride + at] + copies
        counts[LOST, target] += max(total - program.hidden.cap, 0)
        events[target * stride + at] = min(total, program.hidden.cap)


@_compiled
def _fire_lanes(layer, program, aliases, lanes, peaks, vmem, events, counts):  # type: ignore[no-untyped-def]
    """Fire a layer, then leave in ``peaks`` the largest event count of each neuron."""
    flat_vmem, flat_events = vmem.reshape(-1), events.reshape(-1)
    for k in range(layer.size):
        threshold = layer.threshold[k]
        if not aliases and 0 < threshold <= peaks[k] < 2 * threshold:
            for i in range(WIDTH):
                n = ONE if vmem[k, i] >= threshold else ZERO
                events[k, i] = n
                vmem[k, i] = _subtract(vmem[k, i], _multiply(n, threshold))
        elif peaks[k] >= threshold:
            for i in range(lanes):
                _fire(layer, k, k * WIDTH + i, flat_vmem, flat_events, counts)
        if aliases and program.alias_first[k] < program.alias_first[k + 1]:
            for i in range(lanes):
                _copy_events(program, k, i, WIDTH, flat_events, counts)
    for k in range(layer.size):
        peak = ZERO
        for i in range(WIDTH):
            peak = max(peak, events[k, i])
        peaks[k] = peak
        for i in range(WIDTH if peak > 0 else 0):
            counts[SPIKES, k] += events[k, i]


@_compiled
def _fire_single(layer, program, aliases, vmem, events, counts):  # type: ignore[no-untyped-def]
    for start in range(0, vmem.shape[0], WIDTH):
        ready = False
        for k in range(start, start + WIDTH):
            ready |= vmem[k] >= layer.threshold[k]
        # A copied event can come to any neuron, also from this very group.
        if not ready and not aliases:
            continue
        for k in range(start, min(start + WIDTH, layer.size)):
            if vmem[k] >= layer.threshold[k]:
                _fire(layer, k, k, vmem, events, counts)
            if aliases:
                _copy_events(program, k, 0, 1, events, counts)
    for k in range(layer.size):
        counts[SPIKES, k] += events[k]


@_compiled
def _is_awake(layer, version, lane, stride, isyn, vmem):  # type: ignore[no-untyped-def]
    """Return whether, after delivery, any neuron has a current to decay or a membrane increment."""
    n_padded = vmem.size // stride
    for k in range(layer.size):
        for s in range(layer.synapses):
            if isyn[(s * n_padded + k) * stride + lane] != 0:
                return True
        value = vmem[k * stride + lane]
        _, increment, _ = _membrane(value, ZERO, ZERO, layer.dash_mem[k], layer.bias[k], version)
        if increment != 0:
            return True
    return False


@_compiled
def _record(array, step, first, lanes, stride, values):  # type: ignore[no-untyped-def]
    """Write the states of all lanes into ``array[first : first + lanes, step]``, if it is wanted."""
    if array.shape[0] == 0:
        return
    # Groups of neurons keep the strided reads within the first cache.
    for start in range(0, array.shape[2], WIDTH):
        for lane in range(lanes):
            row = array[first + lane, step]
            for k in range(start, min(start + WIDTH, array.shape[2])):
                row[k] = values[k * stride + lane]


@_compiled
def _exchange(states, values, first, lanes, stride, store):  # type: ignore[no-untyped-def]
    """Copy (batch, neurons) ``states`` into the working array, or back if ``store``."""
    for lane in range(lanes):
        for k in range(states.shape[1]):
            if store:
                states[first + lane, k] = values[k * stride + lane]
            else:
                values[k * stride + lane] = states[first + lane, k]


@_compiled
def _zeros(size):  # type: ignore[no-untyped-def]
    """Return zeros that begin at a cache line: vectors that straddle two cost a quarter more."""
    raw = np.zeros(size + WIDTH, np.int16)
    skip = -(np.int64(raw.ctypes.data) // 2) % WIDTH
    return raw[skip : skip + size]


@_compiled
def _any_event(values, lane, stride):  # type: ignore[no-untyped-def]
    for position in range(lane, values.size, stride):
        if values[position] != 0:
            return True
    return False


@_compiled
def _record_hibernation(program, work, recording, step, first, lanes, stride, earlier):  # type: ignore[no-untyped-def]
    """Record, between delivery and update, in which lanes the core could sleep in this step."""
    if recording.hibernation.shape[0] == 0:
        return
    for lane in range(lanes):
        delivered = _any_event(work.inputs, lane, stride) or _any_event(work.events, lane, stride)
        active = _is_awake(program.hidden, program.version, lane, stride, work.isyn, work.vmem)
        if not active:
            active = _is_awake(program.output, program.version, lane, stride, work.isyn_out, work.vmem_out)
        awake = delivered or (earlier[lane] if program.has_bias else active)
        recording.hibernation[first + lane, step, 0] = not awake
        earlier[lane] = delivered or active


@_compiled
def _deliver(program, work, input_peaks, peaks, stride, hidden_counts, out_counts):  # type: ignore[no-untyped-def]
    clipped, clipped_out = hidden_counts[SATURATED_I:].reshape(-1), out_counts[SATURATED_I:].reshape(-1)
    if stride == WIDTH:
        _deliver_lanes(work.inputs, input_peaks, program.inputs, work.isyn, clipped)
        _deliver_lanes(work.events, peaks, program.recurrent, work.isyn, clipped)
        _deliver_lanes(work.events, peaks, program.outputs, work.isyn_out, clipped_out)
    else:
        events = work.events[: program.hidden.size]
        _deliver_single(work.inputs, program.inputs, work.isyn, clipped)
        _deliver_single(events, program.recurrent, work.isyn, clipped)
        _deliver_single(events, program.outputs, work.isyn_out, clipped_out)


@_compiled
def _update(program, layer, hidden, lanes, stride, isyn, vmem, events, peaks, flags, counts):  # type: ignore[no-untyped-def]
    aliases = hidden and program.has_aliases
    events[:] = 0
    if stride == WIDTH:
        grid = vmem.reshape(-1, WIDTH)
        _integrate_lanes(layer, program.version, isyn.reshape(-1, WIDTH), grid, flags, peaks, counts)
        if lanes < WIDTH:  # samples that do not exist stay at rest, whatever their bias
            grid[:, lanes:] = 0
        _fire_lanes(layer, program, aliases, lanes, peaks, grid, events.reshape(-1, WIDTH), counts)
    else:
        _integrate_single(layer, program.version, isyn, vmem, flags, counts)
        _fire_single(layer, program, aliases, vmem, events, counts)


@_compiled
def _load_inputs(raster, step, first, lanes, stride, inputs, peaks):  # type: ignore[no-untyped-def]
    for channel in range(peaks.shape[0]):
        peak = ZERO
        for lane in range(lanes):
            n = np.int16(raster[first + lane, step, channel])
            inputs[channel * stride + lane] = n
            peak = max(peak, n)
        peaks[channel] = peak


@_compiled
def _record_all(program, work, recording, step, first, lanes, stride):  # type: ignore[no-untyped-def]
    _record(recording.spikes, step, first, lanes, stride, work.events)
    _record(recording.vmem, step, first, lanes, stride, work.vmem)
    _record(recording.isyn, step, first, lanes, stride, work.isyn)
    _record(recording.isyn_2, step, first, lanes, stride, work.isyn[work.vmem.size :])
    _record(recording.spikes_out, step, first, lanes, stride, work.events_out)
    _record(recording.vmem_out, step, first, lanes, stride, work.vmem_out)
    _record(recording.isyn_out, step, first, lanes, stride, work.isyn_out)


@_compiled
def _exchange_all(program, work, state, first, lanes, stride, store):  # type: ignore[no-untyped-def]
    for s in range(program.hidden.synapses):
        _exchange(state.isyn[:, s], work.isyn[s * work.vmem.size :], first, lanes, stride, store)
    _exchange(state.vmem, work.vmem, first, lanes, stride, store)
    _exchange(state.spikes, work.events, first, lanes, stride, store)
    _exchange(state.isyn_out, work.isyn_out, first, lanes, stride, store)
    _exchange(state.vmem_out, work.vmem_out, first, lanes, stride, store)


@_entry_point
def run(program, raster, state, recording, first, lanes, stride, hidden_counts, out_counts):  # type: ignore[no-untyped-def]
    """Run samples ``first .. first + lanes - 1`` of ``raster`` (batch, time, channels), uint8 counts within the cap.

    Args:
        program: from ``compile_program``.
        raster: event counts.
        state: updated in place.
        recording: filled in place.
        first: first sample.
        lanes: number of samples: up to 32, or 1 if ``stride`` is 1.
        stride: 32 or 1.
        hidden_counts: int64 (6, padded hidden neurons), added to.
        out_counts: the same for the output neurons.
    """
    n, n_out = program.hidden.threshold.size, program.output.threshold.size
    work = Work(
        inputs=_zeros(raster.shape[2] * stride),
        isyn=_zeros(program.hidden.synapses * n * stride),
        vmem=_zeros(n * stride),
        events=_zeros(n * stride),
        isyn_out=_zeros(n_out * stride),
        vmem_out=_zeros(n_out * stride),
        events_out=_zeros(n_out * stride),
    )
    input_peaks, peaks, peaks_out = _zeros(raster.shape[2]), _zeros(n), _zeros(n_out)
    flags, earlier = _zeros(max(n, n_out)), np.ones(lanes, np.bool_)
    _exchange_all(program, work, state, first, lanes, stride, False)
    for k in range(n):
        peaks[k] = work.events[k * stride : (k + 1) * stride].max()
    for step in range(raster.shape[1]):
        _load_inputs(raster, step, first, lanes, stride, work.inputs, input_peaks)
        _deliver(program, work, input_peaks, peaks[: program.hidden.size], stride, hidden_counts, out_counts)
        _record_hibernation(program, work, recording, step, first, lanes, stride, earlier)
        _update(
            program, program.hidden, True, lanes, stride,
            work.isyn, work.vmem, work.events, peaks, flags, hidden_counts,
        )  # fmt: skip
        _update(
            program, program.output, False, lanes, stride,
            work.isyn_out, work.vmem_out, work.events_out, peaks_out, flags, out_counts,
        )  # fmt: skip
        _record_all(program, work, recording, step, first, lanes, stride)
    _exchange_all(program, work, state, first, lanes, stride, True)
