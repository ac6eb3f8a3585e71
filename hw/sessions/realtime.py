"""Real time: the chip listens to its own sensor, and the host collects what it says."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.utilities.errors import ConfigurationError

from ..xylo.configuration.objects import XyloConfiguration
from .errors import ReadoutLost
from .power import PowerReading
from .samna_driver import Readout, SamnaBoard
from .waiting import Waiter

__all__ = ["IMU_RATE", "NO_ANALOG_FRONT_END", "Heard", "collect", "prepared"]

IMU_RATE = 200.0
"""Hertz: the rate of the motion sensor, and so of the chip's steps."""
_INTERFACE_CLOCK = 50e3

NO_ANALOG_FRONT_END = (
    "Real time on Xylo-Audio 2 needs its analog front end to be calibrated, which only the vendor's own "
    "tools do. Record its events with them, and run the rasters in accelerated time (XyloSamna, or connect)."
)


@dataclass(frozen=True, eq=False)
class Heard:
    """What came in real time.

    Attributes:
        output: events ``(time, Nout)``, int64.
        vmem_out: membrane states of the outputs ``(time, Nout)``, int16.
        first_step: the device's number of the first step.
        dt: seconds of a step.
        power: measured meanwhile, if that was asked for.
    """

    output: np.ndarray
    vmem_out: np.ndarray
    first_step: int
    dt: float
    power: PowerReading | None = None


def prepared(ours: XyloConfiguration, chip: str, dt: float, main_clock: float, hibernation: bool) -> float:
    """Set what real time needs in a configuration; return the length of a step in seconds.

    Raises:
        ConfigurationError: the chip's front end is not offered.
    """
    config: Any = ours
    if chip == "a2":
        raise ConfigurationError(NO_ANALOG_FRONT_END)
    if chip == "imu":
        dt = 1 / IMU_RATE
        config.imu_if_input_enable = True
        config.debug.imu_if_clk_enable = True
        config.debug.imu_if_clock_freq_div = int(main_clock / _INTERFACE_CLOCK)
    config.enable_hibernation_mode = hibernation
    config.time_resolution_wrap = int(dt * main_clock)
    return dt


def collect(board: SamnaBoard, waiter: Waiter, steps: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return events and output membranes ``(steps, Nout)`` from now on, and the first step's number.

    Raises:
        ReadoutLost: a step is missing among them.
    """
    board.clear()
    found: dict[int, Readout] = {}

    def enough(events: list[Any]) -> bool:
        found.update({readout.step: readout for readout in board.readouts(events)})
        return len(found) >= steps

    waiter.until(enough, f"{steps} steps in real time")
    numbers = sorted(found)[:steps]
    if numbers and numbers[-1] - numbers[0] != steps - 1:
        raise ReadoutLost(
            f"Of the steps {numbers[0]}..{numbers[-1]} only {len(numbers)} came: the host was too slow, or "
            "the connection lost some. Nothing of them is returned."
        )
    readouts = [found[number] for number in numbers]
    output = np.array([readout.output_spikes for readout in readouts], np.int64)
    vmem = np.array([readout.output_vmem for readout in readouts], np.int16)
    return output, vmem, numbers[0] if numbers else 0
