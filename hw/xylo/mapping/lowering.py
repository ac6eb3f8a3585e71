"""From the graph of a network to float arrays in a chip's layout."""

from dataclasses import dataclass

from torch import nn

from snnkit.nn.graph_of import graph_of
from snnkit.utilities.chips import Chip, get_chip

from ..violation import MappingError, Violation
from .layout import lay_out
from .mapped_network import MappedNetwork
from .network_limits import limit_violations
from .reader import Reader
from .values import Circuit

__all__ = ["Inspection", "inspect_network", "lower"]


@dataclass(frozen=True, eq=False)
class Inspection:
    """Everything that lowering found: the circuit, its layout, and what the chip would refuse."""

    circuit: Circuit
    mapped: MappedNetwork
    violations: tuple[Violation, ...]


def inspect_network(net: nn.Module, chip: str | Chip) -> Inspection:
    """Lower ``net`` (a network or its graph) as far as possible and return all violations with it."""
    entry = get_chip(chip)
    reader = Reader(entry)
    reader.read(graph_of(net))
    mapped = lay_out(reader.circuit, entry)
    violations = (*reader.violations, *limit_violations(reader.circuit, mapped))
    return Inspection(reader.circuit, mapped, violations)


def lower(net: nn.Module, chip: str | Chip) -> MappedNetwork:
    """Lay out a network (or its graph, which stays as it is) on a chip, in float.

    Raises:
        MappingError: with every violation, if the network does not fit.
    """
    inspection = inspect_network(net, chip)
    if inspection.violations:
        raise MappingError(refusal(inspection.mapped.chip, inspection.violations), inspection.violations)
    return inspection.mapped


def refusal(chip: Chip, violations: tuple[Violation, ...]) -> str:
    """Return the first line of a MappingError."""
    count = "1 violation" if len(violations) == 1 else f"{len(violations)} violations"
    return f"The network does not fit {chip.title} ({chip.name}): {count}."
