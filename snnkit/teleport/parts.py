"""What elements are made of, and how other kinds of symmetry join in."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Self

from torch import Tensor

if TYPE_CHECKING:
    from snnkit.teleport.symmetries import Symmetries

__all__ = ["Part", "part_named", "register_part"]


class Part(ABC):
    """One step of an element: a change of parameters that leaves the function of the model as it is.

    Subclasses are frozen, and say by their ``kind`` what files call them.
    """

    kind: ClassVar[str]

    @abstractmethod
    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the new values of the parameters and buffers that change.

        Args:
            tensors: All parameters and buffers by path, as they are now. They are only read.

        Returns:
            Those that change: of the same shapes, types and devices.
        """

    @abstractmethod
    def then(self, later: Self) -> Self | None:
        """Return the one part that does this one and then ``later``; None if there is none."""

    @abstractmethod
    def inverse(self) -> Self:
        """Return the part that takes this one back."""

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether nothing changes."""

    @abstractmethod
    def to_tensors(self) -> dict[str, Tensor]:
        """Return what a file must hold, by name."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, symmetries: "Symmetries", tensors: Mapping[str, Tensor]) -> Self:
        """Return the part that :meth:`to_tensors` wrote.

        Raises:
            FileFormatError: These are no tensors of such a part.
            TeleportError: They do not fit the model.
        """


_parts: dict[str, type[Part]] = {}

_PROVIDERS = {"channels": "snnkit.teleport.channels", "matrices": "snnkit.teleport.matrices"}
"""First part of a kind -> the module that registers it: loaded when a file needs it."""


def register_part(cls: type[Part]) -> type[Part]:
    """Let files hold parts of this class; also a decorator."""
    _parts[cls.kind] = cls
    return cls


def part_named(kind: str) -> type[Part] | None:
    """Return the class that files call ``kind``; None if nobody registered one."""
    provider = _PROVIDERS.get(kind.split(".", maxsplit=1)[0])
    if kind not in _parts and provider is not None:
        import_module(provider)
    return _parts.get(kind)
