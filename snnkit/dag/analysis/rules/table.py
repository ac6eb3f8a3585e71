"""The table of rules: which function tells the axes of an operation's results."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from snnkit.dag.analysis.axes import Axis
from snnkit.dag.analysis.flow import Flow, never
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.tape import Operation

__all__ = ["AxesRule", "Entry", "entry_of", "rule"]

AxesRule = Callable[[Operation, Propagation], list[tuple[Axis, ...]]]


@dataclass(frozen=True)
class Entry:
    """How one kind of operation is treated.

    Args:
        axes: Returns the axes of the results.
        flow: Where the results are zero.
    """

    axes: AxesRule
    flow: Flow


_table: dict[str, Entry] = {}


def rule(*kinds: str, flow: Flow = never) -> Callable[[AxesRule], AxesRule]:
    """Enter the decorated function for operations called ``kinds``, without the prefix ``aten.``."""

    def enter(axes: AxesRule) -> AxesRule:
        for kind in kinds:
            _table[f"aten.{kind}"] = Entry(axes, flow)
        return axes

    return enter


def entry_of(op: Operation) -> Entry | None:
    """Return the entry of an operation; that of pointwise functions for all that torch marks as such."""
    entry = _table.get(op.kind) or _table.get(op.kind.removesuffix("_"))
    if entry is None and torch.Tag.pointwise in getattr(op.target, "tags", ()):
        return _table["aten.pointwise"]
    return entry
