"""Schedules: which share of the final pruning is reached after how many steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .errors import ConfigurationError, ParameterError, unknown_key_message

__all__ = ["CosineSchedule", "CubicSchedule", "OneShot", "Schedule", "schedule_named"]


class Schedule(Protocol):
    """How the pruned share grows: 0 before it begins, 1 from step ``end`` on."""

    @property
    def end(self) -> int:
        """The step at which all is reached."""

    def progress(self, step: int) -> float:
        """Return the share of the final pruning that is reached at ``step``: 0 to 1."""


@dataclass(frozen=True)
class _Ramp:
    begin: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end:
            name = type(self).__name__
            raise ParameterError(f"{name}: 0 <= begin < end is needed, not {self.begin}, {self.end}.")

    def _remaining(self, step: int) -> float:
        return min(max(1.0 - (step - self.begin) / (self.end - self.begin), 0.0), 1.0)


@dataclass(frozen=True)
class CubicSchedule(_Ramp):
    """How the pruned share grows from 0 at step ``begin`` to its final value at step ``end``, fast first.

    Steps are what the caller counts, such as ``advance_transforms(net)``: epochs or optimiser steps.
    M. Zhu and S. Gupta, "To prune, or not to prune" (2017), equation 1.
    """

    def progress(self, step: int) -> float:
        """Return the share of the final pruning that is reached at ``step``: 0 to 1."""
        return 1.0 - self._remaining(step) ** 3


@dataclass(frozen=True)
class CosineSchedule(_Ramp):
    """Half a cosine from 0 at step ``begin`` to 1 at step ``end``: slow at both ends."""

    def progress(self, step: int) -> float:
        """Return the share of the final pruning that is reached at ``step``: 0 to 1."""
        return 0.5 * (1.0 + math.cos(math.pi * self._remaining(step)))


@dataclass(frozen=True)
class OneShot:
    """Everything at step ``at``."""

    at: int = 0

    @property
    def end(self) -> int:
        """The step itself."""
        return self.at

    def progress(self, step: int) -> float:
        """Return 0 before ``at``, then 1."""
        return float(step >= self.at)


def schedule_named(schedule: str | Schedule, begin: int, end: int) -> Schedule:
    """Return ``"one-shot"`` (at ``begin``), ``"cubic"`` or ``"cosine"`` (over both); an instance as it is."""
    if not isinstance(schedule, str):
        return schedule
    if schedule == "one-shot":
        return OneShot(begin)
    ramps: dict[str, Callable[[int, int], Schedule]] = {"cubic": CubicSchedule, "cosine": CosineSchedule}
    if schedule not in ramps:
        raise ConfigurationError(unknown_key_message("schedule", schedule, [*ramps, "one-shot"]))
    return ramps[schedule](begin, end)
