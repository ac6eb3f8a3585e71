"""Xylo-IMU (SYNS63300), under the names of Rockpool's package for it."""

from .chip_face import ChipFace
from .violation import DRCError, DRCWarning

__all__ = [
    "DRCError",
    "DRCWarning",
    "XyloConfiguration",
    "XyloSim",
    "config_from_specification",
    "cycles_model",
    "est_clock_freq",
    "load_config",
    "mapper",
    "save_config",
    "validate_configuration",
]

_FACE = ChipFace("imu")

XyloConfiguration = _FACE.XyloConfiguration
XyloSim = _FACE.XyloSim
config_from_specification = _FACE.config_from_specification
cycles_model = _FACE.cycles_model
est_clock_freq = _FACE.est_clock_freq
load_config = _FACE.load_config
mapper = _FACE.mapper
save_config = _FACE.save_config
validate_configuration = _FACE.validate_configuration
