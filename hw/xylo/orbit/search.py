"""The search as a whole: from a start program to the best one that is found on calibration data."""

import time
from dataclasses import dataclass

from torch import nn

from snnkit.transforms.scaling import ScalePlan

from ..deployment.calibration import chance_between
from ..deployment.float_run import Calibration
from ..deployment.quantising import QuantisedNetwork
from ..mapping.mapped_network import MappedNetwork
from .bench import Bench, LayerShifts, Measured, evenly, shifts_of
from .certificate import Certificate, certify
from .departures import departures_of
from .layers import LayerChoice, choose_shifts, search_layer
from .neurons import Layer, Shifts, hidden_layer, output_layer
from .program import program_of
from .result import OrbitReport
from .settings import OnProgress, OrbitSettings, checked_settings
from .teacher import observe

Chosen = tuple[LayerChoice | None, LayerChoice | None]
"""Integers of hidden and output neurons; None leaves a layer as it was at the start."""

__all__ = ["Searched", "search_orbit"]

_CERTIFIED = 64
"""Recordings on which the scaled network is compared with the network as it was."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What the search found: a program, its shifts as a plan, and the report."""

    quantised: QuantisedNetwork
    plan: ScalePlan
    report: OrbitReport


class _Search:
    """The course of one search: what it works on, and what it has tried."""

    def __init__(
        self, bench: Bench, start: Measured, settings: OrbitSettings, on_progress: OnProgress
    ) -> None:
        self.bench, self.start = bench, start
        self.settings, self.on_progress = settings, on_progress
        self.notes: list[str] = []
        mapped = bench.mapped
        self.has_firing_outputs = not bool((mapped.threshold_out >= mapped.chip.max_threshold).any())
        if not self.has_firing_outputs:
            self.notes.append("outputs: left as they were, some have thresholds that are never reached")

    def shifts(self, fixed: bool) -> LayerShifts:
        """Return the weight shifts of hidden and output neurons, those of the start if they are fixed."""
        given = shifts_of(self.start.quantised.specification)
        if fixed:
            self.notes.append("weight shifts: those of the plan")
            return given
        teacher = self.bench.teacher
        part = teacher.part(evenly(teacher.samples, self.settings.shift_recordings))
        layers = hidden_layer(self.bench.mapped, part), output_layer(self.bench.mapped, part)
        hidden, tried = choose_shifts(layers[0], [given[0]], self.settings, self.on_progress)
        output = given[1]
        if self.has_firing_outputs:
            output, more = choose_shifts(layers[1], [given[1]], self.settings, self.on_progress)
            tried += more
        self.notes.append(f"weight shifts: {tried} combinations on {part.samples} recordings")
        return hidden, output

    def layers(self, shifts: LayerShifts, layers: tuple[Layer, Layer], what: str) -> Chosen:
        """Search all neurons of both layers."""
        hidden = self._layer(0, layers[0], shifts[0], f"hidden neurons{what}")
        output = self._layer(1, layers[1], shifts[1], f"output neurons{what}")
        judged = sum(found.judged for found in (hidden, output) if found is not None)
        self.notes.append(f"neurons{what}: {judged} sets of integers")
        return hidden, output

    def _layer(self, place: int, layer: Layer, shifts: Shifts, what: str) -> LayerChoice | None:
        if place and not self.has_firing_outputs:
            return None
        start = self.start.quantised
        scales, given = (start.scale, start.scale_out)[place], shifts_of(start.specification)[place]
        found = search_layer(layer, shifts, self.settings, self.on_progress, what=what, starts=scales)
        driven_by_the_network = layer is self.bench.layers[place]
        worse = found.mismatch > int(self.start.forced[place].sum())
        if shifts == given or not (driven_by_the_network and worse):
            return found
        # Shifts were chosen on fewer recordings. With the start's own no neuron can get worse than there.
        self.notes.append(f"{what}: the shifts that were chosen did not hold on all recordings")
        return search_layer(layer, given, self.settings, self.on_progress, what=what, starts=scales)

    def best_of(self, chosen: Chosen, best: Measured) -> tuple[Measured, Measured]:
        """Measure the layers that were found, together and each beside the other one of the start.

        Returns:
            The best program, and the one with both layers.
        """
        hidden, output = chosen
        pairs = dict.fromkeys([(hidden, output), (hidden, None), (None, output)])
        found = [self._measured(pair) for pair in pairs if pair != (None, None)]
        for program in found:
            if self.is_better(program, best):
                best = program
        return best, found[0]

    def _measured(self, chosen: Chosen) -> Measured:
        bench = self.bench
        return bench.measured(program_of(bench.mapped, bench.layers, chosen, self.start.quantised))

    def is_better(self, program: Measured, best: Measured) -> bool:
        """Tell whether a program is to be taken: nearer to the network, in nothing worse than the start."""
        start, found = self.start.measures, program.measures
        chance = chance_between(start.score, found.score, len(self.bench.data.output))
        return (
            found.free < best.measures.free
            and found.is_no_worse_than(start)
            and start.score - found.score <= chance
        )


def search_orbit(
    net: nn.Module,
    mapped: MappedNetwork,
    start: tuple[QuantisedNetwork, ScalePlan],
    data: Calibration,
    *,
    settings: OrbitSettings | None = None,
    fixed_shifts: bool = False,
    on_progress: OnProgress | None = None,
) -> Searched:
    """Search the integers of every neuron over the orbit of the network; never worse than the start.

    Args:
        net: the float network, left as it is.
        mapped: the same in the chip's layout.
        start: a program of it, and the plan that it was made with.
        data: calibration data.
        settings: what may be searched.
        fixed_shifts: keep the start's weight shifts.
        on_progress: told how far the search is.

    Raises:
        ConfigurationError: the network does not hold the module of some of its neurons.
    """
    began = time.monotonic()
    settings, on_progress = checked_settings(settings), on_progress or _nobody
    teacher = observe(net, mapped, data.raster[evenly(len(data.raster), settings.recordings)])
    bench = Bench(mapped, start[1], data, teacher)
    search = _Search(bench, bench.measured(start[0]), settings, on_progress)
    best, shifts = search.start, search.shifts(fixed_shifts)
    best, latest = search.best_of(search.layers(shifts, bench.layers, ""), best)
    for number in range(1, settings.chip_passes + 1):
        sent = latest.run.hidden
        driven = hidden_layer(mapped, teacher, sent), output_layer(mapped, teacher, sent)
        found = search.layers(shifts, driven, f", pass {number} on the chip's own events")
        best, latest = search.best_of(found, best)
    if _has_bias(best) and not _has_bias(search.start):
        search.notes.append("offsets give neurons a bias where none had one: with biases a core stays awake")
    report = _report(search, best, _certificate(net, bench, best.quantised), began)
    return Searched(best.quantised, bench.plan_of(best.quantised), report)


def _has_bias(program: Measured) -> bool:
    spec = program.quantised.specification
    return bool(spec.bias.any() or spec.bias_out.any())


def _nobody(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def _certificate(net: nn.Module, bench: Bench, quantised: QuantisedNetwork) -> Certificate:
    """Return the program's scales as a teleport of the network, tried on some of the recordings."""
    mapped, data = bench.mapped, bench.data
    counts = data.raster[evenly(len(data.raster), _CERTIFIED)]
    layers = {"hidden": quantised.scale, "output": quantised.scale_out}
    scales = {p.path: layers[p.layer][p.start : p.stop] for p in mapped.populations}
    return certify(net, scales, counts, mapped.delays)


def _report(search: _Search, best: Measured, certificate: Certificate, began: float) -> OrbitReport:
    departures = departures_of(search.bench.mapped, best.quantised, search.bench.plan_of(best.quantised))
    return OrbitReport(
        before=search.start.measures,
        after=best.measures,
        kept="start" if best is search.start else "searched",
        scales=departures.scales,
        threshold_offsets=departures.threshold_offsets,
        bias_offsets=departures.bias_offsets,
        turned=departures.turned,
        searched=tuple(search.notes),
        recordings=search.bench.teacher.samples,
        seconds=time.monotonic() - began,
        certificate=certificate,
    )
