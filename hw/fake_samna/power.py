"""The imitated power monitor: samples in watts while the chip works."""

from typing import TYPE_CHECKING

import numpy as np

from .events import Measurement
from .graph import SourceNode
from .strict import boolean, real

if TYPE_CHECKING:
    from .board import Board

__all__ = ["IDLE_WATTS", "PowerMonitor", "StopWatch"]

ADC_HERTZ = 1 / 1.080e-3
IDLE_WATTS = 100e-6
"""Of the first channel; the next ones draw twice, three times ... as much."""
WATTS_PER_EVENT = 1e-6
STEPS_PER_SECOND = 1000


class StopWatch:
    """Gives events their time stamps."""

    def __init__(self, board: "Board") -> None:
        self._board = board
        self._running = False

    def set_enable_value(self, value: bool) -> None:
        """Switch it on or off."""
        self._board._check()
        self._running = boolean("set_enable_value", value)

    def start(self) -> None:
        """Let it run."""
        self._board._check()
        self._running = True

    def stop(self) -> None:
        """Hold it."""
        self._board._check()
        self._running = False

    def reset(self) -> None:
        """Back to zero."""
        self._board._check()


class PowerMonitor:
    """Samples every channel at a rate that divides the converter's own."""

    def __init__(self, board: "Board") -> None:
        self._board = board
        self._rate: float | None = None
        self._source = SourceNode(self._pump)
        self._rng = np.random.default_rng(0)

    def get_source_node(self) -> SourceNode:
        """Return where samples come from."""
        self._board._check()
        return self._source

    def is_auto_power_measurement_active(self) -> bool:
        """Whether it is sampling."""
        self._board._check()
        return self._rate is not None

    def start_auto_power_measurement(self, frequency: float) -> float:
        """Begin; return the real rate."""
        self._board._check()
        wanted = real("start_auto_power_measurement", frequency)
        if self._rate is not None:
            raise RuntimeError("auto power measurement is active already")
        if wanted <= 0:
            raise RuntimeError("the sampling rate must be above 0")
        self._rate = ADC_HERTZ / max(1, round(ADC_HERTZ / wanted))
        self._board.core.activity.clear()
        return self._rate

    def stop_auto_power_measurement(self) -> None:
        """End."""
        self._board._check()
        self._pump()
        self._rate = None

    def _pump(self) -> None:
        """Turn what the chip did since the last call into samples: at least one for each channel."""
        self._board.core.pump()
        activity = self._board.core.activity
        if self._rate is None or self._board.core.lost or self._board.faults.faults.no_power or not activity:
            return
        mean = float(np.mean(activity))
        count = max(1, round(len(activity) * self._rate / STEPS_PER_SECOND))
        activity.clear()
        channels = self._board.dialect.channels
        core = max(channels.values())
        samples = []
        for _ in range(count):
            for number in channels.values():
                watts = IDLE_WATTS * (number + 1) + (WATTS_PER_EVENT * mean if number == core else 0.0)
                watts *= 1 + self._board.faults.faults.power_jitter * self._rng.standard_normal()
                if self._board.faults.strikes("bad_power_samples"):
                    watts = float("nan")
                samples.append(Measurement(channel=number, value=watts))
        self._source._send(samples)
