"""Rockpool's functions bound to one chip; each ``syns...`` module is one :class:`ChipFace`."""

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, TypeVar

from snnkit.utilities.chips import Chip, get_chip

from .configuration.objects import configuration_class
from .configuration.rockpool import (
    config_from_specification,
    load_config,
    save_config,
    validate_configuration,
)
from .cycles import cycles_model, est_clock_freq
from .mapping.rockpool_mapper import mapper
from .simulator.xylo_sim import XyloSim

__all__ = ["ChipFace"]

T = TypeVar("T")
C = TypeVar("C")

_BOARD_CLASSES = {
    "a2": ("XyloSamna", "XyloMonitor", "find_xylo_hdks"),
    "a3": ("XyloSamna", "XyloMonitor", "find_xylo_hdks"),
    "imu": ("XyloSamna", "XyloIMUMonitor", "find_xylo_hdks"),
}
"""Loaded when they are first used: only users with a board need them."""


class ChipFace:
    """What Rockpool's package for one chip offers; only its classes for boards need the vendor's driver.

    Args:
        chip: name or part number.
    """

    def __init__(self, chip: str | Chip) -> None:
        self.chip = get_chip(chip)
        name = self.chip.name
        self.mapper = _bound(mapper, name)
        self.config_from_specification = _bound(config_from_specification, name)
        self.load_config = _bound(load_config, name)
        self.save_config = save_config
        self.validate_configuration = validate_configuration
        self.cycles_model = cycles_model
        self.est_clock_freq = est_clock_freq
        self.XyloConfiguration = configuration_class(name)
        self.XyloSim = self._own_class("XyloSim", XyloSim)

    def board_class(self, name: str) -> Any:
        """Return Rockpool's class for a board of this chip; AttributeError if there is none."""
        if name not in _BOARD_CLASSES.get(self.chip.name, ()):
            raise AttributeError(f"{self.chip.title} has no {name!r}.")
        from ..sessions import rockpool

        if name == "find_xylo_hdks":
            return rockpool.find_xylo_hdks
        analog = self.chip.name == "a2" and name == "XyloMonitor"
        return self._own_class(name, getattr(rockpool, "XyloAudio2MonitorBase" if analog else f"{name}Base"))

    def _own_class(self, name: str, base: type[C]) -> type[C]:
        """Return a class that is bound to this chip, as one of its module."""
        return type(
            name,
            (base,),
            {
                "chip": self.chip.name,
                "__doc__": base.__doc__,
                "__module__": f"{__package__}.{self.chip.part.lower()}",  # pickle looks for it there
            },
        )

    def __repr__(self) -> str:
        return f"ChipFace({self.chip.name!r})"


def _bound(function: Callable[..., T], chip: str) -> Callable[..., T]:
    """Return ``function`` with its keyword ``chip`` given."""
    result: Any = update_wrapper(partial(function, chip=chip), function)
    # inspect and help() would follow it, and show the keyword as one that is still missing.
    del result.__wrapped__
    return result
