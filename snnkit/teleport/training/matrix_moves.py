"""Moves by matrices, as of the heads of an attention or of a residual stream."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from snnkit.teleport.matrices import MatrixPart
from snnkit.teleport.training.moves import GRADIENT, WEIGHT, Carrier, Law
from snnkit.utilities.errors import ConfigurationError, ShapeError

__all__ = ["MatrixMove", "matrix_moves"]


@dataclass(frozen=True, eq=False)
class MatrixMove(Carrier):
    """The move of one parameter by matrices along its axes.

    What obeys the law of weights takes the matrices, what obeys that of gradients their inverses transposed.
    Nothing else has a law: squares of gradients cannot be turned.

    Args:
        name: Path of the parameter.
        part: The matrices, at places of this parameter only and without conditions.
    """

    name: str
    part: MatrixPart

    def carried(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Return ``value`` with the matrices of its law applied."""
        return self._by(self._of(law), value)

    def brought_back(self, value: Tensor, law: Law = WEIGHT) -> Tensor:
        """Undo :meth:`carried`."""
        self._of(law)  # For its error, where there is no law.
        return self._by(self._inverses[law], value)

    def then(self, later: Carrier) -> Carrier:
        """Return this move followed by another, of matrices as one."""
        if isinstance(later, MatrixMove):
            return MatrixMove(self.name, self.part.then(later.part))
        return super().then(later)

    def inverse(self) -> "MatrixMove":
        """Return the move by the inverse matrices."""
        return MatrixMove(self.name, self.part.inverse())

    @property
    def is_identity(self) -> bool:
        """Whether all matrices are."""
        return self.part.is_identity

    def check(self, shape: torch.Size, name: str) -> None:
        """Raise ShapeError if a place lies outside of a tensor of ``shape``."""
        if any(place.view.end > shape.numel() for site in self.part.sites for place in site.places):
            raise ShapeError(f"The matrices of {self.name} do not fit {name}, {tuple(shape)}.")

    def to_plain(self) -> dict[str, Any]:
        """Return the path and what a file of the part holds."""
        return {"parameter": self.name, "matrices": self.part.to_tensors()}

    def _of(self, law: Law) -> MatrixPart:
        if law == WEIGHT:
            return self.part
        if law == GRADIENT:
            return self._turned
        raise ConfigurationError(
            f"{self.name} is moved by matrices, and the optimiser keeps squares or sizes of gradients, which "
            'matrices cannot turn. Use mode="transparent" or mode="reset".'
        )

    @cached_property
    def _turned(self) -> MatrixPart:
        turned = tuple(torch.linalg.inv(matrix).T.contiguous() for matrix in self.part.matrices)
        return MatrixPart(self.part.sites, turned)

    @cached_property
    def _inverses(self) -> dict[Law, MatrixPart]:
        return {law: self._of(law).inverse() for law in (WEIGHT, GRADIENT)}

    def _by(self, part: MatrixPart, value: Tensor) -> Tensor:
        return part.apply({self.name: value})[self.name]


def matrix_moves(part: MatrixPart) -> dict[str, MatrixMove]:
    """Return the moves of all parameters that a part acts on."""
    names = dict.fromkeys(name for site in part.sites for name in site.parameters)
    return {name: MatrixMove(name, _of_one(part, name)) for name in names}


def _of_one(part: MatrixPart, name: str) -> MatrixPart:
    """Return the part's action on one parameter."""
    sites, matrices = [], []
    for site, matrix in zip(part.sites, part.matrices, strict=True):
        places = tuple(place for place in site.places if place.view.name == name)
        if places:
            sites.append(replace(site, places=places, conditions=()))
            matrices.append(matrix)
    return MatrixPart(tuple(sites), tuple(matrices))
