"""All states of a chip, read neuron by neuron."""

from dataclasses import dataclass

import numpy as np

from ..xylo.simulator.run import CoreState
from ..xylo.specification.core import Specification
from .errors import ReadoutLost
from .samna_driver import SamnaBoard
from .waiting import Waiter

__all__ = ["States", "read_states"]


@dataclass(frozen=True, eq=False)
class States:
    """States of one chip: isyn (S, Nhid), vmem and spikes (Nhid,), isyn_out and vmem_out (Nout,)."""

    isyn: np.ndarray
    vmem: np.ndarray
    spikes: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray

    @property
    def is_rest(self) -> bool:
        """Whether everything is zero."""
        return not any(array.any() for array in vars(self).values())

    @property
    def described(self) -> str:
        """Which states are not zero, for messages."""
        parts = [f"{np.count_nonzero(array)} in {name}" for name, array in vars(self).items() if array.any()]
        return ", ".join(parts) or "none"

    def as_core_state(self) -> CoreState:
        """Return the state of one sample as the simulator keeps it."""
        return CoreState(*(array[None].astype(np.int16) for array in vars(self).values()))


def read_states(board: SamnaBoard, waiter: Waiter, spec: Specification) -> States:
    """Read every state; access to the memory must be open.

    Raises:
        ReadoutLost: an answer is missing.
    """
    n, both = spec.n_hidden, spec.n_hidden + spec.n_out
    isyn, vmem = _read(board, waiter, "Isyn", both), _read(board, waiter, "Vmem", both)
    synapses = [isyn[:n]]
    if spec.n_synapses == 2:
        synapses.append(_read(board, waiter, "Isyn2", n))
    spikes = _read(board, waiter, "Spikes", n)
    return States(np.stack(synapses), vmem[:n], spikes, isyn[n:], vmem[n:])


def _read(board: SamnaBoard, waiter: Waiter, name: str, count: int) -> np.ndarray:
    requests = board.state_requests(name, count)
    board.clear()
    board.write(requests)
    kind = f"{count} states {name}"
    events = waiter.until(lambda found: len(found) >= len(requests), kind)
    values = board.states_in(name, events)
    if sorted(values) != list(range(count)):
        raise ReadoutLost(f"The chip answered {len(values)} of {kind}.")
    return np.array([values[i] for i in range(count)], np.int64)
