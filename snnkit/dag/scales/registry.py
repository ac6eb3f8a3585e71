"""Which rule says how factors run through an operation."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snnkit.dag.analysis.flow import pointwise
from snnkit.dag.analysis.rules import entry_of
from snnkit.dag.analysis.tape import Operation
from snnkit.dag.registry import find_rule

if TYPE_CHECKING:
    from snnkit.dag.scales.flow import ScaleFlow

__all__ = ["ScaleRule", "register_scale_rule", "rule", "rule_of"]

ScaleRule = Callable[[Operation, "ScaleFlow"], list[Any]]
"""Returns, for each result, an array of unknowns that broadcasts against it, or a tuple of terms."""

_by_kind: dict[str, ScaleRule] = {}
_by_class: dict[type[nn.Module] | str, ScaleRule] = {}


def register_scale_rule(cls: type[nn.Module] | str, rule: ScaleRule) -> None:
    """Say how factors run through modules of ``cls`` and its subclasses.

    It is asked only for modules that are one operation of the tape: those that have a
    :class:`~snnkit.dag.analysis.module_rules.ModuleRule`. Without an entry they let no factor pass.
    A class of a library that may not be installed is given by its full name.
    """
    _by_class[cls] = rule


def rule(*kinds: str) -> Callable[[ScaleRule], ScaleRule]:
    """Enter the decorated function for operations called ``kinds``, without the prefix ``aten.``."""

    def enter(function: ScaleRule) -> ScaleRule:
        for kind in kinds:
            _by_kind[f"aten.{kind}"] = function
        return function

    return enter


def rule_of(op: Operation) -> ScaleRule | None:
    """Return the rule for an operation, or None if there is none."""
    from snnkit.dag.scales import rules  # noqa: F401 - fills the table

    if not hasattr(op.target, "_schema"):
        found: ScaleRule | None = find_rule(op.target, _by_class)
        return found
    known = _by_kind.get(op.kind) or _by_kind.get(op.kind.removesuffix("_"))
    if known is not None:
        return known
    entry = entry_of(op)
    is_pointwise = torch.Tag.pointwise in getattr(op.target, "tags", ())
    if is_pointwise or (entry is not None and entry.flow is pointwise):
        return _by_kind["aten.pointwise"]
    return None
