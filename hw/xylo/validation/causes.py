"""A chip's core in real numbers, in which each way of losing precision can be switched on alone.

The steps lead from the trained network to the chip: the first one whose events differ from the network's
at some place is why the chip differs there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from snnkit.utilities.chips import get_chip

from ..mapping.mapped_network import MappedNetwork
from ..specification.core import Specification

__all__ = ["Cause", "RealCore", "causes"]


@dataclass(frozen=True, eq=False)
class RealCore:
    """A core with real states; arrays are float64, for all hidden or all output neurons.

    Attributes:
        weights: input (Nin, Nhid, S), recurrent (Nhid, Nhid, S) and output (Nhid, Nout, 1) weights.
        decay_syn: (Nhid, S) and (Nout, 1) factors in a step.
        decay_mem: (Nhid,) and (Nout,).
        threshold: (Nhid,) and (Nout,).
        bias: (Nhid,) and (Nout,).
        synaptic_bias: (Nhid, S) and (Nout, 1).
        caps: (Nhid,) and (Nout,) events that a neuron may emit in a step.
        input_cap: events that an input channel may carry in a step.
        limit: states are clamped to ``-limit - 1 .. limit``.
        aliases: as in a specification.
    """

    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    decay_syn: tuple[np.ndarray, np.ndarray]
    decay_mem: tuple[np.ndarray, np.ndarray]
    threshold: tuple[np.ndarray, np.ndarray]
    bias: tuple[np.ndarray, np.ndarray]
    synaptic_bias: tuple[np.ndarray, np.ndarray]
    caps: tuple[np.ndarray, np.ndarray]
    input_cap: float
    limit: float
    aliases: tuple[tuple[int, ...], ...]

    def run(self, raster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run ``(time, Nin)`` counts from rest; return events (time, Nhid) and (time, Nout)."""
        isyn = [np.zeros_like(decay) for decay in self.decay_syn]
        vmem = [np.zeros_like(decay) for decay in self.decay_mem]
        events = np.zeros(len(self.threshold[0]))
        hidden, output = [], []
        for counts in np.minimum(raster, self.input_cap):
            currents = (
                np.tensordot(counts, self.weights[0], 1) + np.tensordot(events, self.weights[1], 1),
                np.tensordot(events, self.weights[2], 1),
            )
            for layer, current in enumerate(currents):
                total = self._clamped(isyn[layer] + current + self.synaptic_bias[layer])
                isyn[layer] = total * self.decay_syn[layer]
                leaked = vmem[layer] * self.decay_mem[layer]
                vmem[layer] = self._clamped(leaked + isyn[layer].sum(axis=1) + self.bias[layer])
            events = self._fire(0, vmem[0], self.aliases)
            hidden.append(events)
            output.append(self._fire(1, vmem[1], ()))
        return np.array(hidden), np.array(output)

    def _clamped(self, states: np.ndarray) -> np.ndarray:
        return states.clip(-self.limit - 1, self.limit)

    def _fire(self, layer: int, vmem: np.ndarray, aliases: tuple[tuple[int, ...], ...]) -> np.ndarray:
        """Subtract thresholds from ``vmem`` in place; return the events, copies included."""
        threshold, caps = self.threshold[layer], self.caps[layer]
        if not any(aliases):
            events = np.clip(np.floor(vmem / threshold), 0, caps)
            vmem -= events * threshold
            return events
        events = np.zeros(len(vmem))
        for k, targets in enumerate(aliases):
            own = np.clip(np.floor(vmem[k] / threshold[k]), 0, max(caps[k] - events[k], 0))
            vmem[k] -= own * threshold[k]
            events[k] += own
            for target in targets:
                events[target] = min(events[target] + events[k], caps[target])
        return events


@dataclass(frozen=True, eq=False)
class Cause:
    """One step from the network to the chip: a name for messages, and the core with all steps up to it."""

    reason: str
    core: RealCore


def causes(mapped: MappedNetwork, spec: Specification) -> Iterator[Cause]:
    """Yield the steps from the network, in the chip's layout, to all but the chip's integer states."""
    chip = get_chip(spec.chip)
    core = _float_core(mapped)
    yield Cause(
        "delay: layers run one step after another on the chip, and biases act from its first step", core
    )
    limits = (float(chip.hidden_event_cap), float(chip.output_event_cap))
    capped = tuple(np.minimum(caps, limit) for caps, limit in zip(core.caps, limits, strict=True))
    core = replace(core, caps=capped, input_cap=float(chip.input_event_cap))
    yield Cause(
        f"clipped events: the chip takes {chip.input_event_cap} events of an input, {chip.hidden_event_cap} "
        f"of a hidden and {chip.output_event_cap} of an output neuron in a step",
        core,
    )
    integer = _integer_core(spec)
    core = replace(core, decay_syn=integer.decay_syn, decay_mem=integer.decay_mem)
    yield Cause("dash rounding: decays are bit shifts on the chip", core)
    core = replace(integer, caps=core.caps, input_cap=core.input_cap)
    yield Cause("weight rounding: weights, thresholds and biases are integers on the chip", core)
    yield Cause(
        f"saturation: states are limited to {chip.state_bits} bits",
        replace(core, limit=float(chip.max_state)),
    )


INTEGER_STATES = "integer states: the chip's states are whole numbers, and each decay is rounded"


def _float_core(mapped: MappedNetwork) -> RealCore:
    _, n_hidden, n_out = mapped.shape
    caps = (np.full(n_hidden, np.inf), np.full(n_out, np.inf))
    for population, allowed in zip(mapped.populations, mapped.max_spikes, strict=True):
        layer = 0 if population.layer == "hidden" else 1
        caps[layer][population.start : population.stop] = allowed
    return RealCore(
        weights=_full_weights(mapped.weights_in, mapped.weights_rec, mapped.weights_out),
        decay_syn=(mapped.decay_syn, mapped.decay_syn_out[:, None]),
        decay_mem=(mapped.decay_mem, mapped.decay_mem_out),
        threshold=(mapped.threshold, mapped.threshold_out),
        bias=(mapped.bias, mapped.bias_out),
        synaptic_bias=(mapped.synaptic_bias, mapped.synaptic_bias_out[:, None]),
        caps=caps,
        input_cap=np.inf,
        limit=np.inf,
        aliases=mapped.aliases,
    )


def _integer_core(spec: Specification) -> RealCore:
    n_hidden, n_out = spec.n_hidden, spec.n_out
    dashes = np.stack([spec.dash_syn, spec.dash_syn_2], axis=1)[:, : spec.n_synapses]
    return RealCore(
        weights=_full_weights(
            spec.weights_in.astype(float) * 2**spec.weight_shift_in,
            spec.weights_rec.astype(float) * 2**spec.weight_shift_rec,
            spec.weights_out.astype(float) * 2**spec.weight_shift_out,
        ),
        decay_syn=(_factor(dashes), _factor(spec.dash_syn_out[:, None])),
        decay_mem=(_factor(spec.dash_mem), _factor(spec.dash_mem_out)),
        threshold=(spec.threshold.astype(float), spec.threshold_out.astype(float)),
        bias=(spec.bias.astype(float), spec.bias_out.astype(float)),
        synaptic_bias=(np.zeros((n_hidden, spec.n_synapses)), np.zeros((n_out, 1))),
        caps=(np.full(n_hidden, np.inf), np.full(n_out, np.inf)),
        input_cap=np.inf,
        limit=np.inf,
        aliases=spec.aliases,
    )


def _factor(dash: np.ndarray) -> np.ndarray:
    return 1 - 2.0 ** -dash.astype(float)


def _full_weights(
    weights_in: np.ndarray, weights_rec: np.ndarray, weights_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Widen input and output weights to all hidden neurons; the first take input, the last drive outputs."""
    n_hidden = weights_rec.shape[0]
    missing_in, missing_out = n_hidden - weights_in.shape[1], n_hidden - weights_out.shape[0]
    return (
        np.pad(weights_in, ((0, 0), (0, missing_in), (0, 0))),
        weights_rec,
        np.pad(weights_out, ((missing_out, 0), (0, 0)))[:, :, None],
    )
