"""Transforms of parameters and activity during training: rounding, pruning, noise, a chip's arithmetic."""

from . import torch_transform
from .calibration import observe_state_peaks
from .chip import chip_of, for_chip, plan_of, recalibrate, scales_of
from .quantize_methods import channel_quantize, global_quantize
from .scaling import ScalePlan
from .torch_transform import *  # noqa: F403

__all__ = [
    "ScalePlan",
    "channel_quantize",
    "chip_of",
    "for_chip",
    "global_quantize",
    "observe_state_peaks",
    "plan_of",
    "recalibrate",
    "scales_of",
]
__all__ += torch_transform.__all__
