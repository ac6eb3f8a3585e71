"""Xylo-Audio 3 (SYNS65302), under the names of Rockpool's package for it."""

from typing import TYPE_CHECKING, Any

from .chip_face import ChipFace
from .violation import DRCError, DRCWarning

if TYPE_CHECKING:
    from ..sessions.rockpool import XyloMonitorBase as XyloMonitor
    from ..sessions.rockpool import XyloSamnaBase as XyloSamna
    from ..sessions.rockpool import find_xylo_hdks

__all__ = [
    "DRCError",
    "DRCWarning",
    "XyloConfiguration",
    "XyloMonitor",
    "XyloSamna",
    "XyloSim",
    "config_from_specification",
    "cycles_model",
    "est_clock_freq",
    "find_xylo_hdks",
    "load_config",
    "mapper",
    "save_config",
    "validate_configuration",
]

_FACE = ChipFace("a3")

XyloConfiguration = _FACE.XyloConfiguration
XyloSim = _FACE.XyloSim
config_from_specification = _FACE.config_from_specification
cycles_model = _FACE.cycles_model
est_clock_freq = _FACE.est_clock_freq
load_config = _FACE.load_config
mapper = _FACE.mapper
save_config = _FACE.save_config
validate_configuration = _FACE.validate_configuration


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = _FACE.board_class(name)
    return found
