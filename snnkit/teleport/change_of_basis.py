"""Scales and signs of all channels as one vector: the change of basis of the neural-teleportation project."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from snnkit.teleport.element import Element
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.freedoms import Freedom
from snnkit.teleport.symmetries import Symmetries

__all__ = ["Basis", "Entry"]


@dataclass(frozen=True)
class Entry:
    """The channels of one parameter in the vector.

    Args:
        name: The parameter.
        start: Their first position.
        size: How many they are.
        scale: Whether they may take any positive factor; else only signs.
        sign: Whether they may take the factor -1.
    """

    name: str
    start: int
    size: int
    scale: bool
    sign: bool

    @property
    def span(self) -> slice:
        """Their positions."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True, eq=False)
class Basis:
    """Elements of a model as vectors of factors, one for each channel that may have one.

    Channels that may have a scale and a sign have one number for both; those before an odd function that is
    not homogeneous (tanh) have 1 or -1.
    """

    symmetries: Symmetries

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """What the numbers stand for, in the order of the parameters."""
        scales = {freedom.name: freedom for freedom in self.symmetries.scales}
        signs = {freedom.name: freedom for freedom in self.symmetries.signs}
        order = {name: position for position, name in enumerate(self.symmetries.tape.parameters)}
        found: list[Entry] = []
        for name in sorted({*scales, *signs}, key=lambda key: order[key]):
            for size, scale, sign in _kinds(scales.get(name), signs.get(name)):
                start = found[-1].start + found[-1].size if found else 0
                found.append(Entry(name, start, size, scale, sign))
        return tuple(found)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return sum(entry.size for entry in self.entries)

    def ones(self) -> Tensor:
        """Return the vector of the identity."""
        return torch.ones(self.size, dtype=torch.float64)

    def element(self, cob: Tensor) -> Element:
        """Return the element of a vector.

        Raises:
            TeleportError: it is of another length, zero or not finite somewhere, or asks channels for a sign
                or a scale that they cannot take.
        """
        cob = self.checked(cob).detach()
        scales = [cob[entry.span].abs() for entry in self.entries if entry.scale]
        signs = [cob[entry.span].sign() for entry in self.entries if entry.sign]
        empty = [torch.empty(0, dtype=torch.float64)]
        return self.symmetries.element(torch.cat(empty + scales), torch.cat(empty + signs))

    def flat(self, element: Element) -> Tensor:
        """Return the vector of an element of scales and signs."""
        scales, signs = element.scales, element.signs
        parts = [
            (scales[entry.name] if entry.scale else 1.0) * (signs[entry.name] if entry.sign else 1.0)
            for entry in self.entries
        ]
        return torch.cat([torch.empty(0, dtype=torch.float64), *(torch.as_tensor(part) for part in parts)])

    def log_scales(self, cob: Tensor) -> Tensor:
        """Return the logarithms of the scales in a vector, in the order of the model's symmetries."""
        cob = self.checked(cob)
        empty = [torch.empty(0, dtype=torch.float64)]
        return torch.cat(empty + [cob[entry.span].abs() for entry in self.entries if entry.scale]).log()

    def checked(self, cob: Tensor) -> Tensor:
        """Return the vector in float64, if it is one of this model."""
        if cob.shape != (self.size,):
            raise TeleportError(
                f"the change of basis has shape {tuple(cob.shape)}, but the model takes ({self.size},)."
            )
        cob = cob.to("cpu", torch.float64)
        problems = []
        if not bool(cob.isfinite().all()) or not bool((cob != 0).all()):
            problems.append("a factor is zero or not finite")
        for entry in self.entries:
            own = cob[entry.span]
            if not entry.sign and bool((own < 0).any()):
                channel = int((own < 0).nonzero()[0])
                problems.append(
                    f"{entry.name}: channel {channel} cannot change its sign: what it runs through is not odd"
                )
            if not entry.scale and bool((own.abs() != 1).any()):
                problems.append(f"{entry.name}: its channels take 1 or -1 only")
        if problems:
            raise TeleportError("; ".join(problems) + ".")
        return cob


def _kinds(scale: Freedom | None, sign: Freedom | None) -> list[tuple[int, bool, bool]]:
    if scale is not None and sign is not None:
        if scale.size == sign.size:
            return [(scale.size, True, True)]
        # Some of the channels take one and some the other: they are kept apart.
        return [(scale.size, True, False), (sign.size, False, True)]
    found = scale or sign
    return [] if found is None else [(found.size, scale is not None, sign is not None)]
