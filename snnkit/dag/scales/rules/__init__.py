"""Rules by kind of operation. Importing this package fills the table."""

from snnkit.dag.scales.rules import (
    arranging,
    normalising,
    pointwise,
    products,
    recurrent,
    reducing,
    scattering,
)

__all__ = ["arranging", "normalising", "pointwise", "products", "recurrent", "reducing", "scattering"]
