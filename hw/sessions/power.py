"""Power of a session: what was measured, beside what the cycle model estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..xylo.power import PowerEstimate
from .errors import PowerUnavailable

__all__ = ["PowerReading", "SessionPower"]


@dataclass(frozen=True, eq=False)
class PowerReading:
    """Samples of a board's power monitor.

    Attributes:
        channels: supply -> (samples,) float64, watts.
        rate: samples per second and channel that the board really took.
        dropped: samples that were no finite number of watts and were left out.
        seconds: how long the measured runs took, by the host's clock.
    """

    channels: Mapping[str, np.ndarray]
    rate: float
    dropped: int = 0
    seconds: float = 0.0

    @property
    def watts(self) -> dict[str, float]:
        """Mean of each supply in watts; NaN for a supply without samples."""
        return {name: float(v.mean()) if len(v) else float("nan") for name, v in self.channels.items()}

    @property
    def total(self) -> float:
        """Mean power of all supplies together, in watts."""
        return sum(self.watts.values())

    def require_samples(self) -> None:
        """Raise PowerUnavailable if a supply has no sample."""
        silent = [name for name, values in self.channels.items() if not len(values)]
        if silent or not self.channels:
            supplies = ", ".join(silent) or "any supply"
            raise PowerUnavailable(
                f"The power monitor gave no usable sample of {supplies} in {self.seconds:.3g} s at "
                f"{self.rate:.4g} Hz. Run longer rasters, or raise power_frequency."
            )

    @classmethod
    def joined(cls, readings: "Sequence[PowerReading]") -> "PowerReading":
        """Put the samples of several runs one after the other."""
        names = readings[0].channels
        return cls(
            {name: np.concatenate([r.channels[name] for r in readings]) for name in names},
            readings[0].rate,
            sum(r.dropped for r in readings),
            sum(r.seconds for r in readings),
        )

    def __str__(self) -> str:
        shown = [f"{name} {1e6 * watts:.0f} µW" for name, watts in self.watts.items()]
        count = min((len(v) for v in self.channels.values()), default=0)
        dropped = f", {self.dropped} unusable samples left out" if self.dropped else ""
        return f"{', '.join(shown)} ({count} samples at {self.rate:.4g} Hz{dropped})"


@dataclass(frozen=True, eq=False)
class SessionPower:
    """Measured and estimated power of a session's last run.

    Attributes:
        measured: None where nothing was measured: a simulator, or a run without ``power=True``.
        estimate: of the spiking core, from the cycle model and this run's activity.
    """

    measured: PowerReading | None
    estimate: PowerEstimate

    def __str__(self) -> str:
        measured = "not measured" if self.measured is None else f"measured {self.measured}"
        return f"{measured}; estimated {self.estimate}"
