"""Groups of channels that must live, die, scale or move together."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from snnkit.dag.analysis.axes import Atom, Axis, Concat, Product, Reason, keep_of, leaves, parts, resolved
from snnkit.dag.analysis.propagation import Cost, Propagation
from snnkit.dag.analysis.tape import Operation, Tape, Value
from snnkit.dag.errors import GraphError
from snnkit.utilities.errors import unknown_key_message

__all__ = ["Coupling", "CouplingError", "FrozenAxis", "Group", "Member"]

_PARAMETRISED = re.compile(r"\bparametrizations\.(\w+)\.original\d*$|(?<=\bweight)_(?:g|v|orig)$")
Keep = Mapping["Group", NDArray[np.bool_]]


class CouplingError(GraphError):
    """A group or an axis was asked for that there is not, or more was asked of it than it allows."""


@dataclass(frozen=True, eq=False)
class Member:
    """One axis of a parameter or buffer in which the indices of a group occur.

    Args:
        name: Path of the parameter or buffer.
        axis: Which of its axes.
        role: ``out`` (rows that make the channel), ``in`` (columns that read it), ``per-channel`` (gains,
        offsets,
            time constants), ``state`` (buffers: statistics, membranes).
        positions: Where index i of the group lies on the axis, ``(size, copies)``.
        sizes: Number of indices of the whole axis.
        pattern: The same in words, such as ``3 x . x 49``.
    """

    name: str
    axis: int
    role: str
    positions: NDArray[np.intp]
    length: int
    pattern: str

    def __repr__(self) -> str:
        pattern = f" [{self.pattern}]" if self.pattern != "." else ""
        return f"{self.name} axis {self.axis} {self.role}{pattern}"


@dataclass(frozen=True, eq=False)
class Group:
    """Channels of several tensors that are one: index i of each is index i of all.

    Args:
        index: Position among the groups of the model.
        size: Number of channels.
        members: The axes of parameters and buffers in which they occur.
        frozen: Why no channel may be dropped or moved; empty if they may.
        soft: Why dropping a channel is not the same as setting its weights to zero; empty if it is.
        only_read_by_weights: Whether every sum over the channels multiplies them by weights. Else, as over
            the channels of queries and keys, only zero activations make a channel disappear.
        kind: ``channels``; ``heads`` of an attention, ``head channels`` within each head, or ``groups`` of a
        convolution or normalisation.
    """

    index: int
    size: int
    members: tuple[Member, ...]
    frozen: tuple[Reason, ...]
    soft: tuple[Reason, ...]
    atom: Atom
    kind: str = "channels"
    only_read_by_weights: bool = True

    @property
    def prunable(self) -> bool:
        """Whether channels may be dropped."""
        return not self.frozen

    @property
    def exact(self) -> bool:
        """Whether dropping channels is the same as setting their weights to zero."""
        return not self.frozen and not self.soft

    @property
    def permutable(self) -> bool:
        """Whether the channels may be brought into another order."""
        return not self.frozen

    @property
    def name(self) -> str:
        """The parameter that makes the channels, as far as there is one.

        A weight that torch's parametrisations (weight norm) compute has the module's name for it;
        :attr:`members` has the parameters that it is computed from.
        """
        makers = [member for member in self.members if member.role == "out"]
        # A spectral norm sums over the rows as well.
        makers += [m for m in self.members if m.axis == 0 and _PARAMETRISED.search(m.name)]
        makers += self.members
        return _PARAMETRISED.sub(r"\1", makers[0].name) if makers else f"group {self.index}"

    def positions_in(self, name: str, axis: int) -> NDArray[np.intp]:
        """Return where the channels lie on an axis of a parameter, ``(size, copies)``."""
        found = [m.positions for m in self.members if (m.name, m.axis) == (name, axis)]
        if not found:
            raise CouplingError(f"{self.name}: axis {axis} of {name!r} is no member of this group.")
        return np.concatenate(found, 1)

    def __repr__(self) -> str:
        kind = "frozen" if self.frozen else "soft" if self.soft else "exact"
        return (
            f"Group {self.index}: {self.size} {self.kind}, {kind}, {len(self.members)} members, {self.name}"
        )


@dataclass(frozen=True)
class FrozenAxis:
    """An axis of a parameter, or a part of one, that may not change.

    Args:
        name: Path of the parameter or buffer.
        axis: Which of its axes.
        size: How many indices the frozen part has.
        reasons: What the operations do that forbid it, with the operation, the module and the line.
    """

    name: str
    axis: int
    size: int
    reasons: tuple[str, ...]


class Coupling:
    """Which channels of a model belong together, and what may be done with them.

    Made by :func:`snnkit.dag.coupling`. Printing it shows all groups.

    Attributes:
        groups: The groups that can be pruned, in the order of their first parameter.
        tape: The operations the analysis is made from.
        propagation: The axes of every tensor on the tape.
    """

    def __init__(self, tape: Tape, propagation: Propagation, groups: tuple[Group, ...]) -> None:
        self.tape = tape
        self.propagation = propagation
        self.groups = groups
        self._by_atom = {group.atom: group for group in groups}

    @property
    def barriers(self) -> dict[str, int]:
        """Operations without a rule, which freeze all axes they touch, and how often they occur."""
        return dict(self.propagation.barriers)

    @property
    def prunable(self) -> tuple[Group, ...]:
        """The groups of which channels may be dropped."""
        return tuple(group for group in self.groups if group.prunable)

    def group_named(self, name: str, axis: int = 0) -> Group:
        """Return the group of the channels on ``axis`` of a parameter.

        Raises:
            CouplingError: there is no such parameter, the axis is frozen, or it belongs to several groups.
        """
        found = [group for group in self.groups_of(name, axis) if group.prunable]
        if len(found) == 1:
            return found[0]
        if found:
            indices = ", ".join(str(group.index) for group in found)
            raise CouplingError(
                f"axis {axis} of {name!r} is made of several groups ({indices}); choose by groups_of."
            )
        raise CouplingError(
            f"axis {axis} of {name!r} is frozen: {'; '.join(self.why(name, axis)) or 'one index'}"
        )

    def groups_of(self, name: str, axis: int) -> tuple[Group, ...]:
        """Return the groups that an axis of a parameter or buffer is made of."""
        found = dict.fromkeys(leaves(self._axis(name, axis)))
        return tuple(self._by_atom[atom] for atom in found if atom in self._by_atom)

    def why(self, name: str, axis: int) -> tuple[str, ...]:
        """Say why an axis of a parameter, or a part of it, is frozen; empty if it is free."""
        reasons = dict.fromkeys(reason for atom in leaves(self._axis(name, axis)) for reason in atom.frozen)
        return tuple(self.explain(reason) for reason in reasons)

    def explain(self, reason: Reason) -> str:
        """Return a reason with its operation, module path and line."""
        if reason.operation < 0:
            return reason.text
        op = self._operations[reason.operation]
        where = [f"in {op.path}" if op.path else "", f"at {op.source}" if op.source else ""]
        place = " ".join(part for part in where if part)
        return f"{reason.text} ({place})" if place else reason.text

    @cached_property
    def _operations(self) -> dict[int, Operation]:
        return {op.index: op for op in self.tape.operations}

    @cached_property
    def frozen_axes(self) -> tuple[FrozenAxis, ...]:
        """All axes of parameters and buffers that may not change, with reasons."""
        return tuple(self._frozen_axes())

    def _frozen_axes(self) -> Iterator[FrozenAxis]:
        for name, value in self.tape.parameters.items():
            for position, axis in enumerate(self.propagation.of(value)):
                frozen = [atom for atom in leaves(axis) if atom.frozen]
                if frozen:
                    reasons = dict.fromkeys(reason for atom in frozen for reason in atom.frozen)
                    size = int(np.prod([atom.size for atom in dict.fromkeys(frozen)]))
                    texts = tuple(self.explain(reason) for reason in reasons)
                    yield FrozenAxis(name, position, min(size, axis.size), texts)

    def value_named(self, name: str) -> Value:
        """Return the parameter or buffer called ``name``, also by another of its paths.

        A weight that torch's parametrisations compute is found by the module's name for it.
        """
        known = self.tape.parameters
        found = known.get(self.tape.aliases.get(name, name))
        if found is None:
            behind = [value for path, value in known.items() if _PARAMETRISED.sub(r"\1", path) == name]
            found = max(behind, key=lambda value: math.prod(value.shape), default=None)
        if found is None:
            raise CouplingError(unknown_key_message("parameter", name, known))
        return found

    def _axis(self, name: str, axis: int) -> Axis:
        axes = self.propagation.of(self.value_named(name))
        if not -len(axes) <= axis < len(axes):
            raise CouplingError(f"{name!r} has {len(axes)} axes; there is no axis {axis}.")
        return axes[axis]

    # --- What remains after dropping channels -------------------------------------------------------

    def keep_of(self, value: Value, axis: int, keep: Keep) -> NDArray[np.bool_]:
        """Return which indices of an axis remain if of each group only the channels in ``keep`` do."""
        chosen = {group.atom: mask for group, mask in keep.items()}
        return keep_of(self.propagation.of(value)[axis], chosen)

    def sizes_of(self, value: Value, counts: Mapping[Group, int]) -> tuple[int, ...]:
        """Return the shape of a tensor if of each group in ``counts`` so many channels remain."""
        chosen = {group.atom: count for group, count in counts.items()}
        return tuple(remaining(axis, chosen) for axis in self.propagation.of(value))

    @property
    def costs(self) -> list[Cost]:
        """The multiply-accumulates of the operations, as products of axes."""
        return self.propagation.costs

    def __repr__(self) -> str:
        from snnkit.dag.channels.printing import describe

        return describe(self)


def remaining(axis: Axis, counts: Mapping[Atom, int]) -> int:
    """Return the number of indices of an axis if of some atoms only so many remain."""
    axis = resolved(axis)
    if isinstance(axis, Atom):
        return counts.get(axis, axis.size)
    if isinstance(axis, Concat):
        return sum(remaining(child, counts) for child in axis.children)
    n = 1
    for child in axis.children:
        n *= remaining(child, counts)
    return n


def occurrences(axis: Axis, atom: Atom) -> Iterator[tuple[NDArray[np.intp], str]]:
    """Yield where the indices of ``atom`` lie on ``axis``, ``(size, copies)``, and the pattern in words."""
    axis = resolved(axis)
    if axis is atom:
        yield np.arange(axis.size)[:, None], "."
    elif isinstance(axis, Concat):
        start = 0
        for part in parts(axis):
            for positions, pattern in occurrences(part, atom):
                yield positions + start, f"{pattern} from {start}" if start else pattern
            start += part.size
    elif isinstance(axis, Product):
        yield from _in_product(axis, atom)


def _in_product(axis: Product, atom: Atom) -> Iterator[tuple[NDArray[np.intp], str]]:
    sizes = [child.size for child in axis.children]
    for place, child in enumerate(axis.children):
        outer, inner = int(np.prod(sizes[:place], dtype=int)), int(np.prod(sizes[place + 1 :], dtype=int))
        for positions, pattern in occurrences(child, atom):
            offsets = np.arange(outer)[:, None] * (child.size * inner) + np.arange(inner)
            spread = positions[:, :, None] * inner + offsets.ravel()
            words = [str(outer)] * (outer > 1) + [pattern] + [str(inner)] * (inner > 1)
            yield spread.reshape(len(positions), -1), " x ".join(words)
