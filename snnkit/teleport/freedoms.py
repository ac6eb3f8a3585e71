"""What of a model may be chosen: named sets of channels with a factor, a sign or an order."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snnkit.dag.channels import Coupling, Group
from snnkit.dag.scales.elimination import Number
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


def freedoms_of_scales(found: Scales, kind: str) -> tuple[tuple[Freedom, ...], list[int]]:
    """Return the freedoms of factors or signs, and the unknowns behind their channels, one after the
    other."""
    names = list(dict.fromkeys(found.first_uses.values()))
    position = {name: index for index, name in enumerate(names)}
    unknowns = list(found.first_uses)
    owner = np.full(max([0, *found.used.tolist(), *unknowns]) + 1, -1)
    owner[unknowns] = [position[name] for name in found.first_uses.values()]
    members: list[dict[tuple[str, int | float], None]] = [{} for _ in names]
    for path, scale in found.parameters.items():
        for coefficient, ids in scale.terms:
            for index, power in _powers(found, coefficient, in_order(ids), owner):
                members[index][path, power] = None
    sizes = Counter(found.first_uses.values())
    freedoms = tuple(
        Freedom(name, kind, sizes[name], tuple(members[index])) for index, name in enumerate(names)
    )
    return freedoms, unknowns


def _powers(
    found: Scales, coefficient: Number, unknowns: list[int], owner: NDArray[np.int64]
) -> list[tuple[int, int | float]]:
    """Return which freedoms are in a term, by position, with their powers."""
    plain = [unknown for unknown in unknowns if unknown not in found.derived]
    powers = {(index, float(coefficient)) for index in np.unique(owner[plain]).tolist()}
    for unknown in unknowns:
        for free, power in found.derived.get(unknown, {}).items():
            powers.add((int(owner[free]), float(coefficient * power)))
    return [(index, int(power) if power.is_integer() else power) for index, power in sorted(powers)]


def freedoms_of_groups(coupling: Coupling) -> dict[str, tuple[Freedom, Group]]:
    """Return the freedoms of order, by name, each with the group whose channels may be moved.

    What no operation reads stays as it is: something may read it in training.
    """
    found: dict[str, tuple[Freedom, Group]] = {}
    read = {value.name for op in coupling.tape.operations for value in op.inputs if value.name}
    for group in coupling.groups:
        is_read = any(member.name in read for member in group.members)
        if not group.permutable or group.size < 2 or not is_read:
            continue
        base = group.name if group.kind == "channels" else f"{group.name} {group.kind}"
        name, count = base, 1
        while name in found:
            count += 1
            name = f"{base}#{count}"
        members = tuple((member.name, member.axis) for member in group.members)
        found[name] = Freedom(name, "permutation", group.size, members), group
    return found
