"""Chooses weight shifts by trying them in the bit-exact simulator.

A larger shift lets weights, thresholds and states grow by a factor of two, so that rounding and the floor of
the integer decays matter less, until the 16 bits of the states are the limit; from there on it only makes the
weights coarser. Where the best point lies depends on the states that real data cause, so it is measured.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from snnkit.transforms.scaling import DEFAULT_HEADROOM, ScalePlan

from ..mapping.mapped_network import MappedNetwork
from ..simulator.counters import Counters
from ..simulator.xylo_sim import XyloSim
from .float_run import Calibration
from .quantising import QuantisedNetwork, quantise

__all__ = ["ShiftPoint", "Trial", "chance_between", "choose_plan", "shift_curve", "try_program"]

Shifts = tuple[int, int, int]

_INDISTINCT = 0.005
"""Agreements that differ by less count as equal: the smaller shift is then better."""

_CLEARLY = 0.05
"""Saturation is accepted for this much more accuracy, if that is beyond chance, or to end silence."""

_STANDARD_ERRORS = 2.0
"""What is beyond chance: with few samples, saturating programs would win by one lucky sample."""

_POOR = 0.8
_MORE_HEADROOM = (1.75, 2.5, 4.0)
_LESS_HEADROOM = (0.6, 0.3)
"""With fewer bits kept free for rare states, weights are finer and some states saturate."""


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

    plan: ScalePlan
    output: np.ndarray
    counters: Counters
    agreement: float
    same_class: float
    """Fraction of samples for which chip and network give the same class."""
    accuracy: float | None
    score: float
    """Accuracy if there are labels, else ``same_class``; samples without an answer count as wrong."""

    @property
    def shifts(self) -> Shifts:
        """Weight shifts for inputs, hidden neurons and outputs."""
        return self.plan.weight_shift_in, self.plan.weight_shift_rec, self.plan.weight_shift_out

    @property
    def saturations(self) -> int:
        """Clamped sums in all."""
        return self.counters.total_saturations

    @property
    def merit(self) -> tuple[float, ...]:
        """Sorts trials that saturate alike, the best one lowest."""
        return (
            -self.score,
            -int(self.agreement / _INDISTINCT),
            self.saturations,
            sum(self.shifts),
            *self.shifts,
            self.plan.headroom,
        )


def try_program(
    mapped: MappedNetwork, quantised: QuantisedNetwork, plan: ScalePlan, calibration: Calibration
) -> Trial:
    """Simulate a program on the calibration data and compare it with the network."""
    spec = quantised.specification
    membrane = bool((mapped.threshold_out >= mapped.chip.max_threshold).all())
    sim = XyloSim.from_specification(spec, output_mode="Vmem" if membrane else "Spike")
    padded = np.pad(calibration.raster, ((0, 0), (0, mapped.delay), (0, 0)))
    output = sim(padded)[0][:, mapped.delay :]
    if membrane:
        output = output / quantised.scale_out
    expected = calibration.readout(calibration.output)
    # Silence reads as class 0: without this, dead outputs would win wherever that class is common.
    answered = output.any(axis=(1, 2)) | ~calibration.output.any(axis=(1, 2))
    same = (calibration.readout(output) == expected) & answered
    wanted = expected if calibration.labels is None else calibration.labels
    return Trial(
        plan=plan,
        output=output,
        counters=sim.counters,
        agreement=_agreement(output, calibration.output),
        same_class=float(same.mean()),
        accuracy=accuracy_of(output, calibration),
        score=float(((calibration.readout(output) == wanted) & answered).mean()),
    )


def accuracy_of(output: np.ndarray, calibration: Calibration) -> float | None:
    """Return the fraction of correct classes, None without labels."""
    if calibration.labels is None:
        return None
    return float((calibration.readout(output) == calibration.labels).mean())


def choose_plan(mapped: MappedNetwork, calibration: Calibration, headroom: float | None = None) -> ScalePlan:
    """Return the weight shifts and the headroom that serve best on the calibration data.

    Best is a program that saturates nowhere, with the highest accuracy (without labels: the most classes
    in common with the network), then with output events that agree best, then with the smallest shifts. One
    that saturates is taken only if all that do not are clearly worse: beyond chance in accuracy, or silent.
    The result depends on nothing but the arguments.

    All three shifts are tried together first, then one by one around the best. Unless it is given, the
    headroom is 1.25; others are tried only where states saturate with it or the agreement is poor.
    """
    start = ScalePlan(peaks=calibration.peaks, headroom=DEFAULT_HEADROOM if headroom is None else headroom)
    best = _best_shifts(mapped, calibration, start)
    if headroom is not None:
        return best.plan
    tried = [best]
    if best.saturations:
        tried += [_best_shifts(mapped, calibration, replace(start, headroom=more)) for more in _MORE_HEADROOM]
    if best.agreement < _POOR:
        tried += [_best_shifts(mapped, calibration, replace(start, headroom=less)) for less in _LESS_HEADROOM]
    return _best(tried).plan


def _best_shifts(mapped: MappedNetwork, calibration: Calibration, plan: ScalePlan) -> Trial:
    trials: dict[Shifts, Trial] = {}

    def best_with(candidates: Iterable[Shifts]) -> Trial:
        for shifts in candidates:
            if shifts not in trials:
                trials[shifts] = _try_shifts(mapped, calibration, plan, shifts)
        return _best(trials.values())

    best = best_with((shift, shift, shift) for shift in _all_shifts(mapped))
    while True:
        again = best_with(_neighbours(best.shifts, mapped.chip.max_weight_shift))
        if again is best:
            return best
        best = again


def _best(trials: Iterable[Trial]) -> Trial:
    """Return the best trial that does not saturate, unless it is clearly worse than one that does."""
    found = sorted(trials, key=lambda trial: trial.merit)
    clean = next((trial for trial in found if not trial.saturations), None)
    if clean is None:
        return found[0]
    return found[0] if _is_clearly_better(found[0], clean) else clean


def _is_clearly_better(saturating: Trial, clean: Trial) -> bool:
    """Tell whether states should saturate: the score rises beyond chance, or nothing else gives events."""
    chance = chance_between(saturating.score, clean.score, len(clean.output))
    if saturating.score - clean.score > max(_CLEARLY, chance):
        return True
    return clean.agreement < _CLEARLY and saturating.agreement > 2 * _CLEARLY


def chance_between(score: float, other: float, samples: int) -> float:
    """Return by how much two fractions of right classes may differ by chance: two standard errors."""
    mean = (score + other) / 2
    return _STANDARD_ERRORS * sqrt(2 * mean * (1 - mean) / samples)


def shift_curve(mapped: MappedNetwork, calibration: Calibration, plan: ScalePlan) -> tuple[ShiftPoint, ...]:
    """Return what each common weight shift would give, under the plan's peaks and headroom."""
    points = []
    for shift in _all_shifts(mapped):
        trial = _try_shifts(mapped, calibration, plan, (shift, shift, shift))
        points.append(ShiftPoint(shift, trial.saturations, trial.agreement, trial.accuracy))
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
    shifted = replace(plan, weight_shift_in=shifts[0], weight_shift_rec=shifts[1], weight_shift_out=shifts[2])
    return try_program(mapped, quantise(mapped, shifted), shifted, calibration)


def _agreement(chip: np.ndarray, net: np.ndarray) -> float:
    """Return 1 minus the share of each sample's summed outputs that differs; 1 if both are silent."""
    ours, theirs = chip.sum(axis=1, dtype=np.float64), net.sum(axis=1, dtype=np.float64)
    total = np.abs(ours).sum() + np.abs(theirs).sum()
    return 1.0 if total == 0 else float(1.0 - np.abs(ours - theirs).sum() / total)
