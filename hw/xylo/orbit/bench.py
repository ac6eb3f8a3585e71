"""Measures programs against the float network, driven by its events and in free run."""

from dataclasses import dataclass, replace

import numpy as np

from snnkit.transforms.scaling import ScalePlan

from ..deployment.calibration import try_program
from ..deployment.float_run import Calibration
from ..deployment.quantising import QuantisedNetwork
from ..mapping.mapped_network import MappedNetwork
from ..specification.core import Specification
from .neurons import Layer, Shifts, hidden_layer, output_layer
from .program import FreeRun, forced_mismatch, free_run
from .result import Measures
from .teacher import Teacher

__all__ = ["Bench", "LayerShifts", "Measured", "evenly", "measures_of", "shifts_of"]

LayerShifts = tuple[Shifts, Shifts]
"""Of hidden and of output neurons."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A program, what it did in free run, and how far that is from the network.

    Attributes:
        quantised: the program.
        forced: differing events of each hidden and each output neuron, driven by the network.
        run: in free run.
        measures: of both.
    """

    quantised: QuantisedNetwork
    forced: tuple[np.ndarray, np.ndarray]
    run: FreeRun
    measures: Measures


class Bench:
    """A network with calibration data, on which programs are measured.

    Args:
        mapped: the network.
        plan: whose peaks and headroom programs bear.
        data: all calibration data; classes are compared on them.
        teacher: the network's events on the recordings of the search.
    """

    def __init__(self, mapped: MappedNetwork, plan: ScalePlan, data: Calibration, teacher: Teacher) -> None:
        self.mapped, self.plan, self.data, self.teacher = mapped, plan, data, teacher
        self.layers: tuple[Layer, Layer] = hidden_layer(mapped, teacher), output_layer(mapped, teacher)

    def measured(self, quantised: QuantisedNetwork) -> Measured:
        """Run a program in both ways, and all calibration data through it."""
        run = free_run(quantised.specification, self.teacher)
        forced = forced_mismatch(quantised.specification, self.layers)
        trial = try_program(self.mapped, quantised, self.plan_of(quantised), self.data)
        return Measured(quantised, forced, run, measures_of(run, forced, self.teacher, trial.score))

    def plan_of(self, quantised: QuantisedNetwork) -> ScalePlan:
        """Return the plan with the weight shifts of a program."""
        names = ("weight_shift_in", "weight_shift_rec", "weight_shift_out")
        return replace(self.plan, **{name: getattr(quantised.specification, name) for name in names})


def measures_of(
    run: FreeRun, forced: tuple[np.ndarray, np.ndarray], teacher: Teacher, score: float
) -> Measures:
    """Return how far a program is from the network.

    Args:
        run: the program in free run.
        forced: differing events of each hidden and each output neuron, driven by the network.
        teacher: the network's events.
        score: fraction of right classes.
    """
    outputs = run.outputs.sum(axis=1, dtype=np.int64) - teacher.outputs.sum(axis=1, dtype=np.int64)
    return Measures(
        hidden_forced=float(forced[0].sum()) / _total(teacher.own),
        output_forced=float(forced[1].sum()) / _total(teacher.outputs),
        hidden_free=_difference(run.hidden, teacher.delivered) / _total(teacher.delivered),
        output_free=_difference(run.outputs, teacher.outputs) / _total(teacher.outputs),
        count_error=float(np.abs(outputs).mean()),
        saturations=run.saturations,
        score=score,
    )


def _difference(sent: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(sent - wanted).sum(dtype=np.int64))


def _total(events: np.ndarray) -> int:
    """Return the number of events, at least 1: of a silent layer every event is one too many."""
    return max(1, int(events.sum(dtype=np.int64)))


def shifts_of(spec: Specification) -> LayerShifts:
    """Return the weight shifts of a program by layer and bank."""
    return (spec.weight_shift_in, spec.weight_shift_rec), (spec.weight_shift_out,)


def evenly(count: int, most: int) -> np.ndarray:
    """Return the numbers of at most ``most`` of ``count`` recordings, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
