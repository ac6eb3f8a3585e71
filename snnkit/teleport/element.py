"""Elements of the group of symmetries: what they are made of, composing and undoing them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from snnkit.teleport.changes import Change
from snnkit.teleport.channels import ChannelPart
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.parts import Part
from snnkit.teleport.symmetries import Symmetries

__all__ = ["Element", "compose", "identity", "inverse"]


@dataclass(frozen=True, eq=False)
class Element:
    """A change of parameters that leaves the function of a model as it is.

    Args:
        symmetries: Of the model.
        parts: What is done, one after the other. Neighbours that can be one are made one.

    Raises:
        TeleportError: A part belongs to another model.
    """

    symmetries: Symmetries
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        merged: list[Part] = []
        for part in self.parts:
            if isinstance(part, ChannelPart):
                check_same(self.symmetries, part.symmetries)
            if part.is_identity:
                continue
            last = merged[-1] if merged else None
            joined = last.then(part) if last is not None and type(last) is type(part) else None
            if joined is None:
                merged.append(part)
            else:
                merged[-1:] = [] if joined.is_identity else [joined]
        object.__setattr__(self, "parts", tuple(merged))

    # --- Reading ----------------------------------------------------------------------------------------

    @property
    def scales(self) -> dict[str, Tensor]:
        """Positive factors of all channels that may have one, by name, ``(size,)`` float64."""
        return self._channels().complete("scale")

    @property
    def signs(self) -> dict[str, Tensor]:
        """Signs of all channels that may have one, by name, ``(size,)`` int8."""
        return self._channels().complete("sign")

    @property
    def permutations(self) -> dict[str, Tensor]:
        """By name, which channel comes to each place, ``(size,)`` int64."""
        return self._channels().complete("permutation")

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return not self.parts

    def _channels(self) -> ChannelPart:
        if not self.parts:
            return ChannelPart(self.symmetries)
        if len(self.parts) > 1 or not isinstance(self.parts[0], ChannelPart):
            kinds = ", ".join(part.kind for part in self.parts)
            raise TeleportError(
                f"the element consists of the parts {kinds}: it has no one set of factors, signs and orders."
            )
        return self.parts[0]

    def changes(self) -> dict[str, Change]:
        """Return what happens to each parameter and buffer, by path; those that stay are left out.

        Raises:
            TeleportError: The element has parts that are more than factors, signs and one order.
        """
        return dict(self._channels().changes)

    def apply(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the new values of the parameters and buffers that change.

        Args:
            tensors: All parameters and buffers by path; they are only read.
        """
        current = dict(tensors)
        changed: dict[str, Tensor] = {}
        with torch.no_grad():
            for part in self.parts:
                new = part.apply(current)
                current |= new
                changed |= new
        return changed

    # --- The group --------------------------------------------------------------------------------------

    def then(self, later: "Element") -> "Element":
        """Return the element that does this one and then ``later``."""
        check_same(self.symmetries, later.symmetries)
        return Element(self.symmetries, (*self.parts, *later.parts))

    def inverse(self) -> "Element":
        """Return the element that takes this one back."""
        return Element(self.symmetries, tuple(part.inverse() for part in reversed(self.parts)))

    def __repr__(self) -> str:
        from snnkit.teleport.printing import describe_element

        return describe_element(self)


def check_same(one: Symmetries, other: Symmetries) -> None:
    """Refuse what belongs to another model."""
    if one is not other and one.fingerprint != other.fingerprint:
        raise TeleportError(
            "the element belongs to another model: names, shapes or freedoms of its channels differ. "
            "Elements fit models of one architecture, analysed with the same batch_norm."
        )


def identity(symmetries: Symmetries) -> Element:
    """Return the element that changes nothing."""
    return Element(symmetries)


def compose(second: Element, first: Element) -> Element:
    """Return the element that does ``first`` and then ``second``.

    Raises:
        TeleportError: They belong to different models.
    """
    return first.then(second)


def inverse(element: Element) -> Element:
    """Return the element that takes ``element`` back."""
    return element.inverse()
