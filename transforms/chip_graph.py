"""Which weights meet in which neurons: what one chip scale has to cover.

On a chip, events that a residual path copies leave the neuron onto which they are copied. Weights behind
such a neuron, and its own recurrent ones, thereby become weights from other populations as well, and add up
with weights that are there. A scale must fit those sums, so they are found here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from snnkit.dag import Add, Concat, DagModule, Identity, InnerVertex
from snnkit.nn.modules import LIFTorch, LinearTorch, TimeStepDropout, UnitDropout, aLIFTorch
from snnkit.utilities.errors import ConfigurationError

__all__ = ["INPUT", "Population", "Weights", "read_populations"]

Counts = dict[int, int]

INPUT = -1
"""Stands for the network's input among the numbers of sources."""

_PASSING = (Identity, nn.Identity, nn.Dropout, UnitDropout, TimeStepDropout)


@dataclass(frozen=True)
class Weights:
    """One weight matrix onto a population."""

    path: str
    """Vertex path of the layer; the population's own for recurrent weights."""
    module: nn.Module
    recurrent: bool
    factors: Mapping[int, int]
    """Source -> how often the matrix counts among the weights from that source on the chip."""

    @property
    def carrier(self) -> int:
        """The latest source: the one whose weights this matrix is in the first place."""
        return max(self.factors)


@dataclass
class Population:
    """A LIF population with all the weights that feed it."""

    index: int
    path: str
    module: LIFTorch | aLIFTorch
    weights: list[Weights] = field(default_factory=list)
    is_output: bool = False


@dataclass
class _Events:
    counts: Counts


@dataclass
class _Current:
    layers: list[tuple[str, nn.Module, Counts]]


_Value = _Events | _Current


def read_populations(graph: DagModule) -> list[Population]:
    """Return the populations of a network's graph in the order of computation.

    Raises:
        ConfigurationError: the graph holds what no chip scale can be given to; all such places are listed.
    """
    walk = _Walk()
    flat = graph.flatten()
    values: dict[str, _Value] = {vertex.name: _Events({INPUT: 1}) for vertex in flat.input_vertices}
    for vertex in flat.inner_vertices:
        values[vertex.name] = walk.value_of(vertex, [values[source.name] for source in vertex.predecessors])
    for output in flat.output_vertices:
        value = values[output.name]
        for population in walk.populations:
            if isinstance(value, _Events) and population.index in value.counts:
                population.is_output = True
    errors = [*walk.errors, *_shared_layers(walk.populations)]
    if errors:
        raise ConfigurationError("No chip scale fits this network:\n" + "\n".join(errors))
    for population in walk.populations:
        population.weights = [
            replace(weights, factors=_factors(weights.factors, walk.carried))
            for weights in population.weights
        ]
    return walk.populations


def _factors(counts: Mapping[int, int], carried: Mapping[int, Counts]) -> Counts:
    """Return which sources' weights, times which factor, carry exactly the events of ``counts``.

    An event sum can contain a source only through later ones that carry it too, so the latest comes from
    itself, and what else it carries is taken off the rest.
    """
    left = dict(counts)
    factors: Counts = {}
    while left:
        latest = max(left)
        times = left[latest]
        factors[latest] = times
        for source, copies in carried[latest].items():
            left[source] = left.get(source, 0) - times * copies
        left = {source: rest for source, rest in left.items() if rest}
    return factors


def _shared_layers(populations: list[Population]) -> Iterator[str]:
    """Say which layers would need two scales: those that feed more than one population."""
    readers: dict[int, list[str]] = {}
    paths: dict[int, str] = {}
    for population in populations:
        for weights in population.weights:
            readers.setdefault(id(weights.module), []).append(population.path)
            paths[id(weights.module)] = weights.path
    for key, found in readers.items():
        if len(found) > 1 and paths[key] not in found:
            yield f"{paths[key]} feeds {' and '.join(found)}: give each of them a LinearTorch of its own."


class _Walk:
    """What is known while the vertices are read one after the other."""

    def __init__(self) -> None:
        self.populations: list[Population] = []
        self.errors: list[str] = []
        self.carried: dict[int, Counts] = {INPUT: {INPUT: 1}}

    def value_of(self, vertex: InnerVertex, values: list[_Value]) -> _Value:
        """Return what the vertex makes of the values of its predecessors."""
        module, path = vertex.module, vertex.name
        if isinstance(module, LinearTorch | nn.Linear) and isinstance(values[0], _Events):
            return _Current([(path, module, values[0].counts)])
        if isinstance(module, LIFTorch | aLIFTorch):
            return self._neurons(path, module, values[0])
        if isinstance(module, _PASSING):
            return values[0]
        if isinstance(module, Add):
            return self._sum(path, values)
        if isinstance(module, Concat) and all(isinstance(value, _Events) for value in values):
            # The parts stand in different rows of the weights, so nothing adds up across them.
            return _Events(self._new_source())
        kind = type(module).__name__
        self.errors.append(f"{path}: {kind} cannot be trained for a chip. Use LinearTorch and LIFTorch here.")
        return _Events({})

    def _new_source(self) -> Counts:
        index = len(self.carried) - 1
        self.carried[index] = {index: 1}
        return {index: 1}

    def _neurons(self, path: str, module: LIFTorch | aLIFTorch, value: _Value) -> _Events:
        if isinstance(value, _Events):
            self.errors.append(f"{path}: events reach neurons through weights. Put a LinearTorch in front.")
            value = _Current([])
        (index,) = counts = self._new_source()
        population = Population(index, path, module)
        for layer, weights, events in value.layers:
            population.weights.append(Weights(layer, weights, False, events))
        if module.w_rec is not None:
            population.weights.append(Weights(path, module, True, counts))
        self.populations.append(population)
        return _Events(counts)

    def _sum(self, path: str, values: list[_Value]) -> _Value:
        currents = [value for value in values if isinstance(value, _Current)]
        events = [value for value in values if isinstance(value, _Events)]
        if currents and events:
            self.errors.append(
                f"{path}: weighted currents and events cannot be added: use a LinearTorch each."
            )
        if currents:
            return _Current([layer for value in currents for layer in value.layers])
        return _Events(self._merge([value.counts for value in events]))

    def _merge(self, sums: list[Counts]) -> Counts:
        """Add sums of events: each but the latest is copied onto the latest's carrier."""
        carriers = [max(counts) for counts in sums if counts]
        latest = max(carriers)
        total: Counts = {}
        for counts, carrier in zip(sums, carriers, strict=True):
            for source, times in counts.items():
                total[source] = total.get(source, 0) + times
            if carrier != latest:
                for source, times in self.carried[carrier].items():
                    self.carried[latest][source] = self.carried[latest].get(source, 0) + times
        return total
