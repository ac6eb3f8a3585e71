"""snnkit: from a spiking network in torch to a verified program for a neuromorphic chip.

Importing this package is cheap: sub-packages are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "dag",
    "data",
    "hw",
    "nn",
    "parameters",
    "report",
    "training",
    "transforms",
    "utilities",
]


def __getattr__(name: str) -> "ModuleType":
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
