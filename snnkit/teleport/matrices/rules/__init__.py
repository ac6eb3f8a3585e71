"""What single operations do to coordinates. Importing this package fills the table."""

from snnkit.teleport.matrices.rules import contraction, movement, normalisation, pointwise

__all__ = ["contraction", "movement", "normalisation", "pointwise"]
