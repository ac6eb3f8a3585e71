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


class ChipFace:
    """What Rockpool's package for one chip offers, none of which needs the vendor's driver.

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
        self.XyloSim = self._simulator_class()

    def _simulator_class(self) -> type[XyloSim]:
        """Return the simulator that takes Rockpool's keys for this chip, as a class of its module."""
        return type(
            "XyloSim",
            (XyloSim,),
            {
                "chip": self.chip.name,
                "__doc__": XyloSim.__doc__,
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
