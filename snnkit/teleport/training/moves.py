"""How a teleportation moves one parameter, and all that an optimiser keeps about it.

A parameter moves to ``p' = c * P(p)``: its axes are permuted, then every entry has a factor. The loss stays
as it is, so the gradient moves the other way, ``g' = P(g) / c``, and whatever an optimiser collects moves
with a power of the factor: averages of gradients with ``c^-1``, of their squares with ``c^-2``."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from snnkit.utilities.errors import ParameterError, ShapeError

__all__ = [
    "GRADIENT",
    "GRADIENT_SIZE",
    "SIZE",
    "SQUARE",
    "STEP",
    "WEIGHT",
    "Carrier",
    "Chain",
    "Law",
    "Move",
    "permuted",
]


@dataclass(frozen=True)
class Law:
    """How a quantity moves with its parameter: times ``|c| ** power``, and with the sign of ``c`` or not."""

    power: int
    signed: bool


WEIGHT = Law(1, True)
"""Parameters, and averages of them."""
GRADIENT = Law(-1, True)
"""Gradients and their running means: momentum, first moments."""
SQUARE = Law(-2, False)
"""Squared gradients: second moments."""
GRADIENT_SIZE = Law(-1, False)
"""Sizes of gradients, as Adamax keeps."""
STEP = Law(0, True)
"""Steps that the optimiser has already brought to its learning rate's units, as RMSprop's momentum."""
SIZE = Law(0, False)
"""Sizes of steps: learning rates of single entries, which stay with their entry."""


class Carrier(ABC):
    """A linear map of one parameter, and of what an optimiser keeps about it."""

    @abstractmethod
    def carried(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Return where ``value``, a tensor of the parameter's shape that obeys ``law``, comes to be."""

    @abstractmethod
    def brought_back(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Undo :meth:`carried`."""

    @abstractmethod
    def inverse(self) -> "Carrier":
        """Return the carrier that undoes this one."""

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether nothing moves."""

    @property
    def is_power_of_two(self) -> bool:
        """Whether all factors are powers of two, so that moves lose no bit."""
        return False

    @abstractmethod
    def check(self, shape: torch.Size, name: str) -> None:
        """Raise ShapeError if this is nothing for a tensor of ``shape``."""

    def fitted(self, parameter: Tensor) -> "Carrier":
        """Return the same, ready for values of the parameter's type and on its device."""
        return self

    @abstractmethod
    def to_plain(self) -> dict[str, Any]:
        """Return dictionaries of numbers, texts and tensors for a file."""

    def then(self, later: "Carrier") -> "Carrier":
        """Return this one followed by another."""
        links = list(_links(self))
        for link in _links(later):
            if links and type(links[-1]) is type(link):
                links[-1] = links[-1].then(link)
            else:
                links.append(link)
        return links[0] if len(links) == 1 else Chain(tuple(links))


@dataclass(frozen=True, eq=False)
class Chain(Carrier):
    """Carriers, one after the other."""

    links: tuple[Carrier, ...]

    def carried(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Carry through all links."""
        for link in self.links:
            value = link.carried(value, law)
        return value

    def brought_back(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Bring back through all links, the last first."""
        for link in reversed(self.links):
            value = link.brought_back(value, law)
        return value

    def inverse(self) -> Carrier:
        """Return the inverses in the opposite order."""
        return Chain(tuple(link.inverse() for link in reversed(self.links)))

    @property
    def is_identity(self) -> bool:
        """Whether no link moves anything."""
        return all(link.is_identity for link in self.links)

    def check(self, shape: torch.Size, name: str) -> None:
        """Check every link."""
        for link in self.links:
            link.check(shape, name)

    def fitted(self, parameter: Tensor) -> Carrier:
        """Fit every link."""
        return Chain(tuple(link.fitted(parameter) for link in self.links))

    def to_plain(self) -> dict[str, Any]:
        """Return the links in their order."""
        return {"chain": [link.to_plain() for link in self.links]}


@dataclass(frozen=True, eq=False)
class Move(Carrier):
    """The move of one tensor: ``new = factor * old``, of which the axes were permuted before.

    Args:
        factor: One number, or one axis for each of the tensor's, of its size or 1; finite, nowhere zero.
        permutations: Axis -> for each index of the new tensor the index of the old one, int64.

    Raises:
        ParameterError: a factor is zero or not finite, or an order is no permutation.
    """

    factor: Tensor = field(default_factory=lambda: torch.ones((), dtype=torch.float64))
    permutations: Mapping[int, Tensor] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not bool((self.factor.isfinite() & (self.factor != 0)).all()):
            raise ParameterError("Move: a factor is zero, infinite or NaN; no inverse would bring it back.")
        for axis, order in self.permutations.items():
            if not torch.equal(order.sort().values, torch.arange(len(order), device=order.device)):
                raise ParameterError(
                    f"Move: the order of axis {axis} is no permutation of 0..{len(order) - 1}."
                )

    def carried(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Return where ``value``, a tensor of the parameter's shape that obeys ``law``, comes to be."""
        moved = permuted(value, self.permutations)
        if law.power == 0 and not law.signed:
            return moved
        factor = self.factor.to(value)
        # Dividing by c is not the same number as multiplying by 1/c.
        return moved * _power(factor, law) if law.power >= 0 else moved / _power(factor, _opposite(law))

    def brought_back(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Undo :meth:`carried`."""
        if law.power or law.signed:
            factor = self.factor.to(value)
            value = value / _power(factor, law) if law.power >= 0 else value * _power(factor, _opposite(law))
        return permuted(value, _inverse_orders(self.permutations))

    def then(self, later: Carrier) -> Carrier:
        """Return this move followed by another, as one."""
        if not isinstance(later, Move):
            return self if later.is_identity else later if self.is_identity else super().then(later)
        orders = dict(self.permutations)
        for axis, order in later.permutations.items():
            orders[axis] = orders[axis][order] if axis in orders else order
        return Move(later.factor * permuted(self.factor, later.permutations), orders)

    def inverse(self) -> "Move":
        """Return the move that undoes this one."""
        orders = _inverse_orders(self.permutations)
        return Move(permuted(1.0 / self.factor, orders), orders)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        still = all(bool((order == torch.arange(len(order)).to(order)).all()) for order in self._orders())
        return still and bool((self.factor == 1).all())

    @property
    def is_power_of_two(self) -> bool:
        """Whether all factors are powers of two, so that moves lose no bit."""
        return bool((torch.frexp(self.factor).mantissa.abs() == 0.5).all())

    def check(self, shape: torch.Size, name: str) -> None:
        """Raise ShapeError if this is no move of a tensor of ``shape``."""
        sizes = self.factor.shape
        fits = not sizes or (
            len(sizes) == len(shape) and all(a in (1, b) for a, b in zip(sizes, shape, strict=True))
        )
        wrong = [a for a, order in self.permutations.items() if a >= len(shape) or shape[a] != len(order)]
        if not fits or wrong:
            raise ShapeError(
                f"The move of {name}, {tuple(shape)}, has a factor {tuple(self.factor.shape)}"
                + (f" and does not fit its axis {wrong[0]}." if wrong else ".")
                + " Teleport the model that this optimiser trains."
            )

    def fitted(self, parameter: Tensor) -> Carrier:
        """Return the move with factor and permutations on the parameter's device."""
        orders = {axis: order.to(parameter.device) for axis, order in self.permutations.items()}
        return Move(self.factor.to(parameter), orders)

    def to_plain(self) -> dict[str, Any]:
        """Return the factor and the permutations."""
        return {"factor": self.factor, "permutations": dict(self.permutations)}

    def _orders(self) -> list[Tensor]:
        return list(self.permutations.values())


def _links(carrier: Carrier) -> tuple[Carrier, ...]:
    return carrier.links if isinstance(carrier, Chain) else () if carrier.is_identity else (carrier,)


def _power(factor: Tensor, law: Law) -> Tensor:
    if law.signed and law.power % 2:
        return factor if law.power == 1 else factor**law.power
    if law.signed:
        return factor.sign() * factor.abs() ** law.power
    return factor.abs() ** law.power


def _opposite(law: Law) -> Law:
    return Law(-law.power, law.signed)


def _inverse_orders(orders: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return {axis: torch.argsort(order) for axis, order in orders.items()}


def permuted(value: Tensor, orders: Mapping[int, Tensor]) -> Tensor:
    """Reorder the axes of a tensor; those of size one, along which a factor broadcasts, have no order."""
    for axis, order in orders.items():
        if axis < value.ndim and value.shape[axis] > 1:
            value = value.index_select(axis, order.to(value.device))
    return value
