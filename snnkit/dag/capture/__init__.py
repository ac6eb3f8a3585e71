"""Capture: from any torch model to its graph."""

from .entry import build_from_unstructured_module

__all__ = ["build_from_unstructured_module"]
