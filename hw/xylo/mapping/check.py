"""Whether a network fits a chip: every violation at once, and how much of each resource it takes."""

from dataclasses import dataclass

from torch import nn

from snnkit.utilities.chips import Chip

from ..violation import MappingError, Violation
from .lowering import Inspection, inspect_network, refusal
from .resource import Resource
from .resources import resources_of

__all__ = ["CheckReport", "check"]


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check` found; prints as tables.

    Attributes:
        chip: the chip that was asked for.
        violations: everything that must change; empty if the network fits.
        resources: use and limit of everything that the chip has a limited amount of.
        notes: what will differ on the chip although the network fits.
        delay: time steps by which the chip's outputs lag the network's.
    """

    chip: Chip
    violations: tuple[Violation, ...]
    resources: tuple[Resource, ...]
    notes: tuple[str, ...]
    delay: int

    @property
    def ok(self) -> bool:
        """Whether the network fits."""
        return not self.violations

    def raise_for_violations(self) -> None:
        """Raise a :class:`MappingError` with all violations, if there are any."""
        if self.violations:
            raise MappingError(refusal(self.chip, self.violations), self.violations)

    def __str__(self) -> str:
        chip = f"{self.chip.title} ({self.chip.name})"
        verdict = f"The network fits {chip}." if self.ok else refusal(self.chip, self.violations)
        lines = [verdict, ""]
        for violation in self.violations:
            lines += [
                f"  {violation.rule}: {violation.where}",
                f"      is {violation.value}, limit {violation.limit}. {violation.fix}",
            ]
        if self.violations:
            lines.append("")
        width = max(len(resource.name) for resource in self.resources)
        lines += [f"  {resource.name:<{width}}  {resource.usage}" for resource in self.resources]
        if self.notes:
            lines += ["", *(f"  note: {note}" for note in self.notes)]
        return "\n".join(lines)


def check(net: nn.Module, chip: str | Chip) -> CheckReport:
    """Return whether ``net`` (a network or its graph) fits ``chip``, with all violations and resources.

    Nothing is changed, quantised or raised; ``check(net, chip).raise_for_violations()`` raises.

    Example:
        >>> from snnkit.nn.combinators import Sequential
        >>> from snnkit.nn.modules import LIFTorch, LinearTorch
        >>> net = Sequential(LinearTorch((3, 8)), LIFTorch(8), LinearTorch((8, 2)), LIFTorch(2))
        >>> check(net, "imu").ok
        True
    """
    return report_of(inspect_network(net, chip))


def report_of(inspection: Inspection) -> CheckReport:
    """Return the report on a network that was already lowered."""
    mapped = inspection.mapped
    return CheckReport(mapped.chip, inspection.violations, resources_of(mapped), mapped.notes, mapped.delay)
