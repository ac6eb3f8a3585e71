"""Which hidden neuron of the chip each population gets.

A chip may let only its first hidden neurons receive input and only its last ones drive outputs. Populations
stay whole and are ordered

    input only | neither | input and outputs | neither | outputs only

each group in the order of computation. Those that touch neither side fill the two gaps so that both windows
are kept, if any arrangement of whole populations does so, and go into the first gap otherwise. Where no
population does both, there is one gap. A plain chain of layers keeps its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from snnkit.utilities.chips import Chip

__all__ = ["Role", "order_populations"]


@dataclass(frozen=True)
class Role:
    """What the place of a population depends on."""

    size: int
    receives_input: bool
    drives_outputs: bool


def order_populations(roles: Sequence[Role], chip: Chip) -> list[int]:
    """Return the indices of ``roles`` in the order of their neurons on the chip."""
    if sum(role.size for role in roles) <= min(chip.max_input_expansion, chip.max_output_expansion):
        return list(range(len(roles)))  # every order keeps both windows
    groups: dict[tuple[bool, bool], list[int]] = {}
    for index, role in enumerate(roles):
        groups.setdefault((role.receives_input, role.drives_outputs), []).append(index)
    inputs_only, both = groups.get((True, False), []), groups.get((True, True), [])
    neither, outputs_only = groups.get((False, False), []), groups.get((False, True), [])
    before = set(neither)
    if both:
        sizes = [sum(roles[index].size for index in group) for group in (inputs_only, both, outputs_only)]
        most = chip.max_input_expansion - sizes[0] - sizes[1]
        least = sum(roles[index].size for index in neither) + sizes[1] + sizes[2] - chip.max_output_expansion
        before = _first_gap({index: roles[index].size for index in neither}, least, most)
    gap = [index for index in neither if index in before]
    rest = [index for index in neither if index not in before]
    return [*inputs_only, *gap, *both, *rest, *outputs_only]


def _first_gap(sizes: dict[int, int], least: int, most: int) -> set[int]:
    """Choose populations with ``least`` to ``most`` neurons in all, as many as can be; else take all."""
    sums: dict[int, tuple[int, ...]] = {0: ()}
    for index, size in sizes.items():
        for total, chosen in list(sums.items()):
            sums.setdefault(total + size, (*chosen, index))
    fitting = [total for total in sums if least <= total <= most]
    return set(sums[max(fitting)]) if fitting else set(sizes)
