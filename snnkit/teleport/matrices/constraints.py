"""What operations ask of matrices that mix coordinates, and the mixtures that satisfy all of it.

Coordinates are numbered as *nodes*: indices of an axis of a parameter. Operations tie nodes (an addition:
the same matrix; a scalar product of two activations: a matrix and its inverse transposed), fix nodes, and say
in which *groups* nodes occur together. Tied nodes form classes. Two classes may be mixed if they occur in
exactly the same groups; then every group is made of whole blocks, and a matrix of the block can act on it.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnkit.teleport.matrices.provenance import mixed, start_of_runs
from snnkit.teleport.matrices.views import View

__all__ = ["Block", "Constraints", "Kind", "Side"]

Kind = str
_Integers = NDArray[np.int64]
# From free to bound; a block is as bound as its most bound group.
_KINDS: tuple[Kind, ...] = ("linear", "orthogonal", "rotation about ones")


@dataclass(eq=False)
class Side:
    """An axis of a parameter whose indices are nodes.

    Args:
        view: The elements of the parameter.
        axis: The axis of the view; its index i is the node ``first + i``.
        first: The first node.
        labels: Indices of one label occur together wherever the parameter is used, ``(size,)``.
        diagonal: Whether the parameter multiplies index by index, so that it can absorb scales only.
        used: How often each index occurs; labels are meaningless where it is 0.
    """

    view: View
    axis: int
    first: int
    labels: Tensor
    diagonal: bool = False
    used: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.used = torch.zeros(self.size, dtype=torch.bool)

    @property
    def size(self) -> int:
        """Number of indices."""
        return self.view.sizes[self.axis]


@dataclass(frozen=True, eq=False)
class Block:
    """Classes of nodes that may be mixed with each other.

    Args:
        kind: ``linear`` (any invertible matrix), ``orthogonal`` or ``rotation about ones`` (orthogonal, and
            the vector of ones stays as it is).
        diagonal: Whether only matrices that are diagonal are allowed.
        places: For each side, the nodes of the block ``(groups, size)`` and the power of the matrix, 1 or -1
            for the inverse transposed, that acts on each group ``(groups,)``.
        classes: The smallest node of each class.
    """

    kind: Kind
    diagonal: bool
    size: int
    places: tuple[tuple[Side, _Integers, _Integers], ...]
    classes: tuple[int, ...]


class Constraints:
    """Collects ties and groups of nodes."""

    def __init__(self) -> None:
        self.sides: list[Side] = []
        self._by_axis: dict[tuple[View, int], Side] = {}
        self._count = 0
        self._ties: list[tuple[_Integers, _Integers, int]] = []
        self._uses = torch.zeros(1, dtype=torch.int64)  # the last entry is of what is no node
        self._followed: list[tuple[_Integers, _Integers]] = []
        self._fixed: list[tuple[_Integers, str]] = []
        self._groups: list[tuple[_Integers, int]] = []
        self._seen: set[tuple[bytes, str]] = set()

    # --- What rules say -----------------------------------------------------------------------------

    def side(self, view: View, axis: int, *, diagonal: bool = False) -> Side:
        """Return the nodes of an axis of a parameter."""
        ordered = view.in_order()
        place = (ordered, list(ordered.strides).index(view.strides[axis]))
        if place not in self._by_axis:
            n = view.sizes[axis]
            side = Side(ordered, place[1], self._count, torch.zeros(n, dtype=torch.int64))
            self._count += n
            self.sides.append(side)
            self._by_axis[place] = side
        side = self._by_axis[place]
        side.diagonal |= diagonal
        return side

    def tie(self, one: Tensor, other: Tensor, power: int, *, follows: bool = False) -> None:
        """Nodes ``one[i]`` and ``other[i]`` have one matrix (power 1), or one the inverse of the other's.

        With ``follows`` what reads ``one`` later reads ``other`` as well.
        """
        lines = torch.stack(torch.broadcast_tensors(one, other), -1)
        lines = lines.reshape(-1, lines.shape[-2], 2)
        # Most lines are as the one before, since tokens share their weights.
        new = torch.ones(len(lines), dtype=torch.bool)
        new[1:] = (lines[1:] != lines[:-1]).flatten(1).any(1)
        pairs = lines[new].reshape(-1, 2)
        pairs = pairs[(pairs >= 0).all(1)]
        if len(pairs):
            found = np.unique(pairs.numpy()[:, 0] * (1 << 31) + pairs.numpy()[:, 1])
            self._ties.append((found >> 31, found & ((1 << 31) - 1), power))
            if follows:
                self._followed.append(self._ties[-1][:2])

    def fix(self, rows: Tensor, why: str) -> None:
        """These nodes cannot be mixed with anything."""
        found = rows.unique().numpy()
        self._fixed.append((found[found >= 0], why))

    def use(self, rows: Tensor, context: Tensor) -> None:
        """Nodes are read; where those of one parameter are read in equal contexts they occur together."""
        if len(self._uses) <= self._count:
            grown = torch.zeros(2 * self._count + 1, dtype=torch.int64)
            grown[: len(self._uses) - 1] = self._uses[:-1]
            self._uses = grown
        nodes = torch.where(rows >= 0, rows, len(self._uses) - 1).reshape(-1)
        self._uses.index_add_(0, nodes, mixed(context).expand(rows.shape).reshape(-1))

    def why_fixed(self, side: Side) -> str:
        """Say what keeps indices of a parameter's axis from being scaled or mixed; empty if nothing does."""
        classes, _, _ = self.classes()
        own = set(classes[side.first : side.first + side.size].tolist())
        return next((why for nodes, why in self._fixed if own & set(classes[nodes].tolist())), "")

    def group(self, rows: Tensor, functional: Tensor, kind: Kind = "linear") -> None:
        """In each line of ``rows`` the nodes of one functional occur together, ``(lines, size)``."""
        labels = start_of_runs(functional)
        new = torch.ones(len(rows), dtype=torch.bool)
        new[1:] = ((rows[1:] != rows[:-1]) | (labels[1:] != labels[:-1])).any(1)
        rows, labels = rows[new], labels[new]
        patterns = np.unique(torch.cat([rows, labels], 1).numpy(), axis=0)
        for pattern in patterns:
            key = (pattern.tobytes(), kind)
            if key not in self._seen:
                self._seen.add(key)
                nodes, own = np.split(pattern, 2)
                for label in np.unique(own):
                    self._groups.append((nodes[own == label], _KINDS.index(kind)))

    # --- Solving ------------------------------------------------------------------------------------

    def blocks(self) -> list[Block]:
        """Return all that may be mixed."""
        if not self._count:
            return []
        self._finish_labels()
        classes, signs, conflicting = self.classes()
        fixed_classes = self._overlapping(classes)
        for nodes, _ in self._fixed:
            fixed_classes.update(classes[nodes].tolist())
        bound: dict[int, int] = defaultdict(int, dict.fromkeys(conflicting, 1))
        signatures: dict[int, list[int]] = defaultdict(list)
        for number, (nodes, level) in enumerate(self._all_groups()):
            members, times = np.unique(classes[nodes[nodes >= 0]], return_counts=True)
            fixed_classes.update(members[times > 1].tolist())
            for member in members.tolist():
                signatures[member].append(number)
                bound[member] = max(bound[member], level)
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for member in sorted(signatures):
            if member not in fixed_classes:
                alike[tuple(signatures[member])].append(member)
        return self._as_blocks(list(alike.values()), classes, signs, bound)

    def _finish_labels(self) -> None:
        """Tell copies of a class on one parameter, such as queries and keys, apart by what reads them."""
        sums = torch.zeros(self._count, dtype=torch.int64)
        known = min(self._count, len(self._uses) - 1)
        sums[:known] = self._uses[:known]
        for leader, follower in reversed(self._followed):
            np.add.at(sums.numpy(), follower, mixed(sums[leader]).numpy())
        self._uses.zero_()
        self._followed.clear()
        for side in self.sides:
            side.labels += sums[side.first : side.first + side.size]

    def _all_groups(self) -> list[tuple[_Integers, int]]:
        groups = list(self._groups)
        for side in self.sides:
            used = side.used.numpy()
            labels = side.labels.numpy()
            for label in np.unique(labels[used]):
                nodes = np.flatnonzero(used & (labels == label)) + side.first
                groups.append((nodes, 0))
        return groups

    def classes(self) -> tuple[_Integers, _Integers, set[int]]:
        """Return class and power of each node, and the classes that are tied to their own inverses."""
        n = self._count
        ones, others = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for one, other, power in self._ties:
            far = other + (n if power < 0 else 0)
            ones += [one, one + n]
            others += [far, (far + n) % (2 * n)]
        labels = _components(2 * n, np.concatenate(ones), np.concatenate(others))
        plain, inverse = labels[:n], labels[n:]
        classes = np.minimum(plain, inverse)
        return classes, np.where(plain <= inverse, 1, -1), set(classes[plain == inverse].tolist())

    def _overlapping(self, classes: _Integers) -> set[int]:
        """Return the classes of parameters of which two different uses share some elements."""
        views: dict[str, dict[View, list[Side]]] = defaultdict(lambda: defaultdict(list))
        for side in self.sides:
            views[side.view.name][side.view].append(side)
        found: set[int] = set()
        for by_view in views.values():
            if len(by_view) > 1:
                elements = torch.cat([view.elements() for view in by_view])
                if len(elements.unique()) < len(elements):
                    for side in (side for sides in by_view.values() for side in sides):
                        found.update(classes[side.first : side.first + side.size].tolist())
        return found

    def _as_blocks(
        self, members: list[list[int]], classes: _Integers, signs: _Integers, bound: dict[int, int]
    ) -> list[Block]:
        where = {member: (b, i) for b, block in enumerate(members) for i, member in enumerate(block)}
        places: list[list[tuple[Side, _Integers, _Integers]]] = [[] for _ in members]
        for side in self.sides:
            for b, nodes in self._places_on(side, classes, where).items():
                powers = signs[nodes]
                places[b].append((side, nodes, powers))
        return [_block(block, found, bound) for block, found in zip(members, places, strict=True) if found]

    def _places_on(
        self, side: Side, classes: _Integers, where: dict[int, tuple[int, int]]
    ) -> dict[int, _Integers]:
        lines: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for index in np.flatnonzero(side.used.numpy()).tolist():
            place = where.get(int(classes[side.first + index]))
            if place is not None:
                lines[place[0], int(side.labels[index])].append((place[1], side.first + index))
        found: dict[int, list[list[int]]] = defaultdict(list)
        for (block, _), nodes in lines.items():
            found[block].append([node for _, node in sorted(nodes)])
        return {block: np.array(rows, np.int64) for block, rows in found.items()}


def _block(
    members: list[int], places: list[tuple[Side, _Integers, _Integers]], bound: dict[int, int]
) -> Block:
    level = max(bound[member] for member in members)
    # The matrix is that of the first place; elsewhere it is the same or the inverse, for all classes alike.
    reference = places[0][2][0]
    turned = [(side, nodes, powers * reference) for side, nodes, powers in places]
    if any((powers != powers[:, :1]).any() for _, _, powers in turned):
        level = max(level, 1)
    whole = tuple((side, nodes, powers[:, 0]) for side, nodes, powers in turned)
    diagonal = any(side.diagonal for side, _, _ in places)
    return Block(_KINDS[level], diagonal, len(members), whole, tuple(members))


def _components(n: int, one: _Integers, other: _Integers) -> _Integers:
    """Return the smallest node that each node is connected with."""
    labels = np.arange(n)
    while len(one):
        smaller = np.minimum(labels[one], labels[other])
        for end in (one, other):
            np.minimum.at(labels, labels[end], smaller)
            np.minimum.at(labels, end, smaller)
        labels = labels[labels]
        if (labels[one] == labels[other]).all():
            break
    return labels
