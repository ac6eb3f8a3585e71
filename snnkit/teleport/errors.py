"""What is wrong with a group element, or with the model it is applied to."""

from snnkit.utilities.errors import SnnkitError

__all__ = ["TeleportError"]


class TeleportError(SnnkitError, ValueError):
    """An element does not fit a model, or asks for what is no symmetry of it."""
