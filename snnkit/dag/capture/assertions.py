"""Assertions in a model's code: they hold no matter what is computed, so that a graph can keep them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from .sizes import Decision

__all__ = ["Asserted", "assertion_around", "decisions_in_checks"]

_ASSERT = torch._assert.__code__
_CHECK = torch._check_tensor_all_with.__code__
_FRAMES = 8
"""How far up the stack the assertion is at most: between are torch's overrides and this package."""


@dataclass(frozen=True)
class Asserted:
    """An assertion that reads a tensor.

    Args:
        message: What it says if it does not hold.
        error: Name of the exception that it raises.
    """

    message: str
    error: str

    @property
    def options(self) -> dict[str, str]:
        """The arguments of the function ``check``, without defaults."""
        found = {"message": self.message, "error": self.error}
        return {key: value for key, value in found.items() if value and value != "RuntimeError"}


def assertion_around() -> Asserted | None:
    """Return the assertion of torch that reads the number in a tensor at the moment.

    Model code binds these functions to names of its own, so that they are known by their frames.
    """
    frame: Any = sys._getframe(1)
    for _ in range(_FRAMES):
        frame = frame.f_back
        if frame is None:
            return None
        if frame.f_code is _ASSERT:
            return Asserted(str(frame.f_locals["message"]), "AssertionError")
        if frame.f_code is _CHECK:
            message = frame.f_locals["message"]
            return Asserted(str(message()) if message else "", frame.f_locals["error_type"].__name__)
    return None


@contextmanager
def decisions_in_checks() -> Iterator[None]:
    """Let ``torch._check`` and its kind take comparisons of sizes, which they refuse as no ``bool``."""
    original = torch._check_with

    def check_with(error_type: Any, cond: Any, message: Any) -> None:
        original(error_type, bool(cond) if isinstance(cond, Decision) else cond, message)

    torch._check_with = check_with
    try:
        yield
    finally:
        torch._check_with = original
