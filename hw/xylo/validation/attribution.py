"""Why two sides first differ: what lies between them is walked from one to the other, change by change."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnkit.utilities.chips import get_chip

from ...divergence.first import Place
from ...divergence.trace import Trace
from ..simulator.xylo_sim import XyloSim
from ..specification.core import Population, Specification
from .alterations import first_alteration
from .causes import Step, steps_between, steps_to_chip
from .faults import Finding, explain
from .layout import Layout, padded
from .sides import NetworkSide, ProgramSide, Side, program_trace, simulated

__all__ = ["attribute"]


def attribute(
    a: Side, b: Side, layout: Layout, counts: np.ndarray, *, place: Place, traces: tuple[Trace, Trace]
) -> Finding:
    """Return the cause of the difference at ``place``; ``counts`` (batch, time, Nin) as given."""
    case = _Case(layout, counts, place)
    if isinstance(a, NetworkSide) and isinstance(b, NetworkSide):
        return case.of_networks(a, b)
    if isinstance(a, ProgramSide) and isinstance(b, ProgramSide):
        return case.of_programs(a, b, traces)
    if isinstance(a, NetworkSide):
        assert isinstance(b, ProgramSide)
        return case.of_network_and_program(a, b, place.a_value, traces[1])
    assert isinstance(b, NetworkSide)
    return case.of_network_and_program(b, a, place.b_value, traces[0])


@dataclass(frozen=True)
class _Case:
    layout: Layout
    counts: np.ndarray
    place: Place

    @property
    def population(self) -> Population:
        return self.layout.populations[self.place.layer]

    @property
    def neuron(self) -> int:
        """Number of the neuron within its layer on the chip."""
        return self.population.start + self.place.neuron

    @property
    def delay(self) -> int:
        return self.layout.delays[self.place.layer]

    @property
    def sample(self) -> np.ndarray:
        """(1, time, Nin): the sample up to the step in which the chip shows the difference."""
        one = self.counts[self.place.sample][None]
        return padded(one, self.layout.delay)[:, : self.place.time + self.delay + 1]

    def of_networks(self, a: NetworkSide, b: NetworkSide) -> Finding:
        for side, delays, value in (
            (a, self.layout.a_delays, self.place.a_value), (b, self.layout.b_delays, self.place.b_value)
        ):  # fmt: skip
            found = self._of_arithmetic(side, delays, value)
            if found is not None:
                return found
        if a.mapped is None or b.mapped is None or a.mapped.populations != b.mapped.populations:
            return Finding("not attributed", "not attributed: the networks have no common layout on a chip.")
        values = [(step, self._value_of(step)) for step in steps_between(a.mapped, b.mapped)]
        known = values[0][1] == self.place.a_value or a.mapped.delays != b.mapped.delays
        if known and values[-1][1] == self.place.b_value:
            step = next(step for step, value in values if value != self.place.a_value)
            return Finding(step.cause, f"{step.cause}: {step.reason}.")
        return Finding(
            "not attributed",
            "not attributed: putting the parameters of one network into the other does not reproduce it.",
        )

    def of_network_and_program(
        self, net: NetworkSide, program: ProgramSide, value: float, answer: Trace
    ) -> Finding:
        found = self._of_arithmetic(net, (0,) * len(self.layout.delays), value)
        if found is not None:
            return found
        spec, mapped = program.specification, net.mapped
        if mapped is not None:
            for step in steps_to_chip(mapped, spec, program.scales(mapped)):
                if self._value_of(step) != value:
                    return Finding(step.cause, f"{step.cause}: {step.reason}{self._evidence(spec)}.")
        if self._simulated(spec) != value:
            words = f"states are limited to {get_chip(spec.chip).state_bits} bits on the chip"
            return Finding("saturation", f"saturation: {words}{self._evidence(spec)}.")
        return explain(program, answer, self.layout, self.counts)

    def of_programs(self, a: ProgramSide, b: ProgramSide, traces: tuple[Trace, Trace]) -> Finding:
        values = (self.place.a_value, self.place.b_value)
        for side, trace, value in zip((a, b), traces, values, strict=True):
            if not side.is_simulated and self._simulated(side.specification) != value:
                return explain(side, trace, self.layout, self.counts, on_a=side is a)
        populations, value = self.layout.populations, self.place.a_value
        found = first_alteration(
            a.specification, b.specification, populations, lambda spec: self._simulated(spec) != value
        )
        if found is None:
            return Finding("not attributed", "not attributed: both sides have the same parameters.")
        return Finding("altered parameter", f"altered parameter: {found[0]}.", found[1])

    def _of_arithmetic(self, side: NetworkSide, delays: Sequence[int], value: float) -> Finding | None:
        """Say whether noise or short floats made the value of a network."""
        if side.is_noisy and self._network_value(side, delays, quiet=True) != value:
            return Finding("noise", f"noise: the {side.title} draws random numbers in every run.")
        if self._network_value(side, delays, quiet=True, precise=True) != value:
            return Finding(
                "float precision",
                f"float precision: in 64-bit floats the {side.title} has another number of events here.",
            )
        return None

    def _network_value(self, side: NetworkSide, delays: Sequence[int], **options: bool) -> float:
        trace = side.trace(self.sample, self.layout.paths, delays, states=False, **options)
        events = trace.layers[self.place.layer].events
        assert events is not None
        return float(events[0, self.place.time + delays[self.place.layer], self.place.neuron])

    def _value_of(self, step: Step) -> float:
        """Return the events at the place in a core that runs the chip's way."""
        events = step.core.run(self.sample[0])[self.population.layer == "output"]
        return float(events[self.place.time + self.delay, self.neuron])

    def _simulated(self, spec: Specification) -> float:
        """Return the value at the place in the simulator."""
        record = simulated(spec, self.sample)
        trace = program_trace(record, spec, self.layout.populations, self.layout.delays, "")
        values = trace.layers[self.place.layer].values(self.place.quantity)
        assert values is not None
        return float(values[0, self.place.time + self.delay, self.place.neuron])

    def _evidence(self, spec: Specification) -> str:
        """Tell what the simulator saw at this neuron up to this step."""
        sim = XyloSim(spec)
        _, state, _ = sim(self.sample[0])
        suffix = "_out" if self.population.layer == "output" else ""
        vmem = int(state["vmem" + suffix][self.neuron])
        threshold = int(getattr(spec, "threshold" + suffix)[self.neuron])
        counters = sim.counters
        saturated = int(getattr(counters, "saturated_vmem" + suffix)[self.neuron])
        saturated += int(getattr(counters, "saturated_isyn" + suffix)[self.neuron].sum())
        text = f" (membrane {vmem} after this step, threshold {threshold}"
        return text + (f", {saturated} saturations of this neuron so far)" if saturated else ")")
