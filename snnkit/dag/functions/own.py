"""Functions that torch spells as something else than a call: indices, attributes, numbers and checks."""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import GraphError

__all__ = [
    "TABLE",
    "assign",
    "attribute",
    "check",
    "control",
    "getitem",
    "index_assign",
    "number",
    "size",
    "to",
]

TABLE = """
getitem(input, index)
index_assign(input, index, value)
assign(input, value)
*broadcast_tensors(tensors)
size(input, dim)
numel(input)
attribute(input, name)
number(function, operands)
control(value, expected, place)
check(input, message='', error='RuntimeError')
to(input, dtype=None, device=None, copy=False, memory_format=torch.preserve_format)
to_like(input, other)
uniform(input, low=0.0, high=1.0)
gaussian(input, mean=0.0, std=1.0)
"""

getitem = operator.getitem

_ATTRIBUTES = ("dtype", "device", "T", "mT", "H", "mH", "real", "imag")
_NUMBER_FUNCTIONS = {
    name: getattr(operator, name)
    for name in (
        "add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "neg", "abs", "eq", "ne", "lt", "le",
        "gt", "ge",
    )
} | {"max": max, "min": min, "int": int, "float": float}  # fmt: skip


def index_assign(input: Tensor, index: Any, value: Any) -> Tensor:
    """Return a copy of ``input`` in which ``input[index] = value``."""
    copied = input.clone()
    copied[index] = value
    return copied


def assign(input: Tensor, value: Tensor) -> Tensor:
    """Write ``value`` into the tensor ``input``: how a graph keeps state in its buffers."""
    with torch.no_grad():
        return input.copy_(value)


def broadcast_tensors(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the tensors expanded to their common shape."""
    return torch.broadcast_tensors(*tensors)


def size(input: Tensor, dim: int) -> int:
    """Return the size of one axis."""
    return input.shape[dim]


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return input.numel()


def attribute(input: Tensor, name: str) -> Any:
    """Return an attribute of a tensor: its type, its device, or a view of it."""
    if name not in _ATTRIBUTES:
        raise GraphError(f"Graphs read {', '.join(_ATTRIBUTES)} of tensors, not {name!r}.")
    return getattr(input, name)


def number(function: str, operands: tuple[Any, ...]) -> Any:
    """Return Python arithmetic on numbers, such as sizes."""
    if function not in _NUMBER_FUNCTIONS:
        raise GraphError(f"Graphs have no arithmetic {function!r}.")
    return _NUMBER_FUNCTIONS[function](*operands)


def control(value: Any, expected: bool, place: str) -> bool:
    """Check a decision that the model took at capture: its code would go another way for another value.

    Raises:
        GraphError: ``value`` leads to the other decision.
    """
    if bool(value) != expected:
        raise GraphError(
            f"The model decides on the size of its input at {place}, and decided otherwise when it was "
            "captured: capture it with an input of this size."
        )
    return expected


_ERRORS = {
    error.__name__: error
    for error in (AssertionError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)
}


def check(input: Tensor, message: str = "", error: str = "RuntimeError") -> None:
    """Raise unless the one value in a tensor is true: an assertion of the model on its numbers.

    On the meta device, which has no numbers, it passes. A ``RuntimeError`` is raised as
    ``torch._assert_async`` does, without waiting for a device; the others when the check runs.

    Args:
        input: The value.
        message: What the error says.
        error: The name of its class.

    Raises:
        GraphError: There is no such error.
        Exception: The one named, if the value is false.
    """
    if error not in _ERRORS:
        raise GraphError(f"Checks raise {', '.join(_ERRORS)}, not {error!r}.")
    if input.is_meta:
        return
    said = message or "An assertion of the model does not hold."
    if error == "RuntimeError":
        torch._assert_async(input, said)
    elif not bool(input):
        raise _ERRORS[error](said)


def to(
    input: Tensor,
    dtype: torch.dtype | None = None,
    device: Any = None,
    copy: bool = False,
    memory_format: torch.memory_format = torch.preserve_format,
) -> Tensor:
    """Return ``input`` with another type, or on another device."""
    return input.to(dtype=dtype, device=device, copy=copy, memory_format=memory_format)


def to_like(input: Tensor, other: Tensor) -> Tensor:
    """Return ``input`` with the type and on the device of ``other``."""
    return input.to(other)


def uniform(input: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return uniform random numbers in the shape of ``input``."""
    return input.clone().uniform_(low, high)


def gaussian(input: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Return normal random numbers in the shape of ``input``."""
    return input.clone().normal_(mean, std)
