"""Which channels of which tensors belong together."""

from .build import coupling, coupling_of_tape
from .groups import Coupling, CouplingError, FrozenAxis, Group, Member

__all__ = [
    "Coupling",
    "CouplingError",
    "FrozenAxis",
    "Group",
    "Member",
    "coupling",
    "coupling_of_tape",
]
