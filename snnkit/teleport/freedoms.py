"""What of a model may be chosen: named sets of channels with a factor, a sign or an order."""

from collections.abc import Mapping
from dataclasses import dataclass

from snnkit.dag.channels import Group
from snnkit.dag.scales.solution import Scales, in_order

__all__ = ["Freedom", "freedoms_of_groups", "freedoms_of_scales"]


@dataclass(frozen=True)
class Freedom:
    """One value for each of some channels, that may be chosen.

    Args:
        name: The parameter that makes the channels.
        kind: "scale", "sign" or "permutation".
        size: Number of channels.
        members: What takes them, by path: parameters and buffers, with the power of the factor that they take
            (1 for rows, -1 for columns); with the axis for a permutation.
    """

    name: str
    kind: str
    size: int
    members: tuple[tuple[str, int | float], ...]

    def __str__(self) -> str:
        shown = ", ".join(self._spelled(name, number) for name, number in self.members[:6])
        more = f" and {len(self.members) - 6} more" if len(self.members) > 6 else ""
        return f"{self.name}: {self.size} {self.kind}s; {shown}{more}"

    def _spelled(self, name: str, number: int | float) -> str:
        if self.kind == "permutation":
            return f"{name} axis {number}"
        return name if number == 1 or self.kind == "sign" else f"{name} ^{number:g}"


def freedoms_of_scales(found: Scales, kind: str) -> tuple[tuple[Freedom, ...], tuple[tuple[int, ...], ...]]:
    """Return the freedoms of factors or signs, and the unknowns behind the channels of each."""
    unknowns: dict[str, list[int]] = {}
    for unknown, name in found.first_uses.items():
        unknowns.setdefault(name, []).append(unknown)
    owner = {unknown: name for name, owned in unknowns.items() for unknown in owned}
    members: dict[str, dict[tuple[str, int | float], None]] = {name: {} for name in unknowns}
    for path, scale in found.parameters.items():
        for coefficient, ids in scale.terms:
            powers = {
                (owner[free], float(coefficient * power))
                for unknown in in_order(ids)
                for free, power in found.expression(unknown).items()
            }
            for name, power in sorted(powers):
                members[name][path, int(power) if power == int(power) else power] = None
    freedoms = tuple(
        Freedom(name, kind, len(owned), tuple(members[name])) for name, owned in unknowns.items()
    )
    return freedoms, tuple(tuple(owned) for owned in unknowns.values())


def freedoms_of_groups(groups: tuple[Group, ...]) -> dict[str, tuple[Freedom, Group]]:
    """Return the freedoms of order, by name, each with the group whose channels may be moved."""
    found: dict[str, tuple[Freedom, Group]] = {}
    for group in groups:
        if not group.permutable or group.size < 2:
            continue
        base = group.name if group.kind == "channels" else f"{group.name} {group.kind}"
        name, count = base, 1
        while name in found:
            count += 1
            name = f"{base}#{count}"
        members = tuple((member.name, member.axis) for member in group.members)
        found[name] = Freedom(name, "permutation", group.size, members), group
    return found


def names_of(freedoms: Mapping[str, object]) -> str:
    """Return names for a message, not too many."""
    names = list(freedoms)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
