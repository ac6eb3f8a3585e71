"""How modules that are no layers of torch are written: libraries say so for their own classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor, nn

__all__ = ["Format", "format_named", "format_of", "register_format"]

Written = tuple[Any, dict[str, Tensor]]


@dataclass(frozen=True)
class Format:
    """How the modules of a class are written and read.

    Attributes:
        name: What files call it.
        cls: The class.
        write: Returns what JSON can hold, and tensors by name.
        read: Makes a module of that; raises an error of its own for what it does not understand.
    """

    name: str
    cls: type[nn.Module]
    write: Callable[[Any], Written]
    read: Callable[[Any, Mapping[str, Tensor]], nn.Module]


_formats: dict[str, Format] = {}

_PROVIDERS = {
    "snnkit.sparse.spiking": "snnkit.sparse.spiking.graph_files",
    "snnkit.sparse": "snnkit.sparse.graph_files",
    "snnkit.teleport": "snnkit.teleport.activations",
    "snnkit": "snnkit.nn.graph_files",
}
"""First parts of a name -> the module that registers its formats: loaded when a graph needs them."""


def register_format(entry: Format) -> None:
    """Let files hold modules of ``entry.cls`` (itself, not its subclasses)."""
    _formats[entry.name] = entry


def format_of(module: nn.Module) -> Format | None:
    """Return how a module is written; None if nobody said."""
    _load_providers(type(module).__module__)
    return next((entry for entry in _formats.values() if entry.cls is type(module)), None)


def format_named(name: str) -> Format | None:
    """Return the format that a file calls ``name``; None if nobody registered one."""
    _load_providers(name)
    return _formats.get(name)


def _load_providers(name: str) -> None:
    for parts, provider in _PROVIDERS.items():
        if f"{name}.".startswith(f"{parts}."):
            import_module(provider)
            return


def known_formats() -> list[str]:
    """Return the names of all formats."""
    return sorted(_formats)
