"""A chip's core in wide numbers, in which each way of losing precision can be switched on alone."""

from dataclasses import dataclass

import numpy as np

__all__ = ["RealCore"]

Pair = tuple[np.ndarray, np.ndarray]
"""An array for all hidden and one for all output neurons."""


@dataclass(frozen=True, eq=False)
class RealCore:
    """A core with real or wide integer states; arrays are float64, for all hidden or all output neurons.

    Attributes:
        weights: input (Nin, Nhid, S), recurrent (Nhid, Nhid, S) and output (Nhid, Nout, 1) weights.
        decay_syn: (Nhid, S) and (Nout, 1) factors in a step.
        decay_mem: (Nhid,) and (Nout,).
        threshold: (Nhid,) and (Nout,).
        bias: (Nhid,) and (Nout,).
        synaptic_bias: (Nhid, S) and (Nout, 1).
        start: (Nhid,) and (Nout,) first step in which biases act.
        caps: (Nhid,) and (Nout,) events that a neuron may emit in a step.
        input_cap: events that an input channel may carry in a step.
        aliases: as in a specification.
        dashes: (Nhid, S) and (Nout, 1) of the synapses, (Nhid,) and (Nout,) of the membranes: states then
            decay as on the chip, by whole numbers and at least by one, instead of by factors.
    """

    weights: tuple[np.ndarray, np.ndarray, np.ndarray]
    decay_syn: Pair
    decay_mem: Pair
    threshold: Pair
    bias: Pair
    synaptic_bias: Pair
    start: Pair
    caps: Pair
    input_cap: float
    aliases: tuple[tuple[int, ...], ...]
    dashes: tuple[Pair, Pair] | None = None

    def run(self, raster: np.ndarray) -> Pair:
        """Run ``(time, Nin)`` counts from rest; return events (time, Nhid) and (time, Nout)."""
        isyn = [np.zeros_like(decay) for decay in self.decay_syn]
        vmem = [np.zeros_like(decay) for decay in self.decay_mem]
        events = np.zeros(len(self.threshold[0]))
        hidden, output = [], []
        for step, counts in enumerate(np.minimum(raster, self.input_cap)):
            currents = (
                np.tensordot(counts, self.weights[0], 1) + np.tensordot(events, self.weights[1], 1),
                np.tensordot(events, self.weights[2], 1),
            )
            for layer, current in enumerate(currents):
                on = self.start[layer] <= step
                total = isyn[layer] + current + self.synaptic_bias[layer] * on[:, None]
                isyn[layer] = self._decayed(total, 0, layer)
                leaked = self._decayed(vmem[layer], 1, layer)
                vmem[layer] = leaked + isyn[layer].sum(axis=1) + self.bias[layer] * on
            events = self._fire(0, vmem[0], self.aliases)
            hidden.append(events)
            output.append(self._fire(1, vmem[1], ()))
        return np.array(hidden), np.array(output)

    def _decayed(self, states: np.ndarray, kind: int, layer: int) -> np.ndarray:
        """Return synaptic (kind 0) or membrane states (kind 1) a step later."""
        if self.dashes is None:
            return states * (self.decay_syn, self.decay_mem)[kind][layer]
        lost = np.floor(states * 2.0 ** -self.dashes[kind][layer])
        return states - np.where(lost == 0, np.sign(states), lost)

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
