"""How a graph calls and reads the modules in it.

Most modules are called as ``module(*inputs)``. Libraries whose modules have another convention say so
once, for their base class, so that the graph itself needs to know nothing but torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from .dag_module import DagModule

__all__ = [
    "call_module",
    "call_of",
    "example_for",
    "find_rule",
    "has_call",
    "reading_of",
    "register_call",
    "register_example",
    "register_reading",
]

ModuleCall = Callable[..., Any]
Reading = Callable[[nn.Module], "DagModule | bool"]
Example = Callable[[nn.Module], tuple[Tensor, ...] | None]

_calls: dict[type[nn.Module] | str, ModuleCall] = {}
_readings: dict[type[nn.Module] | str, Reading] = {}
_examples: dict[type[nn.Module] | str, Example] = {}


def register_call(cls: type[nn.Module] | str, call: ModuleCall) -> None:
    """Call modules of ``cls`` and its subclasses as ``call(module, *inputs)`` inside graphs.

    The entry of the nearest class in a module's inheritance order wins; registering a class again
    replaces its entry. A class of a library that may not be installed is given by its full name.

    >>> register_call(Stateful, lambda module, *inputs: module(*inputs)[0])  # doctest: +SKIP
    """
    _calls[_checked(cls, "register_call")] = call


def register_reading(cls: type[nn.Module] | str, reading: Reading) -> None:
    """Say how capture reads modules of ``cls`` and its subclasses.

    ``reading(module)`` returns True for a module that is one vertex as it stands, False for one whose
    forward is recorded, or the graph of a module that knows it. Without an entry the layers of
    ``torch.nn`` are vertices, and all else is recorded.
    """
    _readings[_checked(cls, "register_reading")] = reading


def register_example(cls: type[nn.Module] | str, example: Example) -> None:
    """Say which inputs capture tries where the user gives none: ``example(module)``, or None."""
    _examples[_checked(cls, "register_example")] = example


def _checked(cls: type[nn.Module] | str, name: str) -> type[nn.Module] | str:
    if not isinstance(cls, str) and not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise TypeError(f"{name} needs a subclass of torch.nn.Module or its full name, not {cls!r}.")
    return cls


def find_rule(module: nn.Module, rules: dict[type[nn.Module] | str, Any]) -> Any:
    """Return the entry of the nearest class in the module's inheritance order, or None."""
    for cls in type(module).__mro__:
        rule = rules.get(cls) or rules.get(f"{cls.__module__}.{cls.__qualname__}")
        if rule is not None:
            return rule
    return None


def call_module(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Run ``module`` on its arguments in the way registered for its class."""
    call = find_rule(module, _calls)
    return module(*args, **kwargs) if call is None else call(module, *args, **kwargs)


def has_call(module: nn.Module) -> bool:
    """Whether modules of this class are called in a way of their own."""
    return find_rule(module, _calls) is not None


def call_of(module: nn.Module) -> Callable[..., Any]:
    """Return what :func:`call_module` would call, without the module's arguments."""
    call = find_rule(module, _calls)
    return module if call is None else lambda *args, **kwargs: call(module, *args, **kwargs)


def reading_of(module: nn.Module) -> "DagModule | bool | None":
    """Return what the rule registered for the module's class says; None without a rule."""
    reading = find_rule(module, _readings)
    return None if reading is None else reading(module)


def example_for(module: nn.Module) -> tuple[Tensor, ...] | None:
    """Return example inputs from the rule registered for the module's class; None without a rule."""
    example = find_rule(module, _examples)
    return None if example is None else example(module)
