"""What a Xylo core computes, written to be read: one neuron after the other, in plain integers.

This is the definition that the fast kernels are held to, and an independent witness for
:mod:`.validate`. It takes milliseconds for each time step of a large network; use ``XyloSim`` for work.

Arithmetic. Synaptic and membrane states are 16-bit integers. Weights are 8 bits wide and shifted left
into 16 bits, where they wrap. Delivered weights are added one event at a time and each sum is clamped to
the 16-bit range, so once a state saturates, the order of delivery matters: sources in ascending order.
A state decays by ``decay(v, dash)``: ``v >> dash`` (which rounds down, also below zero), but at least one
step towards zero.
"""

from dataclasses import dataclass, field

import numpy as np

from snnkit.utilities.chips import Chip, get_chip

from ..specification.core import Specification

__all__ = ["ReferenceCounters", "ReferenceState", "Wiring", "decay", "reference_run", "reference_step"]

LOW, HIGH = -(2**15), 2**15 - 1


def clamp(value: int) -> int:
    """Return ``value`` limited to 16 bits."""
    return max(LOW, min(HIGH, value))


def wrap(value: int) -> int:
    """Return the low 16 bits of ``value`` as a signed number."""
    return (value - LOW) % 2**16 + LOW


def decay(value: int, dash: int) -> int:
    """Return what a state of ``value`` loses in one time step."""
    shifted = value >> dash
    if shifted == 0 and value > 0:
        return 1
    return shifted


Synapses = tuple[tuple[tuple[int, int, int], ...], ...]
"""For each source: (target neuron, synapse, shifted weight)."""


@dataclass(frozen=True)
class Wiring:
    """The connections of a specification as lists, without the zeros."""

    inputs: Synapses
    recurrent: Synapses
    outputs: Synapses

    @classmethod
    def of(cls, spec: Specification) -> "Wiring":
        """Collect the connections of ``spec``."""
        n_silent = spec.n_hidden - spec.weights_out.shape[0]
        outputs = _synapses(spec.weights_out[:, :, None], spec.weight_shift_out)
        return cls(
            _synapses(spec.weights_in, spec.weight_shift_in),
            _synapses(spec.weights_rec, spec.weight_shift_rec),
            ((),) * n_silent + outputs,
        )


def _synapses(weights: np.ndarray, shift: int) -> Synapses:
    return tuple(
        tuple((int(k), int(s), wrap(int(rows[k, s]) << shift)) for k, s in np.argwhere(rows))
        for rows in weights
    )


@dataclass
class ReferenceState:
    """All that a core remembers between two time steps; ``events`` are still to be delivered."""

    isyn: list[list[int]]
    vmem: list[int]
    events: list[int]
    isyn_out: list[int]
    vmem_out: list[int]

    @classmethod
    def zero(cls, spec: Specification) -> "ReferenceState":
        """Return the state after a reset."""
        n, n_out = spec.n_hidden, spec.n_out
        return cls([[0] * n for _ in range(spec.n_synapses)], [0] * n, [0] * n, [0] * n_out, [0] * n_out)


@dataclass
class ReferenceCounters:
    """What was lost, for each neuron; see :class:`.counters.Counters` for the meaning."""

    clipped_input: np.ndarray
    saturated_isyn: np.ndarray
    saturated_vmem: np.ndarray
    capped: np.ndarray
    lost_alias_events: np.ndarray
    saturated_isyn_out: np.ndarray
    saturated_vmem_out: np.ndarray
    capped_out: np.ndarray
    synaptic_operations: dict[str, int] = field(
        default_factory=lambda: {"input": 0, "hidden": 0, "output": 0}
    )

    @classmethod
    def zero(cls, spec: Specification) -> "ReferenceCounters":
        """Return counters at zero."""
        hidden, out = (spec.n_hidden,), (spec.n_out,)
        shapes = ((spec.n_in,), (spec.n_synapses, *hidden), hidden, hidden, hidden, out, out, out)
        a, b, c, d, e, f, g, h = (np.zeros(shape, np.int64) for shape in shapes)
        return cls(a, b, c, d, e, f, g, h)


def _deliver(events: list[int], synapses: Synapses, isyn: list[list[int]], saturated: np.ndarray) -> int:
    """Add the weights of all ``events`` to ``isyn``; return the number of additions.

    ``saturated`` counts each synapse once in a time step, however many of its events hit the limit.
    """
    operations = 0
    for source, count in enumerate(events):
        for target, synapse, weight in synapses[source] if count else ():
            exact = isyn[synapse][target] + count * weight
            for _ in range(count):
                isyn[synapse][target] = clamp(isyn[synapse][target] + weight)
            saturated[synapse, target] += isyn[synapse][target] != exact
            operations += count
    return operations


def _increment(vmem: int, current: int, dash: int, bias: int, version: int) -> tuple[int, int, bool]:
    """Return the new membrane state, the increment, and whether any sum was clamped."""
    if version == 1:
        exact = vmem - decay(vmem, dash) + current
        return clamp(exact), 0, exact != clamp(exact)
    leaked = wrap(-decay(vmem, dash)) + current
    biased = clamp(leaked) + bias
    exact = vmem + clamp(biased)
    clamped = clamp(leaked) != leaked or clamp(biased) != biased or clamp(exact) != exact
    return clamp(exact), clamp(biased), clamped


def _fire(vmem: int, threshold: int, events: int, cap: int) -> tuple[int, int]:
    """Return the membrane state after subtractive resets, and the event count, at most ``cap``."""
    while vmem >= threshold and events < cap:
        events += 1
        vmem = wrap(vmem - threshold)
    return vmem, events


def _update_hidden(
    spec: Specification, chip: Chip, state: ReferenceState, counters: ReferenceCounters
) -> bool:
    """Advance all hidden neurons in order; return whether any of them did something."""
    active = False
    cap = chip.hidden_event_cap
    dashes = (spec.dash_syn.tolist(), spec.dash_syn_2.tolist())
    for k in range(spec.n_hidden):
        current = 0
        for isyn, dash in zip(state.isyn, dashes, strict=False):
            active |= isyn[k] != 0
            isyn[k] -= decay(isyn[k], dash[k])
            current += isyn[k]
        state.vmem[k], increment, clamped = _increment(
            state.vmem[k], current, int(spec.dash_mem[k]), int(spec.bias[k]), chip.core_version
        )
        active |= increment != 0
        counters.saturated_vmem[k] += clamped
        threshold = int(spec.threshold[k])
        state.vmem[k], state.events[k] = _fire(state.vmem[k], threshold, state.events[k], cap)
        counters.capped[k] += state.vmem[k] >= threshold
        copies = state.events[k]
        for target in spec.aliases[k]:
            total = state.events[target] + copies
            state.events[target] = min(cap, total)
            counters.lost_alias_events[target] += total - min(cap, total)
    return active


def _update_outputs(
    spec: Specification, chip: Chip, state: ReferenceState, counters: ReferenceCounters
) -> tuple[list[int], bool]:
    """Advance all output neurons; return their events and whether any of them did something."""
    active = False
    spikes = []
    for k in range(spec.n_out):
        active |= state.isyn_out[k] != 0
        state.isyn_out[k] -= decay(state.isyn_out[k], int(spec.dash_syn_out[k]))
        state.vmem_out[k], increment, clamped = _increment(
            state.vmem_out[k],
            state.isyn_out[k],
            int(spec.dash_mem_out[k]),
            int(spec.bias_out[k]),
            chip.core_version,
        )
        active |= increment != 0
        counters.saturated_vmem_out[k] += clamped
        threshold = int(spec.threshold_out[k])
        state.vmem_out[k], events = _fire(state.vmem_out[k], threshold, 0, chip.output_event_cap)
        counters.capped_out[k] += state.vmem_out[k] >= threshold
        spikes.append(events)
    return spikes, active


def reference_step(
    spec: Specification,
    wiring: Wiring,
    state: ReferenceState,
    counts: np.ndarray,
    counters: ReferenceCounters,
) -> tuple[list[int], bool, bool]:
    """Advance ``state`` in place by one time step with input ``counts`` (Nin,).

    Returns:
        The output events, whether events were delivered, and whether any neuron was active: had a
        synaptic state to decay or a membrane increment.
    """
    chip = get_chip(spec.chip)
    clipped = [min(int(count), chip.input_event_cap) for count in counts]
    counters.clipped_input += np.asarray(counts) - clipped
    pending = state.events
    operations = counters.synaptic_operations
    operations["input"] += _deliver(clipped, wiring.inputs, state.isyn, counters.saturated_isyn)
    operations["hidden"] += _deliver(pending, wiring.recurrent, state.isyn, counters.saturated_isyn)
    saturated_out = counters.saturated_isyn_out[None]
    operations["output"] += _deliver(pending, wiring.outputs, [state.isyn_out], saturated_out)
    state.events = [0] * spec.n_hidden
    active_hidden = _update_hidden(spec, chip, state, counters)
    spikes, active_out = _update_outputs(spec, chip, state, counters)
    return spikes, any(clipped) or any(pending), active_hidden or active_out


def reference_run(
    spec: Specification, raster: np.ndarray, state: ReferenceState | None = None
) -> tuple[dict[str, np.ndarray], ReferenceState, ReferenceCounters]:
    """Run ``raster`` (time, Nin), event counts 0..255, from ``state`` (updated in place) or from rest.

    Returns:
        Recordings under Rockpool's names, each (time, neurons), with ``Spikes_out`` for the output
        events and, on version 2 cores, ``Hibernation`` (time,); the state; the counters.
    """
    state = state or ReferenceState.zero(spec)
    counters = ReferenceCounters.zero(spec)
    wiring = Wiring.of(spec)
    names = ["Spikes_out", "Spikes", "Vmem", "Isyn", "Isyn2", "Vmem_out", "Isyn_out", "Hibernation"]
    rows: dict[str, list] = {name: [] for name in names}
    # With a bias the core falls asleep one step later, and each run begins awake.
    late = bool(spec.bias.any() or spec.bias_out.any())
    earlier = True
    for counts in raster:
        spikes, delivered, active = reference_step(spec, wiring, state, counts, counters)
        row = [spikes, state.events, state.vmem, *state.isyn, state.vmem_out, state.isyn_out]
        present = [n for n in names[:-1] if n != "Isyn2" or spec.n_synapses == 2]
        for name, values in zip(present, row, strict=True):
            rows[name].append(list(values))
        rows["Hibernation"].append(not (delivered or (earlier if late else active)))
        earlier = delivered or active
    return _arrays(spec, rows), state, counters


def _arrays(spec: Specification, rows: dict[str, list]) -> dict[str, np.ndarray]:
    """Stack the recorded rows, in the types that the chip itself uses."""
    if spec.n_synapses == 1:
        del rows["Isyn2"]
    hibernation = np.array(rows.pop("Hibernation"), dtype=bool)
    arrays = {}
    for name, values in rows.items():
        width = spec.n_out if name.endswith("_out") else spec.n_hidden
        dtype = np.uint8 if name.startswith("Spikes") else np.int16
        arrays[name] = np.array(values, dtype=dtype).reshape(len(values), width)
    if get_chip(spec.chip).core_version == 2:
        arrays["Hibernation"] = hibernation
    return arrays
