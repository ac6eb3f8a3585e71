"""What the axes of tensors consist of: atoms, products of them and concatenations.

An axis of size 12 that was made by flattening ``(3, 4)`` is the product of two atoms; one made by joining
channels of two layers is a concatenation. An atom is one set of indices that no operation has taken apart so
far. Later operations refine atoms: ``view(3, 4)`` binds an atom of 12 to a product of two new ones. So two
tensors whose axes contain the same atom agree about the meaning of an index, and whatever is done to an index
of the atom (drop it, scale it, move it) must be done wherever the atom occurs.

Axes of size 1 are no atoms but :data:`UNIT`, the empty product: a single index is never dropped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Union

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "UNIT",
    "Atom",
    "Axis",
    "Concat",
    "Product",
    "Reason",
    "concat",
    "factors",
    "fresh",
    "fresh_frozen",
    "is_frozen",
    "keep_of",
    "leaves",
    "parts",
    "product",
    "resolved",
    "size",
]

_serials = count()


@dataclass(frozen=True)
class Reason:
    """Why an axis may not change, or not without changing results: what happened, in which operation.

    Args:
        text: What the operation does with the axis.
        operation: Position of the operation on the tape; -1 for none.
    """

    text: str
    operation: int = -1


class Atom:
    """A set of indices. ``binding`` is what it was found to consist of, or the atom it was united with."""

    __slots__ = ("binding", "frozen", "serial", "size", "soft")

    def __init__(self, size: int) -> None:
        self.size = size
        self.serial = next(_serials)
        self.binding: Axis | None = None
        self.frozen: list[Reason] = []
        self.soft: list[Reason] = []

    def __repr__(self) -> str:
        return f"a{self.serial}({self.size})"


@dataclass(frozen=True, eq=False)
class Product:
    """Axes flattened into one, the last of them fastest."""

    children: tuple["Axis", ...]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", int(np.prod([child.size for child in self.children], dtype=object)))

    def __repr__(self) -> str:
        return "*".join(repr(child) for child in factors(self)) or "1"


@dataclass(frozen=True, eq=False)
class Concat:
    """Axes joined into one, one after the other."""

    children: tuple["Axis", ...]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", sum(child.size for child in self.children))

    def __repr__(self) -> str:
        return "(" + " + ".join(repr(part) for part in parts(self)) + ")"


Axis = Union[Atom, Product, Concat]  # noqa: UP007 - the classes above name it in strings

UNIT = Product(())
_EMPTY = Concat(())


def size(axis: Axis) -> int:
    """Return the number of indices."""
    return axis.size


def fresh(n: int) -> Axis:
    """Return an axis about which nothing is known yet."""
    return Atom(n) if n > 1 else UNIT if n else _EMPTY


def fresh_frozen(n: int, reasons: Iterable[Reason]) -> Axis:
    """Return a new axis that may not change."""
    axis = fresh(n)
    if isinstance(axis, Atom):
        axis.frozen.extend(reasons)
    return axis


def resolved(axis: Axis) -> Axis:
    """Follow bindings to what the axis is now known to be."""
    if not isinstance(axis, Atom) or axis.binding is None:
        return axis
    end = axis.binding
    while isinstance(end, Atom) and end.binding is not None:
        end = end.binding
    axis.binding = end
    return end


def factors(axis: Axis) -> list[Axis]:
    """Return the axes whose product ``axis`` is, none of them a product."""
    axis = resolved(axis)
    if not isinstance(axis, Product):
        return [axis]
    return [factor for child in axis.children for factor in factors(child)]


def parts(axis: Axis) -> list[Axis]:
    """Return the axes whose concatenation ``axis`` is, none of them a concatenation."""
    axis = resolved(axis)
    if not isinstance(axis, Concat):
        return [axis]
    return [part for child in axis.children for part in parts(child)]


def product(children: Iterable[Axis]) -> Axis:
    """Return the axis of flattened ``children``."""
    flat = [factor for child in children for factor in factors(child)]
    return flat[0] if len(flat) == 1 else Product(tuple(flat)) if flat else UNIT


def concat(children: Iterable[Axis], reason: Reason | None = None) -> Axis:
    """Return the axis of joined ``children``; joined single indices are one frozen axis."""
    flat = [part for child in children for part in parts(child) if part.size]
    if len(flat) == 1:
        return flat[0]
    if flat and all(part.size == 1 for part in flat):
        return fresh_frozen(len(flat), [reason or Reason("single indices are joined")])
    return Concat(tuple(flat))


def leaves(axis: Axis) -> Iterator[Atom]:
    """Walk the atoms that ``axis`` consists of, as often as they occur."""
    axis = resolved(axis)
    if isinstance(axis, Atom):
        yield axis
    else:
        for child in axis.children:
            yield from leaves(child)


def is_frozen(axis: Axis) -> bool:
    """Whether no index of the axis may change."""
    return all(atom.frozen for atom in leaves(axis))


def keep_of(axis: Axis, keep: Mapping[Atom, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Return which indices of ``axis`` remain if of some atoms only those in ``keep`` do, ``(size,)``."""
    axis = resolved(axis)
    if isinstance(axis, Atom):
        chosen = keep.get(axis)
        return np.ones(axis.size, bool) if chosen is None else chosen
    if isinstance(axis, Concat):
        return np.concatenate([np.zeros(0, bool), *(keep_of(child, keep) for child in axis.children)])
    mask = np.ones(1, bool)
    for child in axis.children:
        mask = np.logical_and.outer(mask, keep_of(child, keep)).ravel()
    return mask
