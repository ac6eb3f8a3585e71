"""What can be wrong with a graph, its capture and its files."""

from snnkit.utilities.errors import SnnkitError

__all__ = ["CaptureError", "GraphError", "VerificationError"]


class GraphError(SnnkitError, ValueError):
    """A graph was put together in an impossible way: a missing vertex, a name used twice, a cycle."""


class CaptureError(GraphError):
    """A model does something that no graph can hold; the message says what, and where in the model."""


class VerificationError(CaptureError):
    """A graph does not compute what it must: the message names the place and the difference."""
