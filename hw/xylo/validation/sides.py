"""The two sides of a comparison: what a user gives, put into one layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from snnkit.transforms.chip import chip_of
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, DataError, ShapeError, unknown_key_message

from ...divergence.trace import LayerTrace, Trace
from ..mapping.mapped_network import MappedNetwork
from ..simulator.counters import Counters
from ..simulator.run import RECORDS
from ..simulator.xylo_sim import XyloSim
from ..specification.core import Population, Specification
from .network_side import network_trace, populations_of
from .real_core import Pair
from .scales import scales_between

__all__ = ["NetworkSide", "ProgramSide", "Session", "Side", "read_sides"]

_LAYOUT_CHIP = "a2"
"""The chip with the fewest rules about which neuron goes where, for networks that no chip is given for."""


@runtime_checkable
class Session(Protocol):
    """What runs a program: a device, what stands for one, or its recording."""

    def configure(self, specification: Specification) -> Any:
        """Put a program on it."""

    def run(self, raster: Any, record: bool = False) -> tuple[Any, Any, Mapping[str, Any]]:
        """Return output, state and record of rasters (batch, time, Nin), each from rest."""


@dataclass(eq=False)
class NetworkSide:
    """A network in torch."""

    net: nn.Module
    title: str
    chip: str

    @cached_property
    def is_noisy(self) -> bool:
        """Whether its neurons draw random numbers."""
        noises = (torch.as_tensor(module.noise_std) for module in populations_of(self.net).values())
        return any(bool(noise.any()) for noise in noises)

    @cached_property
    def mapped(self) -> MappedNetwork | None:
        """The network in the chip's layout; None if it has no graph."""
        from ..mapping.lowering import inspect_network

        try:
            mapped = inspect_network(self.net, self.chip).mapped
        except ConfigurationError:
            return None
        return mapped if mapped.populations and mapped.weights_rec.shape[0] == mapped.shape[1] else None

    @property
    def is_recorded(self) -> bool:
        """Whether the answer is there already and cannot be longer."""
        return False

    def trace(self, counts: np.ndarray, paths: Sequence[str], delays: Sequence[int], **options: Any) -> Trace:
        """Run it on (batch, time, Nin) counts; see :func:`network_trace` for the options."""
        if self.mapped is not None and any(self.mapped.aliases):
            # Copies of events that arise after the last step count in that step, in the target's time.
            counts = np.pad(counts, ((0, 0), (0, max(self.mapped.delays)), (0, 0)))
        return network_trace(self.net, counts, paths, delays, title=self.title, mapped=self.mapped, **options)


@dataclass(eq=False)
class ProgramSide:
    """A program for a chip, and what answers for it: the simulator, a session, a network, or a record."""

    specification: Specification
    title: str
    source: Any = None
    """Session, chip-exact network or record; None for the simulator."""
    known_scales: Mapping[str, np.ndarray] | None = None
    last_answer: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._simulator = XyloSim(self.specification)

    @property
    def counters(self) -> Counters:
        """What the simulator lost in its last run."""
        return self._simulator.counters

    @property
    def is_simulated(self) -> bool:
        """Whether the answer is the simulator's own."""
        return self.source is None

    @property
    def is_recorded(self) -> bool:
        """Whether the answer is there already and cannot be longer."""
        return isinstance(self.source, Mapping)

    def answer(self, counts: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return records (batch, time, neurons) on (batch, time, Nin) counts, and keep them."""
        self.last_answer = self._answer(counts)
        return self.last_answer

    def _answer(self, counts: np.ndarray) -> Mapping[str, np.ndarray]:
        if self.source is None:
            self._simulator = XyloSim(self.specification)
            return simulated(self._simulator, counts)
        if isinstance(self.source, Mapping):
            return _checked_record(self.source, self.specification, counts)
        if isinstance(self.source, nn.Module):
            return _module_answer(self.source, counts)
        return self.run_session(counts)

    def run_session(self, counts: np.ndarray) -> Mapping[str, np.ndarray]:
        """Run the session that is this side."""
        output, _, record = self.source.run(counts, record=True)
        known = {name: np.asarray(values) for name, values in record.items() if name in RECORDS}
        return known | {"Spikes_out": np.asarray(output)}

    def trace(self, counts: np.ndarray, populations: Sequence[Population], delays: Sequence[int]) -> Trace:
        """Run it and lay its answer out by populations."""
        return program_trace(self.answer(counts), self.specification, populations, delays, self.title)

    def scales(self, mapped: MappedNetwork) -> Pair:
        """Return the factors from a network's units to the program's."""
        hidden, output = scales_between(mapped, self.specification)
        for population in mapped.populations:
            known = (self.known_scales or {}).get(population.path)
            if known is not None:
                layer = hidden if population.layer == "hidden" else output
                layer[population.start : population.stop] = known
        return hidden, output


Side = NetworkSide | ProgramSide


def simulated(program: Specification | XyloSim, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return all records of the bit-exact simulator; from rest for a specification."""
    sim = program if isinstance(program, XyloSim) else XyloSim(program)
    output, _, record = sim(counts, record=True)
    return {"Spikes_out": output} | {name: values for name, values in record.items() if name in RECORDS}


def program_trace(
    record: Mapping[str, np.ndarray],
    spec: Specification,
    populations: Sequence[Population],
    delays: Sequence[int],
    title: str,
) -> Trace:
    """Lay records of a chip out by populations."""
    layers = []
    for population, delay in zip(populations, delays, strict=True):
        suffix = "_out" if population.layer == "output" else ""
        place = slice(population.start, population.stop)
        names = {"Isyn": "Isyn" + suffix, "Isyn2": "Isyn2" + suffix, "Vmem": "Vmem" + suffix}
        states = {name: record[key][:, :, place] for name, key in names.items() if key in record}
        events = record.get("Spikes" + suffix)
        threshold = (spec.threshold_out if suffix else spec.threshold)[place].astype(float)
        size = population.stop - population.start
        taken = None if events is None else events[:, :, place]
        layers.append(LayerTrace(population.path, size, delay, threshold, taken, states))
    return Trace(title, tuple(layers), exact=True)


def whole_layers(spec: Specification) -> tuple[Population, ...]:
    """Return a program's populations, or its two layers where it names none."""
    return spec.populations or (
        Population("hidden", "hidden", 0, spec.n_hidden),
        Population("output", "output", 0, spec.n_out),
    )


def read_sides(
    a: Any,
    b: Any,
    specification: Specification | None = None,
    chip: str | None = None,
    titles: tuple[str, str] | None = None,
) -> tuple[Side, Side]:
    """Say what two sides are; they are called by ``titles``, or by what they are.

    Args:
        a: the first side.
        b: the second side.
        specification: of records and sessions, where neither side tells it.
        chip: lays out networks where there is no program.
        titles: what to call the sides.

    Raises:
        ConfigurationError: something can be neither side, or nobody says which program a record or a
            session belongs to.
    """
    programs = [program for program in (*map(_program_of, (a, b)), specification) if program is not None]
    if chip is not None:
        chip = get_chip(chip).name
    patched = [chip_of(side) for side in (a, b) if isinstance(side, nn.Module)]
    chips = [programs[0].chip if programs else None, chip, *(c.name for c in patched if c), _LAYOUT_CHIP]
    layout = next(name for name in chips if name)
    sides = tuple(_side(thing, programs, layout) for thing in (a, b))
    if titles is not None:
        sides[0].title, sides[1].title = titles
    elif sides[0].title == sides[1].title:
        for side, number in zip(sides, (1, 2), strict=True):
            side.title += f" {number}"
    return sides[0], sides[1]


def _program_of(thing: Any) -> Specification | None:
    if isinstance(thing, Specification):
        return thing
    if isinstance(thing, Mapping):
        return None
    found = getattr(thing, "specification", None)
    return found if isinstance(found, Specification) else None


def _side(thing: Any, programs: Sequence[Specification], chip: str) -> Side:
    own = _program_of(thing)
    if isinstance(thing, nn.Module):
        if own is not None:
            return ProgramSide(own, "chip-exact net", thing, _scales_of(thing))
        return NetworkSide(thing, "transformed net" if chip_of(thing) else "net", chip)
    if isinstance(thing, Specification):
        return ProgramSide(thing, "program")
    if isinstance(thing, XyloSim):
        return ProgramSide(thing.specification, "simulator")
    if isinstance(thing, Mapping | Session):
        program = own or next(iter(programs), None)
        title = "record" if isinstance(thing, Mapping) else "session"
        if program is None:
            raise ConfigurationError(
                f"Nobody says which program this {title} is of: give specification=..., compare it with a "
                "Specification or a Deployment, or configure the session before."
            )
        if own is None and not isinstance(thing, Mapping):
            thing.configure(program)
        return ProgramSide(program, title, thing)
    if own is not None:
        return ProgramSide(own, "chip", None, _scales_of(thing))
    raise ConfigurationError(
        f"{type(thing).__name__} is no side of a comparison. Give a network, a Specification, a Deployment, "
        "a XyloSim, a session, or a mapping of recorded arrays such as {'Spikes': ..., 'Spikes_out': ...}."
    )


def _scales_of(thing: Any) -> Mapping[str, np.ndarray] | None:
    scales = getattr(thing, "scales", None)
    if not isinstance(scales, Mapping):
        return None
    return {path: np.asarray(torch.as_tensor(values).detach().cpu()) for path, values in scales.items()}


def _module_answer(net: nn.Module, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return what a chip-exact network itself computes."""
    import copy

    copied = copy.deepcopy(net).eval()
    copied.reset_state()  # type: ignore[operator]
    with torch.no_grad():
        output, _, record = copied(torch.from_numpy(counts).float(), record=True)
    found = {"Spikes_out": output} | {name: record[name] for name in RECORDS if name in record}
    return {name: _whole(name, values.detach().cpu().numpy()) for name, values in found.items()}


def _checked_record(
    record: Mapping[str, Any], spec: Specification, counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Return saved arrays as (batch, time, neurons), or say what is wrong with them."""
    unknown = [str(name) for name in record if name not in RECORDS]
    if unknown:
        raise DataError(unknown_key_message("record", unknown[0], RECORDS))
    if not record:
        raise DataError(f"The record is empty; known are {', '.join(RECORDS)}.")
    found = {}
    for name, values in record.items():
        array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
        array = array[None] if array.ndim == 2 else array
        width = spec.n_out if name.endswith("_out") else spec.n_hidden
        if array.ndim != 3 or array.shape[0] != len(counts) or array.shape[2] != width:
            raise ShapeError(
                f"The record {name} has shape {array.shape}; ({len(counts)}, time, {width}) is needed: "
                "samples of the raster, steps, neurons of the program."
            )
        found[name] = _whole(name, array)
    lengths = {name: array.shape[1] for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"The records have different numbers of steps: {lengths}.")
    return found


def _whole(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "iub":
        return values
    rounded = np.rint(values) if values.dtype.kind == "f" else values
    if values.dtype.kind != "f" or not np.array_equal(rounded, values):
        raise DataError(
            f"The record {name} holds {values.dtype} that are no whole numbers, as a chip has them."
        )
    return rounded.astype(np.int32)
