"""What a backend answers to rasters, before it is put into the caller's shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..xylo.simulator.run import RECORDS, CoreState
from ..xylo.specification.core import Specification
from .power import PowerReading

__all__ = ["OUTPUT", "Answer", "joined", "record_names", "record_width"]

OUTPUT = "Spikes_out"
"""The record that is the output of a run."""


def record_names(spec: Specification) -> tuple[str, ...]:
    """Return what can be recorded of a program, under XyloSim's names and in its order."""
    absent = {OUTPUT} if spec.n_synapses == 2 else {OUTPUT, "Isyn2"}
    return tuple(name for name in RECORDS if name not in absent)


def record_width(spec: Specification, name: str) -> int:
    """Return how many neurons a record has."""
    return spec.n_out if name.endswith("_out") else spec.n_hidden


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to a batch of rasters.

    Attributes:
        recorded: arrays ``(batch, time, neurons)``; :data:`OUTPUT` is always among them.
        state: after the last step.
        first_steps: for each sample the device's own number of its first time step.
        power: measured while it ran; None if that was not asked for or cannot be.
        retries: writes, resets and runs that failed and were repeated.
        reordered: readouts that came out of order and were put right.
    """

    recorded: Mapping[str, np.ndarray]
    state: CoreState
    first_steps: tuple[int, ...]
    power: PowerReading | None = None
    retries: int = 0
    reordered: int = 0


def joined(answers: Sequence[Answer]) -> Answer:
    """Join the answers to single samples into one; they are of equal lengths and records."""
    names = answers[0].recorded.keys()
    readings = [answer.power for answer in answers if answer.power is not None]
    return Answer(
        recorded={name: np.concatenate([a.recorded[name] for a in answers]) for name in names},
        state=CoreState(
            *(np.concatenate([getattr(a.state, f.name) for a in answers]) for f in fields(CoreState))
        ),
        first_steps=tuple(step for a in answers for step in a.first_steps),
        power=PowerReading.joined(readings) if readings else None,
        reordered=sum(a.reordered for a in answers),
    )
