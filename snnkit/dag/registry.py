"""How a graph calls the modules in it.

Most modules are called as ``module(*inputs)``. Libraries whose modules have another convention say so
once, for their base class, so that the graph itself needs to know nothing but torch.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

__all__ = ["call_module", "register_call"]

ModuleCall = Callable[..., Any]

_calls: dict[type[nn.Module], ModuleCall] = {}


def register_call(cls: type[nn.Module], call: ModuleCall) -> None:
    """Call modules of ``cls`` and its subclasses as ``call(module, *inputs)`` inside graphs.

    The entry of the nearest class in a module's inheritance order wins; registering a class again
    replaces its entry.

    >>> register_call(Stateful, lambda module, *inputs: module(*inputs)[0])  # doctest: +SKIP
    """
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"register_call needs a subclass of torch.nn.Module, not {cls!r}.")
    _calls[cls] = call


def call_module(module: nn.Module, *inputs: Any) -> Any:
    """Run ``module`` on ``inputs`` in the way registered for its class."""
    for cls in type(module).__mro__:
        call = _calls.get(cls)
        if call is not None:
            return call(module, *inputs)
    return module(*inputs)
