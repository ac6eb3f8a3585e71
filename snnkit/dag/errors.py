"""What can be wrong with a graph."""

from snnkit.utilities.errors import SnnkitError

__all__ = ["GraphError"]


class GraphError(SnnkitError, ValueError):
    """A graph was put together in an impossible way: a missing vertex, a name used twice, a cycle."""
