"""What happened in a run of the simulator, and what was lost in it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..specification.core import Population, Specification
from .program import Program

__all__ = ["Counters"]


@dataclass(frozen=True, eq=False)
class Counters:
    """Sums over all samples and time steps of one call; arrays are int64.

    Attributes:
        time_steps: samples times time steps.
        spikes_in: (Nin,) input events that were delivered.
        clipped_input: (Nin,) input events above the chip's limit of events for each step; they are lost.
        spikes: (Nhid,) events of hidden neurons, copies through aliases included.
        spikes_out: (Nout,) output events.
        capped: (Nhid,) steps in which a neuron reached the event limit and was still above threshold.
            The charge stays, so its events come later.
        capped_out: (Nout,) the same for outputs, which fire at most once in a step.
        lost_alias_events: (Nhid,) events that an alias brought above the limit; they are lost.
        saturated_isyn: (Nhid, S) sums that were clamped to 16 bits while events were delivered. All
            events that one synapse carries in one step count as one sum.
        saturated_vmem: (Nhid,) steps in which the membrane state or its increment was clamped.
        saturated_isyn_out: (Nout,).
        saturated_vmem_out: (Nout,).
        synaptic_operations: additions of a weight, by the layer that sends: input, hidden (recurrent
            weights) and output (weights to output neurons).
        populations: of the specification.
    """

    time_steps: int
    spikes_in: np.ndarray
    clipped_input: np.ndarray
    spikes: np.ndarray
    spikes_out: np.ndarray
    capped: np.ndarray
    capped_out: np.ndarray
    lost_alias_events: np.ndarray
    saturated_isyn: np.ndarray
    saturated_vmem: np.ndarray
    saturated_isyn_out: np.ndarray
    saturated_vmem_out: np.ndarray
    synaptic_operations: Mapping[str, int]
    populations: tuple[Population, ...]

    @property
    def saturations(self) -> dict[str, dict[str, int]]:
        """Clamped sums by population and state, such as ``{"1_LIFTorch": {"Isyn": 0, "Vmem": 3}}``."""
        return {
            p.path: {state: int(counts[p.start : p.stop].sum()) for state, counts in self._states(p.layer)}
            for p in self._populations()
        }

    @property
    def clipped_events(self) -> dict[str, int]:
        """Events lost or held back: ``input`` and ``alias`` are lost, ``hidden`` and ``output`` are late."""
        return {
            "input": int(self.clipped_input.sum()),
            "alias": int(self.lost_alias_events.sum()),
            "hidden": int(self.capped.sum()),
            "output": int(self.capped_out.sum()),
        }

    @property
    def total_saturations(self) -> int:
        """All clamped sums."""
        hidden = self.saturated_isyn.sum() + self.saturated_vmem.sum()
        return int(hidden + self.saturated_isyn_out.sum() + self.saturated_vmem_out.sum())

    @property
    def total_synaptic_operations(self) -> int:
        """All additions of a weight."""
        return sum(self.synaptic_operations.values())

    def _populations(self) -> tuple[Population, ...]:
        whole = (
            Population("hidden", "hidden", 0, len(self.spikes)),
            Population("output", "output", 0, len(self.spikes_out)),
        )
        return self.populations or whole

    def _states(self, layer: str) -> list[tuple[str, np.ndarray]]:
        if layer == "output":
            return [("Isyn", self.saturated_isyn_out), ("Vmem", self.saturated_vmem_out)]
        names = ("Isyn", "Isyn2")[: self.saturated_isyn.shape[1]]
        synapses = [(name, self.saturated_isyn[:, s]) for s, name in enumerate(names)]
        return [*synapses, ("Vmem", self.saturated_vmem)]

    def __str__(self) -> str:
        lines = [
            f"{self.time_steps} time steps, {self.total_synaptic_operations} synaptic operations",
            f"events: {self.spikes_in.sum()} in, {self.spikes.sum()} hidden, {self.spikes_out.sum()} out",
            "clipped events: " + ", ".join(f"{name} {n}" for name, n in self.clipped_events.items()),
        ]
        for path, states in self.saturations.items():
            lines.append(f"saturations in {path}: " + ", ".join(f"{name} {n}" for name, n in states.items()))
        return "\n".join(lines)


def counters_from_kernel(
    spec: Specification,
    program: Program,
    *,
    spikes_in: np.ndarray,
    clipped_input: np.ndarray,
    delivered: np.ndarray,
    hidden: np.ndarray,
    output: np.ndarray,
    time_steps: int,
) -> Counters:
    """Name the rows of the kernels' arrays; ``delivered`` (Nhid,) are hidden events that reached synapses."""
    n, n_out, n_synapses = spec.n_hidden, spec.n_out, spec.n_synapses
    operations = {
        "input": int(spikes_in @ np.diff(program.inputs.first)),
        "hidden": int(delivered @ np.diff(program.recurrent.first)),
        "output": int(delivered @ np.diff(program.outputs.first)),
    }
    return Counters(
        time_steps=time_steps,
        spikes_in=spikes_in,
        clipped_input=clipped_input,
        spikes=hidden[0, :n],
        spikes_out=output[0, :n_out],
        capped=hidden[1, :n],
        capped_out=output[1, :n_out],
        lost_alias_events=hidden[2, :n],
        saturated_isyn=hidden[4 : 4 + n_synapses, :n].T,
        saturated_vmem=hidden[3, :n],
        saturated_isyn_out=output[4, :n_out],
        saturated_vmem_out=output[3, :n_out],
        synaptic_operations=operations,
        populations=spec.populations,
    )
