"""An estimate of a chip's power from its cycles, for planning; only a measurement is a number.

    power = idle + energy per cycle * cycles per time step / dt

Few figures are published, and none separates its parts cleanly:

* sound scenes on Xylo-Audio (Bos & Muir 2022, arXiv 2208.12991): about 219 µW idle and 93 µW dynamic.
  A net of about that size (3 × 24 neurons, 1 ms steps, 10 % activity) takes 3 million cycles per second
  by the cycle model: about 30 pJ per cycle.
* key words on Xylo-Audio 2 (Bos & Muir 2024, arXiv 2406.15112): 291 µW dynamic. Taken over a net of the
  same size, that is the upper end, about 100 pJ per cycle.
* Braille letters on Xylo-Audio 2 (NIR paper, Nature Communications 2024): 277 µW in all with a clock of
  6.25 MHz. With 219 µW idle and no free cycle, that is the lower end, about 10 pJ per cycle.
* idle Xylo-Audio 3 (Rockpool's tutorial): 543 µW for the spiking core alone.

Nothing is published for Xylo-IMU: its idle power is taken to lie between those of the other chips.
Front end and input/output pins are not included.
"""

from dataclasses import dataclass
from typing import Any

from snnkit.utilities.errors import ParameterError

from .cycles import chip_of, count_cycles, est_clock_freq, time_step_of

__all__ = ["InferenceCost", "PowerEstimate", "estimate_power", "inference_cost"]

_PICOJOULES_PER_CYCLE = (10e-12, 30e-12, 100e-12)
"""Low, middle, high."""

_IDLE_WATTS = {
    "a1": (110e-6, 219e-6, 330e-6),
    "a2": (110e-6, 219e-6, 330e-6),
    "a3": (270e-6, 543e-6, 815e-6),
    "imu": (110e-6, 345e-6, 815e-6),
}
"""Low, middle, high: the one published figure ± 50 %; Xylo-IMU: geometric mean and both ends."""

_SOURCES = {
    "a1": "219 µW idle, ± 50 % (Bos & Muir 2022)",
    "a2": "219 µW idle, ± 50 % (Bos & Muir 2022)",
    "a3": "543 µW idle, ± 50 % (Rockpool's tutorial)",
    "imu": "no published figure, so idle is taken between those of Xylo-Audio 2 and 3",
}


@dataclass(frozen=True)
class PowerEstimate:
    """An estimate, not a measurement, of the power that the spiking core draws.

    Attributes:
        watts: the middle of the range.
        low: lower end in watts.
        high: upper end in watts.
        idle_watts: part of ``watts`` that is drawn without any event.
        dynamic_watts: part of ``watts`` that grows with the cycles.
        cycles_per_second: what the cycle model asks for.
        explanation: one sentence with the sources.
    """

    watts: float
    low: float
    high: float
    idle_watts: float
    dynamic_watts: float
    cycles_per_second: float
    explanation: str

    def __str__(self) -> str:
        low, middle, high = (round(1e6 * value) for value in (self.low, self.watts, self.high))
        return f"about {middle} µW (estimate; {low} to {high} µW)"


def estimate_power(
    config: Any, dt: float | None = None, input_sp: Any = 1.0, hidden_sp: Any = 1.0
) -> PowerEstimate:
    """Estimate the power of the spiking core in watts, with an honest range.

    Args:
        config: a :class:`Specification`, or a chip configuration (ours or the vendor's).
        dt: time step in seconds; that of the specification if left out.
        input_sp: probability of an input event, or an input raster, as in ``cycles_model``.
        hidden_sp: the same for hidden neurons; give recorded rasters for a typical figure.

    Raises:
        ParameterError: if ``dt`` is missing or not positive, or a probability is outside 0..1.
    """
    chip = chip_of(config)
    rate = count_cycles(config, input_sp, hidden_sp).total / time_step_of(config, dt)
    idle = _IDLE_WATTS[chip.name]
    low, middle, high = (i + energy * rate for i, energy in zip(idle, _PICOJOULES_PER_CYCLE, strict=True))
    explanation = (
        f"Estimate for the spiking core of {chip.title}, no measurement: {_SOURCES[chip.name]}; and "
        f"10 to 100 pJ, middle 30 pJ, for each of {rate:.3g} cycles per second (cycle model; published "
        "measurements of whole nets). Front end and pins are not included."
    )
    return PowerEstimate(middle, low, high, idle[1], middle - idle[1], rate, explanation)


@dataclass(frozen=True)
class InferenceCost:
    """What one answer of a chip costs in real time, by the cycle model: an estimate.

    Attributes:
        steps: time steps of one inference.
        seconds: its duration.
        cycles_per_step: clock cycles of one step with the activity given.
        cycles: of the whole inference.
        clock: main clock in Hz that is never too slow, whatever the activity.
        joules: energy of one inference, idle power included; the middle of the range.
        low: lower end in joules.
        high: upper end in joules.
        dynamic_joules: the part of ``joules`` that grows with the activity.
        power: what the energy was computed from.
    """

    steps: int
    seconds: float
    cycles_per_step: float
    cycles: float
    clock: float
    joules: float
    low: float
    high: float
    dynamic_joules: float
    power: PowerEstimate

    def __str__(self) -> str:
        low, middle, high = (1e6 * value for value in (self.low, self.joules, self.high))
        return (
            f"{self.steps} steps in {self.seconds:.3g} s, {self.cycles_per_step:,.0f} cycles a step, clock "
            f"{self.clock / 1e6:.3g} MHz: about {middle:.3g} µJ (estimate; {low:.3g} to {high:.3g} µJ)"
        )


def inference_cost(
    config: Any, steps: int, dt: float | None = None, input_sp: Any = 1.0, hidden_sp: Any = 1.0
) -> InferenceCost:
    """Estimate time, cycles, clock and energy of one inference of ``steps`` time steps.

    Args:
        config: a :class:`Specification`, or a chip configuration (ours or the vendor's).
        steps: time steps that lead to one answer.
        dt: time step in seconds; that of the specification if left out.
        input_sp: probability of an input event, or an input raster, as in ``cycles_model``.
        hidden_sp: the same for hidden neurons.

    Raises:
        ParameterError: there are no steps, ``dt`` is missing, or a probability is outside 0..1.
    """
    if steps < 1:
        raise ParameterError(f"steps = {steps}: an inference takes at least one time step.")
    seconds = steps * time_step_of(config, dt)
    power = estimate_power(config, dt, input_sp, hidden_sp)
    per_step = count_cycles(config, input_sp, hidden_sp).total
    return InferenceCost(
        steps=steps,
        seconds=seconds,
        cycles_per_step=per_step,
        cycles=per_step * steps,
        clock=est_clock_freq(config, dt),
        joules=power.watts * seconds,
        low=power.low * seconds,
        high=power.high * seconds,
        dynamic_joules=power.dynamic_watts * seconds,
        power=power,
    )
