"""Whether random transforms may be random right now.

A wrapped network in evaluation mode, and anything that reads its transformed values, must see the same
numbers every time. Transform functions are plain functions of a tensor (often a user's lambda), so they
learn of it through this context instead of an argument.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["deterministic_transforms", "is_deterministic"]

_DETERMINISTIC: ContextVar[bool] = ContextVar("snnkit_deterministic_transforms", default=False)


def is_deterministic() -> bool:
    """Return True where random transforms must give their deterministic counterpart."""
    return _DETERMINISTIC.get()


@contextmanager
def deterministic_transforms(enabled: bool = True) -> Iterator[None]:
    """Make every random transform deterministic inside the block: rounding to nearest, nothing dropped."""
    token = _DETERMINISTIC.set(enabled)
    try:
        yield
    finally:
        _DETERMINISTIC.reset(token)
