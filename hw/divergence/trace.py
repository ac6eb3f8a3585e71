"""What one side did, layer by layer, in its own time and units."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

__all__ = ["LayerTrace", "Trace", "aligned"]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One population.

    Attributes:
        path: module path.
        neurons: how many.
        delay: steps by which this side lags the network in torch here.
        threshold: (neurons,) in the units of ``states``.
        events: (batch, time, neurons) whole numbers, None if not observed.
        states: (batch, time, neurons) for some of ``Isyn``, ``Isyn2``, ``Vmem``: after each step.
    """

    path: str
    neurons: int
    delay: int
    threshold: np.ndarray
    events: np.ndarray | None
    states: Mapping[str, np.ndarray] = field(default_factory=dict)

    def values(self, quantity: str) -> np.ndarray | None:
        """Return the record of ``"events"`` or of a state, None if not observed."""
        return self.events if quantity == "events" else self.states.get(quantity)


@dataclass(frozen=True, eq=False)
class Trace:
    """All layers of one side, from the input to the outputs.

    Attributes:
        title: what the side is called.
        layers: its populations.
        exact: whether states are the integers of a chip, to be compared bit by bit with another's.
    """

    title: str
    layers: tuple[LayerTrace, ...]
    exact: bool


def aligned(a: np.ndarray, b: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray]:
    """Move (batch, time, neurons) arrays onto each other; ``b`` lags by ``lag`` steps (below 0: leads)."""
    first, second = a[:, max(-lag, 0) :], b[:, max(lag, 0) :]
    steps = min(first.shape[1], second.shape[1])
    return first[:, :steps], second[:, :steps]
