"""Networks of spiking neurons in torch: modules, combinators, ready networks and losses."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

_PARTS = ("combinators", "functional", "leaks", "losses", "modules", "networks", "surrogates")

__all__ = ["combinators", "functional", "leaks", "losses", "modules", "networks", "surrogates"]


def __getattr__(name: str) -> "ModuleType":
    if name in _PARTS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
