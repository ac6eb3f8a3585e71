"""What flows between the modules of a network while it is lowered: events and currents, not numbers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from torch import nn

__all__ = [
    "INPUT",
    "Circuit",
    "Current",
    "Events",
    "Node",
    "Projection",
    "Segment",
    "Skip",
    "Term",
    "Unknown",
    "Value",
    "add_counts",
]

INPUT = -1
"""Stands for the network's input where a population's number is expected."""

Counts = tuple[tuple[int, int], ...]
"""Pairs (population, how many times its events are in the sum), by rising population."""


@dataclass(frozen=True)
class Segment:
    """Channels that carry a sum of events: of the network's input, or of populations of one size."""

    counts: Counts
    width: int | None
    """Number of channels; None for the network's input, whose width its readers tell."""

    @property
    def carrier(self) -> int:
        """The population onto which the others are copied: the last one computed."""
        return self.counts[-1][0]


@dataclass(frozen=True)
class Events:
    """Events on channels; several segments where values were concatenated."""

    segments: tuple[Segment, ...]

    @property
    def from_input(self) -> bool:
        """Whether the network's own input is among the channels."""
        return any(segment.carrier == INPUT for segment in self.segments)


@dataclass(frozen=True, eq=False)
class Term:
    """Weighted events: one part of a current."""

    counts: Counts
    weights: np.ndarray
    """(sources, columns) float64."""
    path: str
    """The module that holds the weights."""


@dataclass(frozen=True, eq=False)
class Current:
    """What linear layers send to synapses: weighted events, added up, and a constant."""

    terms: tuple[Term, ...]
    bias: np.ndarray
    """(columns,) float64."""

    @property
    def width(self) -> int:
        """Number of channels."""
        return self.bias.shape[0]


@dataclass(frozen=True)
class Unknown:
    """A value that no chip can hold; the violation is reported where it arose."""


Value = Events | Current | Unknown


@dataclass(eq=False)
class Node:
    """A population of neurons and everything that its module says about it; arrays are float64."""

    index: int
    path: str
    """Path of the vertex, without the level that wrappers add."""
    module: nn.Module
    size: int
    synapses: int
    decay_mem: np.ndarray
    """(N,) factor by which the membrane decays in one step."""
    decay_syn: np.ndarray
    """(N, S)."""
    threshold: np.ndarray
    bias: np.ndarray
    synaptic_bias: np.ndarray
    """(N, S): the constant part of the synaptic input, from the biases of linear layers."""
    dt: float
    is_output: bool = False
    max_spikes: float = float("inf")
    """Events per step that the module allows a neuron."""
    hop_delay: bool = False
    """Whether the network itself delays these events by the step that a hop takes on the chip."""


@dataclass(frozen=True, eq=False)
class Projection:
    """Weights from the network's input or a sum of populations onto one population."""

    counts: Counts
    target: int
    weights: np.ndarray
    """(sources, N, S) float64."""
    path: str
    recurrent: bool = False


@dataclass(frozen=True)
class Skip:
    """Events of population ``source`` that are copied onto ``target``, neuron by neuron."""

    source: int
    target: int
    path: str


@dataclass(eq=False)
class Circuit:
    """A network as populations, projections and skips; what lowering finds in a graph."""

    nodes: list[Node] = field(default_factory=list)
    projections: list[Projection] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    """Populations that are the network's outputs, in the order of its channels."""
    n_inputs: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def hidden(self) -> list[Node]:
        """The populations that are not outputs, in the order of computation."""
        return [node for node in self.nodes if not node.is_output]


def add_counts(counts: Iterable[Counts]) -> Counts:
    """Add sums of events."""
    total: dict[int, int] = {}
    for one in counts:
        for population, times in one:
            total[population] = total.get(population, 0) + times
    return tuple(sorted(total.items()))
