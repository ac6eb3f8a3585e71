"""Which factors the channels of a model may take without changing what it computes."""

from .flow import BATCH_NORMS, ScaleFlow
from .registry import ScaleRule, register_scale_rule
from .solution import ParameterScale, Scales, scales, scales_of_tape

__all__ = [
    "BATCH_NORMS",
    "ParameterScale",
    "ScaleFlow",
    "ScaleRule",
    "Scales",
    "register_scale_rule",
    "scales",
    "scales_of_tape",
]
