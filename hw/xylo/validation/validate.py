"""How far a trained network and its chip program agree, and where and why they first differ."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from snnkit.nn.modules import LIFBaseTorch
from snnkit.transforms.patching import bare_path
from snnkit.utilities.errors import ConfigurationError

from ..deployment.float_run import Readout, summed_events
from ..mapping.mapped_network import MappedNetwork
from ..simulator.counters import Counters
from ..simulator.rasters import read_raster
from ..simulator.xylo_sim import XyloSim
from ..specification.core import Population, Specification
from .causes import INTEGER_STATES, causes
from .divergence import Divergence

if TYPE_CHECKING:
    from ..deployment.deploy import Deployment

__all__ = [
    "PopulationAgreement",
    "Validation",
    "validate",
]

SPIKE_TIME_CONSTANT = 10
"""Steps over which :attr:`PopulationAgreement.spike_distance` smooths events."""


@dataclass(frozen=True)
class PopulationAgreement:
    """One population in network and chip.

    Attributes:
        path: module path.
        net_events: events in all.
        chip_events: the same on the chip.
        same_events: fraction of neurons and steps with the same number of events.
        rate_error: mean absolute difference of the neurons' event counts for each sample, over the mean
            count of the network (0 if both are silent).
        spike_distance: mean absolute difference of events smoothed over 10 steps (exponentially, in the
            manner of van Rossum), over the network's mean: small shifts in time cost little.
    """

    path: str
    net_events: int
    chip_events: int
    same_events: float
    rate_error: float
    spike_distance: float


@dataclass(frozen=True)
class Validation:
    """Agreement of a network and its program on a batch.

    Attributes:
        samples: number of rasters.
        prediction_agreement: fraction of them that both put into the same class.
        net_accuracy: fraction that the network puts into the labelled class, if labels were given.
        chip_accuracy: the same for the chip.
        populations: agreement of each population.
        divergence: where they first differ, or None.
        counters: saturations and clipped events on the chip.
    """

    samples: int
    prediction_agreement: float
    net_accuracy: float | None
    chip_accuracy: float | None
    populations: tuple[PopulationAgreement, ...]
    divergence: Divergence | None
    counters: Counters

    def __str__(self) -> str:
        lines = [f"{self.samples} samples, same class in {self.prediction_agreement:.1%}"]
        lines += [
            f"{p.path}: same events {p.same_events:.2%}, rate error {p.rate_error:.1%}, "
            f"spike distance {p.spike_distance:.1%}"
            for p in self.populations
        ]
        return "\n".join([*lines, f"first difference: {self.divergence or 'none'}"])


@dataclass(frozen=True, eq=False)
class _Activity:
    """Events (batch, time, neurons) of one population, both in the network's time."""

    population: Population
    delay: int
    net: np.ndarray
    chip: np.ndarray


def validate(
    net: nn.Module,
    program: "Deployment | Specification",
    raster: Any,
    labels: Any = None,
    *,
    readout: Readout = summed_events,
) -> Validation:
    """Run network and chip program on the same rasters, from rest, and compare their events.

    The network runs in evaluation mode and is left as it is. Each population is compared at its own delay.

    Args:
        net: the network that the program was made of.
        program: its deployment, or the specification alone (the network is then mapped again).
        raster: ``(batch, time, Nin)`` or ``(time, Nin)`` event counts, numpy or torch.
        labels: ``(batch,)`` classes.
        readout: takes outputs ``(batch, time, Nout)`` and returns classes ``(batch,)``.

    Raises:
        ShapeError, DataError: for rasters that are no event counts.
        ConfigurationError: if the program is not one of this network.
    """
    spec, mapped = _program_of(net, program)
    counts = read_raster(raster, spec.n_in).counts
    net_events = _net_events(net, counts, {p.path for p in spec.populations})
    sim = XyloSim(spec)
    padded = np.pad(counts, ((0, 0), (0, max(mapped.delays, default=0)), (0, 0)))
    output, _, record = sim(padded, record=True)
    activities = _line_up(spec, mapped, net_events, record | {"Spikes_out": output}, counts.shape[1])
    classes = [readout(events) for events in _outputs(activities, spec.n_out)]
    known = None if labels is None else np.asarray(torch.as_tensor(labels).cpu())
    return Validation(
        samples=len(counts),
        prediction_agreement=float((classes[0] == classes[1]).mean()),
        net_accuracy=None if known is None else float((classes[0] == known).mean()),
        chip_accuracy=None if known is None else float((classes[1] == known).mean()),
        populations=tuple(_agreement(a) for a in activities),
        divergence=_divergence(spec, mapped, activities, padded),
        counters=sim.counters,
    )


def _program_of(net: nn.Module, program: "Deployment | Specification") -> tuple[Specification, MappedNetwork]:
    if not isinstance(program, Specification):
        return program.specification, program.mapped
    from ..mapping.lowering import inspect_network

    mapped = inspect_network(net, program.chip).mapped
    if mapped.shape != program.shape or mapped.populations != program.populations:
        raise ConfigurationError(
            f"The specification {program!r} is not one of this network, which maps to "
            f"{mapped.shape[0]} inputs, {mapped.shape[1]} hidden neurons and {mapped.shape[2]} outputs."
        )
    return program, mapped


def _net_events(net: nn.Module, counts: np.ndarray, paths: set[str]) -> dict[str, np.ndarray]:
    """Return the events (batch, time, neurons) of every population, from a copy of the network at rest."""
    copied = copy.deepcopy(net).eval()
    events: dict[str, np.ndarray] = {}
    for name, module in copied.named_modules():
        reset = getattr(module, "reset_state", None)
        if callable(reset):
            reset()
        if isinstance(module, LIFBaseTorch) and _module_path(name) in paths:
            module.register_forward_pre_hook(_start_recording)
            module.register_forward_hook(_keep(events, _module_path(name)))
    precision = next((t.dtype for t in copied.state_dict().values() if t.is_floating_point()), torch.float32)
    with torch.no_grad():
        copied(torch.from_numpy(counts).to(precision))
    lost = paths - events.keys()
    if lost:
        raise ConfigurationError(f"The network has no neurons at {', '.join(sorted(lost))}, the program has.")
    return events


def _module_path(name: str) -> str:
    """Return the path in the bare network of a module that may stand in a DagModule or in a wrapper."""
    parts = [part.replace("/", ".") for part in name.split(".") if part != "vertex_modules"]
    return bare_path(".".join(parts))


def _start_recording(module: Any, _arguments: Any) -> None:
    module._record = True  # Events as they arise; a module's output may have a hop delay.


def _keep(events: dict[str, np.ndarray], path: str) -> Any:
    def hook(module: Any, _arguments: Any, _output: Any) -> None:
        spikes = module._record_dict["spikes"]
        events[path] = np.rint(spikes.detach().cpu().numpy()).astype(np.int64)

    return hook


def _line_up(
    spec: Specification,
    mapped: MappedNetwork,
    net_events: Mapping[str, np.ndarray],
    record: Mapping[str, np.ndarray],
    steps: int,
) -> list[_Activity]:
    found = []
    for population, delay in zip(mapped.populations, mapped.delays, strict=True):
        name = "Spikes_out" if population.layer == "output" else "Spikes"
        chip = record[name][:, delay : delay + steps, population.start : population.stop]
        net = net_events[population.path]
        if any(spec.aliases) and population.layer == "hidden":
            net = _with_copies(spec, mapped, population, net_events)
        found.append(_Activity(population, delay, net, chip.astype(np.int64)))
    return found


def _with_copies(
    spec: Specification, mapped: MappedNetwork, population: Population, net_events: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Add to a population's events those that aliases copy onto it, as the chip counts them."""
    batch, steps, _ = next(iter(net_events.values())).shape
    layout = np.zeros((batch, steps, spec.n_hidden), np.int64)
    for other in mapped.populations:
        if other.layer == "hidden":
            layout[:, :, other.start : other.stop] = net_events[other.path]
    delay_of = _delays(mapped, spec.n_hidden)
    for source, targets in enumerate(spec.aliases):
        for target in targets:
            # A copy counts in the source's own step on the chip: early, in the target's time.
            early = int(delay_of[target] - delay_of[source])
            layout[:, max(-early, 0) : steps - max(early, 0), target] += layout[
                :, max(early, 0) : steps - max(-early, 0), source
            ]
    return layout[:, :, population.start : population.stop]


def _delays(mapped: MappedNetwork, n_hidden: int) -> np.ndarray:
    delays = np.zeros(n_hidden, int)
    for population, delay in zip(mapped.populations, mapped.delays, strict=True):
        if population.layer == "hidden":
            delays[population.start : population.stop] = delay
    return delays


def _outputs(activities: Sequence[_Activity], n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs (batch, time, Nout) of network and chip."""
    batch, steps, _ = activities[0].net.shape
    net, chip = np.zeros((batch, steps, n_out), np.int64), np.zeros((batch, steps, n_out), np.int64)
    for a in activities:
        if a.population.layer == "output":
            net[:, :, a.population.start : a.population.stop] = a.net
            chip[:, :, a.population.start : a.population.stop] = a.chip
    return net, chip


def _agreement(a: _Activity) -> PopulationAgreement:
    smooth_net, smooth_chip = _smoothed(a.net), _smoothed(a.chip)
    counts_net, counts_chip = a.net.sum(axis=1), a.chip.sum(axis=1)
    return PopulationAgreement(
        path=a.population.path,
        net_events=int(a.net.sum()),
        chip_events=int(a.chip.sum()),
        same_events=float((a.net == a.chip).mean()) if a.net.size else 1.0,
        rate_error=_relative(np.abs(counts_net - counts_chip), counts_net),
        spike_distance=_relative(np.abs(smooth_net - smooth_chip), smooth_net),
    )


def _relative(difference: np.ndarray, scale: np.ndarray) -> float:
    """Return mean difference over mean scale; 0 without a difference, infinity if only the scale is 0."""
    if not difference.any():
        return 0.0
    return float(difference.mean() / scale.mean()) if scale.any() else float("inf")


def _smoothed(events: np.ndarray) -> np.ndarray:
    """Return events (batch, time, neurons) through an exponential filter along time."""
    decay = np.exp(-1 / SPIKE_TIME_CONSTANT)
    trace, traces = np.zeros_like(events[:, 0], dtype=np.float64), []
    for step in events.swapaxes(0, 1):
        trace = trace * decay + step
        traces.append(trace)
    return np.stack(traces, axis=1)


def _divergence(
    spec: Specification, mapped: MappedNetwork, activities: Sequence[_Activity], padded: np.ndarray
) -> Divergence | None:
    """Return the earliest difference; at equal times that of the layer that comes first."""
    firsts = []
    for order, a in enumerate(activities):
        samples, times, neurons = np.nonzero(a.net != a.chip)
        if len(times):
            i = np.lexsort((neurons, samples, times))[0]
            firsts.append((int(times[i]), a.delay, order, int(samples[i]), int(neurons[i])))
    if not firsts:
        return None
    time, _, order, sample, neuron = min(firsts)
    a = activities[order]
    net_value, chip_value = float(a.net[sample, time, neuron]), float(a.chip[sample, time, neuron])
    place = (a.population.layer == "output", time + a.delay, a.population.start + neuron)
    reason = _reason(spec, mapped, padded[sample], place, net_value)
    return Divergence(time, a.population.path, neuron, net_value, chip_value, reason, sample)


def _reason(
    spec: Specification,
    mapped: MappedNetwork,
    raster: np.ndarray,
    place: tuple[bool, int, int],
    net_value: float,
) -> str:
    """Go from network to chip step by step; the first step that changes the events here is the reason."""
    is_output, step, neuron = place
    until = raster[: step + 1]
    for cause in causes(mapped, spec):
        if cause.core.run(until)[is_output][step, neuron] != net_value:
            return f"{cause.reason}{_evidence(spec, until, is_output, neuron)}."
    return f"{INTEGER_STATES}{_evidence(spec, until, is_output, neuron)}."


def _evidence(spec: Specification, raster: np.ndarray, is_output: bool, neuron: int) -> str:
    """Tell what the simulator saw at this neuron up to this step."""
    sim = XyloSim(spec)
    _, state, _ = sim(raster)
    suffix = "_out" if is_output else ""
    vmem = int(state["vmem" + suffix][neuron])
    threshold = int(getattr(spec, "threshold" + suffix)[neuron])
    counters = sim.counters
    saturated = int(getattr(counters, "saturated_vmem" + suffix)[neuron])
    saturated += int(getattr(counters, "saturated_isyn" + suffix)[neuron].sum())
    text = f" (membrane {vmem} after this step, threshold {threshold}"
    return text + (f", {saturated} saturations of this neuron so far)" if saturated else ")")
