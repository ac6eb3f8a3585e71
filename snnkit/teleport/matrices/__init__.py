"""Symmetries that mix channels: matrices in attention, low-rank factors and residual streams."""

from .folding import Folding, fold_gains
from .part import MatrixPart, matrix_part, random_matrices
from .sites import MatrixSite, Place, matrix_sites
from .tracing import Condition

__all__ = [
    "Condition",
    "Folding",
    "MatrixPart",
    "MatrixSite",
    "Place",
    "fold_gains",
    "matrix_part",
    "matrix_sites",
    "random_matrices",
]
