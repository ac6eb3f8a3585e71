"""Chips: mapping, integer programs, simulation and devices. Sub-packages are loaded when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

_SUBPACKAGES = ("xylo",)

__all__ = ["xylo"]


def __getattr__(name: str) -> "ModuleType":
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
