"""The exception of the sparse layers."""

from snnkit.utilities.errors import SnnkitError

__all__ = ["SparsityError"]


class SparsityError(SnnkitError, ValueError):
    """A layer cannot have the structure, format or share of weights that was asked for."""
