"""Which neurons of two sides are the same, and by how many steps they lie apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.utilities.errors import ConfigurationError

from ...divergence.trace import Trace
from ..simulator.rasters import read_raster
from ..specification.core import Population, Specification
from .network_side import populations_of
from .sides import NetworkSide, ProgramSide, Side, whole_layers

__all__ = ["Layout", "layout_of", "padded", "read_counts", "traces_of"]


@dataclass(frozen=True)
class Layout:
    """Populations that both sides have, and their times.

    Attributes:
        populations: from the input to the outputs.
        delays: steps by which a chip lags the earlier side in each of them.
        a_delays: steps by which the first side lags the earlier one.
        b_delays: the same for the second side.
    """

    populations: tuple[Population, ...]
    delays: tuple[int, ...]
    a_delays: tuple[int, ...]
    b_delays: tuple[int, ...]

    @property
    def delay(self) -> int:
        """The largest delay: steps to run a chip longer."""
        return max(self.delays, default=0)

    @property
    def paths(self) -> tuple[str, ...]:
        """Module paths."""
        return tuple(population.path for population in self.populations)


def layout_of(a: Side, b: Side) -> Layout:
    """Return the layers of a comparison.

    Raises:
        ConfigurationError: the sides are not of one network.
    """
    if isinstance(a, NetworkSide):
        if isinstance(b, NetworkSide):
            return _of_networks(a, b)
        populations, delays = _of_network_and_program(a, b.specification)
        return Layout(populations, delays, (0,) * len(delays), delays)
    if isinstance(b, NetworkSide):
        populations, delays = _of_network_and_program(b, a.specification)
        return Layout(populations, delays, delays, (0,) * len(delays))
    return _together(_of_programs(a.specification, b.specification))


def read_counts(raster: Any, a: Side, b: Side) -> np.ndarray:
    """Return the raster as (batch, time, Nin) bytes; ShapeError or DataError for what is none."""
    specs = [side.specification for side in (a, b) if isinstance(side, ProgramSide)]
    mapped = [side.mapped for side in (a, b) if isinstance(side, NetworkSide)]
    shape = getattr(raster, "shape", None) or np.shape(raster)
    widths = [spec.n_in for spec in specs] + [net.shape[0] for net in mapped if net is not None]
    return read_raster(raster, widths[0] if widths else shape[-1] if shape else 0).counts


def traces_of(a: Side, b: Side, layout: Layout, counts: np.ndarray, seed: int) -> tuple[Trace, Trace]:
    """Run both sides; a side goes on for the steps by which it lags the other."""
    traces = []
    for side, delays in ((a, layout.a_delays), (b, layout.b_delays)):
        longer = counts if side.is_recorded else padded(counts, max(delays, default=0))
        if isinstance(side, NetworkSide):
            traces.append(side.trace(longer, layout.paths, delays, seed=seed))
        else:
            traces.append(side.trace(longer, layout.populations, delays))
    return traces[0], traces[1]


def padded(counts: np.ndarray, steps: int) -> np.ndarray:
    """Return (batch, time, Nin) counts with empty steps at their end."""
    return np.pad(counts, ((0, 0), (0, steps), (0, 0)))


def _together(populations: tuple[Population, ...]) -> Layout:
    """Return a layout without delays."""
    none = (0,) * len(populations)
    return Layout(populations, none, none, none)


def _of_networks(a: NetworkSide, b: NetworkSide) -> Layout:
    if a.mapped is not None and b.mapped is not None and a.mapped.populations == b.mapped.populations:
        # Networks with hop delays lag others as the chip does.
        pairs = list(zip(a.mapped.delays, b.mapped.delays, strict=True))
        largest = tuple(map(max, pairs))
        ours, theirs = (tuple(m - pair[i] for m, pair in zip(largest, pairs, strict=True)) for i in (0, 1))
        return Layout(a.mapped.populations, largest, ours, theirs)
    mine, yours = populations_of(a.net), populations_of(b.net)
    shared = [
        path for path, module in mine.items() if path in yours and yours[path].n_neurons == module.n_neurons
    ]
    if not shared:
        raise ConfigurationError(
            f"The two networks share no neurons: {', '.join(mine) or 'none'} on one side, "
            f"{', '.join(yours) or 'none'} on the other. Compare a network with a transform of itself."
        )
    return _together(tuple(Population(path, "hidden", 0, mine[path].n_neurons) for path in shared))


def _of_programs(a: Specification, b: Specification) -> tuple[Population, ...]:
    if a.chip != b.chip or a.shape != b.shape or a.n_synapses != b.n_synapses:
        raise ConfigurationError(f"{a!r} and {b!r} are not programs of one network: sizes or chips differ.")
    return a.populations or b.populations or whole_layers(a)


def _of_network_and_program(
    net: NetworkSide, spec: Specification
) -> tuple[tuple[Population, ...], tuple[int, ...]]:
    mapped = net.mapped
    if mapped is None:
        raise ConfigurationError(
            f"The {net.title} cannot be laid out on {spec.chip!r}, so its neurons have no place in the "
            "program. `check(net, chip)` tells why."
        )
    if mapped.shape != spec.shape or (spec.populations and mapped.populations != spec.populations):
        raise ConfigurationError(
            f"The specification {spec!r} is not one of this network, which maps to "
            f"{mapped.shape[0]} inputs, {mapped.shape[1]} hidden neurons and {mapped.shape[2]} outputs."
        )
    lost = {p.path for p in mapped.populations} - populations_of(net.net).keys()
    if lost:
        raise ConfigurationError(f"The network has no neurons at {', '.join(sorted(lost))}, the program has.")
    return mapped.populations, mapped.delays
