"""Chips: mapping, integer programs, simulation and devices. Sub-packages are loaded when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .complexity import Complexity
    from .divergence.diverge import diverge
    from .divergence.result import Comparison, Divergence
    from .sessions.connect import boards, connect

_SUBPACKAGES = ("divergence", "fake_samna", "sessions", "xylo")

# Name -> module that holds it.
_LAZY = {
    "Comparison": "divergence.result",
    "Complexity": "complexity",
    "Divergence": "divergence.result",
    "boards": "sessions.connect",
    "connect": "sessions.connect",
    "diverge": "divergence.diverge",
}

__all__ = [
    "Comparison",
    "Complexity",
    "Divergence",
    "boards",
    "connect",
    "diverge",
    "divergence",
    "fake_samna",
    "sessions",
    "xylo",
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return import_module(f"{__name__}.{name}")
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
