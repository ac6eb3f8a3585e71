"""The earliest difference of two traces."""

from dataclasses import dataclass

import numpy as np

from .trace import Trace, aligned

__all__ = ["Place", "first_difference"]

STATES = ("Isyn", "Isyn2", "Vmem")
QUANTITIES = (*STATES, "events")
"""In the order in which they follow from one another within a step."""


@dataclass(frozen=True)
class Place:
    """A neuron in one step of one sample; all are numbers, ``time`` is that of a Divergence."""

    time: int
    layer: int
    neuron: int
    sample: int
    quantity: str
    a_value: float
    b_value: float


def first_difference(a: Trace, b: Trace, steps: int) -> Place | None:
    """Return the earliest difference; within a step that which makes the others.

    Events are compared always, states where both sides are exact. In one step of the network's time earlier
    layers come first; on chips, where every layer sees the events of the step before, states come first.
    """
    both_exact = a.exact and b.exact
    found = []
    for layer, (ours, theirs) in enumerate(zip(a.layers, b.layers, strict=True)):
        for rank, quantity in enumerate(QUANTITIES):
            first, second = ours.values(quantity), theirs.values(quantity)
            if first is None or second is None or (quantity != "events" and not both_exact):
                continue
            first, second = (
                values[:, :steps] for values in aligned(first, second, theirs.delay - ours.delay)
            )
            place = _earliest(first, second)
            if place is not None:
                time, sample, neuron = place
                # Layers wait for each other where a side has no hop delays.
                causal = (0, rank, layer) if both_exact else (theirs.delay + ours.delay, layer, rank)
                values = float(first[sample, time, neuron]), float(second[sample, time, neuron])
                key = (time, *causal, sample, neuron)
                found.append((key, Place(time, layer, neuron, sample, quantity, *values)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _earliest(a: np.ndarray, b: np.ndarray) -> tuple[int, int, int] | None:
    """Return (time, sample, neuron) of the first difference of (batch, time, neurons) arrays."""
    different = a != b
    times = np.flatnonzero(different.any(axis=(0, 2)))
    if not times.size:
        return None
    time = int(times[0])
    sample, neuron = (int(i) for i in np.argwhere(different[:, time])[0])
    return time, sample, neuron
