"""What a search over the orbit may do, and how it tells how far it is."""

from collections.abc import Callable
from dataclasses import dataclass

from snnkit.utilities.errors import ParameterError

__all__ = ["OnProgress", "OrbitSettings", "checked_settings"]

OnProgress = Callable[[str, int, int], None]
"""Called with what is being searched, how many parts of it are done, and the most there can be; from any of
the threads that search."""


@dataclass(frozen=True)
class OrbitSettings:
    """Settings of ``deploy(..., method="orbit")``; the defaults serve most networks.

    Attributes:
        scales: candidates for the scale of each neuron in the first pass over its range.
        offsets: whether thresholds and biases may differ from the scaled ones. Biases that are not zero keep
            a chip's core from hibernating.
        rounding: most passes over the weights of a neuron that try to round each the other way; 0 rounds
            every weight to the nearest integer.
        chip_passes: further passes in which neurons are driven by the events of the chip's own program
            instead of the network's; their result is kept only if the program gets better.
        recordings: most calibration recordings that are searched over, evenly spaced among those given.
        shift_recordings: the same for the choice of weight shifts.
    """

    scales: int = 64
    offsets: bool = True
    rounding: int = 6
    chip_passes: int = 0
    recordings: int = 512
    shift_recordings: int = 64

    def __post_init__(self) -> None:
        least = {"scales": 8, "rounding": 0, "chip_passes": 0, "recordings": 1, "shift_recordings": 1}
        wrong = [
            f"{name} is {getattr(self, name)!r}, a whole number of {low} or more is needed"
            for name, low in least.items()
            if not _is_count(getattr(self, name), low)
        ]
        if not isinstance(self.offsets, bool):
            wrong.append(f"offsets is {self.offsets!r}, True or False is needed")
        if wrong:
            raise ParameterError(f"OrbitSettings: {'; '.join(wrong)}.")


def checked_settings(settings: object) -> OrbitSettings:
    """Return settings of a search, the defaults for None; ParameterError for anything else."""
    if settings is None:
        return OrbitSettings()
    if not isinstance(settings, OrbitSettings):
        kind = type(settings).__name__
        raise ParameterError(f"Settings of a search are OrbitSettings(...), not {kind}.")
    return settings


def _is_count(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low
