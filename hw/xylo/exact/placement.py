"""Where the parameters of a network sit among the arrays of a chip's program."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["INPUT", "Block", "Group", "Key", "Placement", "Selection"]

INPUT = -1
"""Stands for the network's input where a population's number is expected."""

Key = tuple[str, str]
"""Path of a module in the network without wrappers, and name of its parameter."""


@dataclass(frozen=True, eq=False)
class Selection:
    """Elements of one parameter, in the order of an array of the chip.

    Attributes:
        key: the parameter.
        index: positions in the flat parameter, in any shape; -1 where the array has nothing of it.
        size: number of elements of the parameter.
    """

    key: Key
    index: np.ndarray
    size: int

    def __post_init__(self) -> None:
        count = np.arange(self.size)
        flat = self.index.reshape(self.index.shape[0], -1)
        order = "some"
        if self.index.size == self.size:
            if np.array_equal(self.index.ravel(), count):
                order = "same"
            elif np.array_equal(flat.T.ravel(), count):
                order = "transposed"
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_holes", bool((self.index < 0).any()))

    def of(self, flat: np.ndarray) -> np.ndarray:
        """Return the array that the flat parameter makes, in the shape of ``index``."""
        order: str = self._order  # type: ignore[attr-defined]
        if order == "same":
            return flat.reshape(self.index.shape)
        if order == "transposed":
            return flat.reshape(-1, self.index.shape[0]).T.reshape(self.index.shape)
        taken = flat[self.index]
        return np.where(self.index >= 0, taken, 0.0) if self._holes else taken  # type: ignore[attr-defined]

    def back(self, array: np.ndarray) -> np.ndarray:
        """Return the flat parameter's gradient, given that of the array."""
        order: str = self._order  # type: ignore[attr-defined]
        if order == "same":
            return array.reshape(-1)
        if order == "transposed":
            return array.reshape(array.shape[0], -1).T.reshape(-1)
        inside = self.index >= 0
        return np.bincount(self.index[inside], array[inside], minlength=self.size)


@dataclass(frozen=True, eq=False)
class Block:
    """Weights of one layer from one population (or the input) to another.

    Attributes:
        weights: (sources, N, S) of the target's own synapses.
        source: number of the population, or ``INPUT``.
        target: number of the population.
        factor: how often they count; -1 where they cancel events that an alias copies.
    """

    weights: Selection
    source: int
    target: int
    factor: int


@dataclass(frozen=True, eq=False)
class Group:
    """A population of neurons on the chip.

    Attributes:
        index: its number, in the order of computation.
        path: of its module in the network without wrappers.
        name: of the population in the specification.
        is_output: whether these are output neurons.
        place: its neurons within their layer.
        synapses: of each neuron, its own.
        threshold: (N,).
        bias: (N,).
        synaptic_bias: (N, S) each: biases of the linear layers in front.
        copied: populations whose events aliases copy onto these neurons.
        periodic: whether the surrogate is PeriodicExponential, else StepPWL.
        window: width of the surrogate in float units.
        relative: whether the window is in units of the threshold instead.
    """

    index: int
    path: str
    name: str
    is_output: bool
    place: slice
    synapses: int
    threshold: Selection
    bias: Selection
    synaptic_bias: tuple[Selection, ...]
    copied: tuple[int, ...]
    periodic: bool
    window: float
    relative: bool

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(self.place.stop - self.place.start)


@dataclass(frozen=True, eq=False)
class Placement:
    """All of a network's parameters on a chip.

    Attributes:
        groups: the populations that are on the chip, by number, in the order of computation.
        blocks: all weights.
    """

    groups: Mapping[int, Group]
    blocks: tuple[Block, ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        """All parameters except leaks, each once, in a fixed order."""
        found = [block.weights.key for block in self.blocks]
        for group in self.groups.values():
            found += [group.threshold.key, group.bias.key, *(one.key for one in group.synaptic_bias)]
        return tuple(dict.fromkeys(found))

    def has(self, source: int, target: int) -> bool:
        """Whether there are weights from one population (or the input) to another."""
        return any(block.source == source and block.target == target for block in self.blocks)
