"""The first difference of two sides, where reports look for it."""

from ...divergence.result import Divergence

__all__ = ["Divergence"]
