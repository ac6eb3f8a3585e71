"""Names under which files store functions, since a file must never carry code."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch

from snnkit.utilities.errors import ConfigurationError, FileFormatError, unknown_key_message

__all__ = ["callable_name", "callable_named", "register_callable"]

_OWN_PACKAGE = "snnkit."

_registered: dict[str, Callable[..., Any]] = {
    f"torch.{name}": getattr(torch, name) for name in ("relu", "sigmoid", "tanh", "exp", "abs", "square")
} | {
    f"torch.nn.functional.{name}": getattr(torch.nn.functional, name)
    for name in ("relu", "gelu", "silu", "softplus", "leaky_relu", "elu")
}


def register_callable(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Let modules that hold ``function`` be saved, and loaded again, under ``name``; return the function.

    Functions and classes of snnkit itself need no registration.

    Raises:
        ConfigurationError: the name stands for another function, or belongs to snnkit.
    """
    if not callable(function):
        raise TypeError(f"register_callable() takes a function or a class, not {function!r}.")
    if name.startswith(_OWN_PACKAGE) or _registered.get(name, function) != function:
        raise ConfigurationError(f"The name {name!r} is taken; register {function!r} under another one.")
    _registered[name] = function
    return function


def callable_name(function: Any) -> str | None:
    """Return the name that stands for ``function`` in files, or None if there is none."""
    for name, known in _registered.items():
        if known is function or known == function:
            return name
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type):
        owner_name = callable_name(owner)
        return f"{owner_name}.{function.__name__}" if owner_name else None
    module, qualified = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if isinstance(module, str) and module.startswith(_OWN_PACKAGE):
        name = f"{module}.{qualified}"
        return name if _resolve(name) is function else None
    return None


def callable_named(name: str) -> Callable[..., Any]:
    """Return the function that a file names.

    Raises:
        FileFormatError: no function is registered under that name.
    """
    known = _registered.get(name)
    owner, _, method = name.rpartition(".")
    if known is None and owner in _registered and method == "apply":
        known = getattr(_registered[owner], method, None)
    if known is None and name.startswith(_OWN_PACKAGE):
        known = _resolve(name)
    if known is None:
        raise FileFormatError(
            f"{unknown_key_message('function', name, _registered)} "
            "Functions of your own must be registered with register_callable() before loading."
        )
    return known


def _resolve(name: str) -> Callable[..., Any] | None:
    """Find a public function or class of this package by its full name."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 1, -1):
        try:
            value: Any = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            value = getattr(value, part, None)
        # What a module only imported (os.system, say) is not its own.
        owner = getattr(value, "__self__", None)
        own = getattr(owner if isinstance(owner, type) else value, "__module__", "")
        return value if callable(value) and str(own).startswith(_OWN_PACKAGE) else None
    return None
