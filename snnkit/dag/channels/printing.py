"""A coupling as text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnkit.dag.channels.groups import Coupling, Group

__all__ = ["describe", "describe_group"]

_INDENT = "    "


def describe(coupling: "Coupling") -> str:
    """Return all groups with their members, and the operations that are barriers."""
    lines = [line for group in coupling.groups for line in describe_group(coupling, group)]
    if coupling.barriers:
        names = ", ".join(f"{kind} ({count})" for kind, count in sorted(coupling.barriers.items()))
        lines.append(f"Operations without a rule, which freeze what they touch: {names}")
    return "\n".join(lines) or "No channel can be dropped."


def describe_group(coupling: "Coupling", group: "Group") -> list[str]:
    """Return the lines of one group."""
    kind = "soft" if group.soft else "exact"
    lines = [f"Group {group.index}: {group.size} {group.kind}, {kind}"]
    lines += [f"{_INDENT}soft: {coupling.explain(reason)}" for reason in group.soft]
    lines += [f"{_INDENT}{member!r}" for member in group.members]
    return lines
