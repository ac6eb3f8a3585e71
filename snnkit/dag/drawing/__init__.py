"""Pictures of graphs."""

from .svg import draw

__all__ = ["draw"]
