"""What a network or a specification asks for that its chip does not have."""

from collections.abc import Iterable
from dataclasses import dataclass

from snnkit.utilities.errors import SnnkitError

__all__ = ["DRCError", "DRCWarning", "MappingError", "Violation"]


@dataclass(frozen=True)
class Violation:
    """One chip rule that is broken.

    Attributes:
        rule: short name of the rule, such as ``"hidden neurons"``.
        where: module path, array name or range of neurons.
        value: what is there.
        limit: what the chip allows.
        fix: what to change.
    """

    rule: str
    where: str
    value: str | float | int
    limit: str | float | int
    fix: str

    def __str__(self) -> str:
        return f"{self.rule} · {self.where}: {self.value}, limit {self.limit}. {self.fix}"


class DRCError(SnnkitError, ValueError):
    """A design rule of the chip is broken; Rockpool's name for it."""


class DRCWarning(Warning, DRCError):  # noqa: N818 - Rockpool's name
    """A design rule that simulation can live with, but the chip cannot."""


class MappingError(DRCError):
    """A network cannot be placed on its chip; the message lists every violation.

    Attributes:
        violations: all of them, as :class:`Violation`.
    """

    def __init__(self, message: str, violations: Iterable[Violation] = ()) -> None:
        self.message = message
        self.violations: tuple[Violation, ...] = tuple(violations)
        super().__init__(message, self.violations)

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  - {violation}" for violation in self.violations)])
