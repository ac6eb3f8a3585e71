"""Rules by kind of operation. Importing this package fills the table."""

from snnkit.dag.analysis.rules import (
    contraction,
    convolution,
    factories,
    indexing,
    movement,
    normalisation,
    pointwise,
    recurrent,
    reduction,
    spatial,
)
from snnkit.dag.analysis.rules.table import AxesRule, Entry, entry_of, rule
from snnkit.dag.analysis.tape import Operation

__all__ = ["AxesRule", "Entry", "entry_of", "find", "rule"]

_FILLED_BY = (
    contraction, convolution, factories, indexing, movement, normalisation, pointwise, recurrent, reduction,
    spatial,
)  # fmt: skip


def find(op: Operation) -> AxesRule | None:
    """Return the rule for the axes of an operation, or None if there is none."""
    entry = entry_of(op)
    return None if entry is None else entry.axes
