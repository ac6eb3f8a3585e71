"""Chooses weight shifts by trying them in the bit-exact simulator.

A larger shift lets weights, thresholds and states grow by a factor of two, so that rounding and the floor of
the integer decays matter less, until the 16 bits of the states are the limit; from there on it only makes the
weights coarser. Where the best point lies depends on the states that real data cause, so it is measured.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from snnkit.transforms.scaling import ScalePlan

from .counters import Counters
from .float_run import Calibration
from .mapped_network import MappedNetwork
from .quantising import QuantisedNetwork, quantise
from .simulator import XyloSim

__all__ = ["ShiftPoint", "Trial", "choose_shifts", "shift_curve", "try_program"]

Shifts = tuple[int, int, int]

_INDISTINCT = 0.005
"""Agreements that differ by less count as equal: the smaller shift is then better."""


@dataclass(frozen=True)
class ShiftPoint:
    """What one weight shift (for inputs, hidden neurons and outputs alike) gives on the calibration data.

    Attributes:
        shift: left shift of all weights.
        saturations: clamped sums in all.
        agreement: 1 if every output has as many events as in torch in each sample, 0 if nothing agrees.
        accuracy: fraction of correct classes, if labels were given.
    """

    shift: int
    saturations: int
    agreement: float
    accuracy: float | None


@dataclass(frozen=True, eq=False)
class Trial:
    """One program on the calibration data; ``output`` is aligned with the network's."""

    shifts: Shifts
    output: np.ndarray
    counters: Counters
    agreement: float
    same_class: float
    """Fraction of samples for which chip and network give the same class."""
    accuracy: float | None

    @property
    def merit(self) -> tuple[float, ...]:
        """Sorts trials, the best one lowest."""
        accuracy = self.same_class if self.accuracy is None else self.accuracy
        return (
            self.counters.total_saturations,
            -accuracy,
            -int(self.agreement / _INDISTINCT),
            sum(self.shifts),
            *self.shifts,
        )


def try_program(mapped: MappedNetwork, quantised: QuantisedNetwork, calibration: Calibration) -> Trial:
    """Simulate a program on the calibration data and compare it with the network."""
    spec = quantised.specification
    membrane = bool((mapped.threshold_out >= mapped.chip.max_threshold).all())
    sim = XyloSim.from_specification(spec, output_mode="Vmem" if membrane else "Spike")
    padded = np.pad(calibration.raster, ((0, 0), (0, mapped.delay), (0, 0)))
    output = sim(padded)[0][:, mapped.delay :]
    if membrane:
        output = output / quantised.scale_out
    return Trial(
        shifts=(spec.weight_shift_in, spec.weight_shift_rec, spec.weight_shift_out),
        output=output,
        counters=sim.counters,
        agreement=_agreement(output, calibration.output),
        same_class=float((calibration.readout(output) == calibration.readout(calibration.output)).mean()),
        accuracy=accuracy_of(output, calibration),
    )


def accuracy_of(output: np.ndarray, calibration: Calibration) -> float | None:
    """Return the fraction of correct classes, None without labels."""
    if calibration.labels is None:
        return None
    return float((calibration.readout(output) == calibration.labels).mean())


def choose_shifts(mapped: MappedNetwork, calibration: Calibration, plan: ScalePlan) -> ScalePlan:
    """Return ``plan`` with the weight shifts that serve best on the calibration data.

    Best is: no saturation; then the highest accuracy (without labels: the same classes as the network);
    then the output events that agree best; then the smaller shifts. All three shifts are tried together
    first, then one by one around the best; the result depends on nothing but the arguments.
    """
    trials: dict[Shifts, Trial] = {}

    def best_of(candidates: Iterable[Shifts]) -> Trial:
        for shifts in candidates:
            if shifts not in trials:
                trials[shifts] = _try_shifts(mapped, calibration, plan, shifts)
        return min(trials.values(), key=lambda trial: trial.merit)

    best = best_of((shift, shift, shift) for shift in _all_shifts(mapped))
    while True:
        again = best_of(_neighbours(best.shifts, mapped.chip.max_weight_shift))
        if again is best:
            return _with_shifts(plan, best.shifts)
        best = again


def shift_curve(mapped: MappedNetwork, calibration: Calibration, plan: ScalePlan) -> tuple[ShiftPoint, ...]:
    """Return what each common weight shift would give, under the plan's peaks and headroom."""
    points = []
    for shift in _all_shifts(mapped):
        trial = _try_shifts(mapped, calibration, plan, (shift, shift, shift))
        saturations = trial.counters.total_saturations
        points.append(ShiftPoint(shift, saturations, trial.agreement, trial.accuracy))
    return tuple(points)


def _all_shifts(mapped: MappedNetwork) -> range:
    return range(mapped.chip.max_weight_shift + 1)


def _neighbours(shifts: Shifts, largest: int) -> list[Shifts]:
    found = []
    for place in range(3):
        for step in (-1, 1):
            moved = list(shifts)
            moved[place] += step
            if 0 <= moved[place] <= largest:
                found.append((moved[0], moved[1], moved[2]))
    return found


def _try_shifts(mapped: MappedNetwork, calibration: Calibration, plan: ScalePlan, shifts: Shifts) -> Trial:
    return try_program(mapped, quantise(mapped, _with_shifts(plan, shifts)), calibration)


def _with_shifts(plan: ScalePlan, shifts: Shifts) -> ScalePlan:
    return replace(plan, weight_shift_in=shifts[0], weight_shift_rec=shifts[1], weight_shift_out=shifts[2])


def _agreement(chip: np.ndarray, net: np.ndarray) -> float:
    """Return 1 minus the share of each sample's summed outputs that differs; 1 if both are silent."""
    ours, theirs = chip.sum(axis=1, dtype=np.float64), net.sum(axis=1, dtype=np.float64)
    total = np.abs(ours).sum() + np.abs(theirs).sum()
    return 1.0 if total == 0 else float(1.0 - np.abs(ours - theirs).sum() / total)
