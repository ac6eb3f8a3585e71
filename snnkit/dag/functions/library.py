"""From the name of a function to what computes it."""

import ast
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnkit.utilities.errors import unknown_key_message

from ..errors import GraphError
from . import own
from .table import FUNCTIONAL, OPERATORS, TENSOR, TORCH

__all__ = ["FACTORIES", "FUNCTIONS", "RANDOM", "FunctionSpec", "function_named"]

_PYTHON_NAMES = {
    "div": "truediv",
    "floor_divide": "floordiv",
    "remainder": "mod",
    "bitwise_and": "and_",
    "bitwise_or": "or_",
    "bitwise_xor": "xor",
    "bitwise_not": "invert",
    "bitwise_left_shift": "lshift",
    "bitwise_right_shift": "rshift",
}
_METHODS = {"tensor_unfold": "unfold"}


@dataclass(frozen=True)
class FunctionSpec:
    """A function that graphs may hold.

    Attributes:
        name: The canonical name.
        parameters: Names in order; those with a default are in ``defaults``.
        defaults: Name -> default.
        is_variadic: Whether the last parameter without a default may be given value by value.
        compute: The function.
    """

    name: str
    parameters: tuple[str, ...]
    defaults: dict[str, Any]
    is_variadic: bool
    compute: Callable[..., Any]

    @property
    def required(self) -> tuple[str, ...]:
        """The parameters without a default."""
        return tuple(name for name in self.parameters if name not in self.defaults)


def _parse(line: str) -> tuple[str, tuple[str, ...], dict[str, Any], bool]:
    name, _, rest = line.lstrip("*").partition("(")
    # A table of constants of this package: parsed as Python, never run.
    arguments = ast.parse(f"def f({rest[:-1]}): pass").body[0].args  # type: ignore[attr-defined]
    parameters = tuple(argument.arg for argument in arguments.args)
    defaults = dict(
        zip(parameters[-len(arguments.defaults) :], map(_constant, arguments.defaults), strict=True)
        if arguments.defaults
        else ()
    )
    return name, parameters, defaults, line.startswith("*")


def _constant(node: ast.expr) -> Any:
    return getattr(torch, node.attr) if isinstance(node, ast.Attribute) else ast.literal_eval(node)


def _attribute(path: str) -> Callable[..., Any]:
    value: Any = torch
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _operator(name: str) -> Callable[..., Any]:
    plain = getattr(operator, _PYTHON_NAMES.get(name, name))
    with_options = getattr(torch, name)

    def compute(*args: Any, **options: Any) -> Any:
        return with_options(*args, **options) if options else plain(*args)

    return compute


def _method(name: str) -> Callable[..., Any]:
    if hasattr(Tensor, _METHODS.get(name, name)):
        return getattr(Tensor, _METHODS.get(name, name))
    in_place = getattr(Tensor, f"{name}_")
    # Some functions exist in place only; on a copy they change nothing that anyone else sees.
    return lambda input, *args, **kwargs: in_place(input.clone(), *args, **kwargs)


def _load() -> dict[str, FunctionSpec]:
    sources: tuple[tuple[str, Callable[[str], Callable[..., Any]]], ...] = (
        (OPERATORS, _operator),
        (TORCH, _attribute),
        (FUNCTIONAL, lambda name: getattr(F, name)),
        (TENSOR, _method),
        (own.TABLE, lambda name: getattr(own, name)),
    )
    found = {}
    for table, resolve in sources:
        for line in table.replace("\n    ", " ").split("\n"):
            if line:
                name, parameters, defaults, is_variadic = _parse(line)
                found[name] = FunctionSpec(name, parameters, defaults, is_variadic, resolve(name))
    return found


FUNCTIONS: dict[str, FunctionSpec] = _load()
"""All functions that graphs may hold, and files may name."""


FACTORIES: frozenset[str] = frozenset(
    name for name, spec in FUNCTIONS.items() if "device" in spec.parameters and "input" not in spec.parameters
)
"""Functions that make tensors out of numbers."""

RANDOM = frozenset(
    {"alpha_dropout", "bernoulli", "dropout", "dropout1d", "dropout2d", "dropout3d", "exponential",
     "gaussian", "gumbel_softmax", "multinomial", "normal", "rand", "rand_like", "randint",
     "randn", "randn_like", "randperm", "rrelu", "uniform", "feature_alpha_dropout"}
)  # fmt: skip
"""Functions that return other numbers in every call, in one mode at least."""


def function_named(name: str) -> FunctionSpec:
    """Return the function called ``name``.

    Raises:
        GraphError: There is none; the message has the nearest match.
    """
    try:
        return FUNCTIONS[name]
    except (KeyError, TypeError):
        message = unknown_key_message("function", str(name), FUNCTIONS)
        raise GraphError(message) from None
