"""Signs and orders of channels that do not depend on which net of an orbit one starts from."""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnkit.dag.channels import Group
from snnkit.dag.scales import scales_of_tape
from snnkit.teleport.balancing import free_columns, spans_of
from snnkit.teleport.symmetries import Symmetries

__all__ = ["deciding_signs", "moments", "sorting_permutations"]

_ORDERS = (1, 2, 3, 5)
_WEIGHTS = (1.0, 0.618033988749895, 0.414213562373095, 0.302775637731995)


def deciding_signs(found: Symmetries, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return signs under which what makes each channel has a positive sum of cubes, ``(n_signs,)``.

    Decided from the first parameters on: the signs of what a channel reads are decided before its own.
    """
    settled = scales_of_tape(found.tape, "sign", found.batch_norm)
    column = {unknown: position for position, unknown in enumerate(settled.first_uses)}
    signs = torch.ones(len(column), dtype=torch.float64)
    terms = {
        name: [table for _, table in free_columns(scale, settled, column)]
        for name, scale in settled.parameters.items()
    }
    for span in spans_of(settled):
        sums = _odd_moments(span, terms, tensors, signs)
        signs[span.start : span.stop] = torch.where(sums < 0, -1.0, 1.0).double()
    return signs


def _odd_moments(
    own: range, terms: Mapping[str, list[Tensor]], tensors: Mapping[str, Tensor], signs: Tensor
) -> Tensor:
    """Sum the cubes of what makes channels; signs decided before count, later ones are left out."""
    place = torch.full((len(signs),), -1, dtype=torch.int64)
    place[own.start : own.stop] = torch.arange(len(own))
    sums = torch.zeros(len(own), dtype=torch.float64)
    for name, tables in terms.items():
        value = tensors[name].detach().cpu().double() ** 3
        inside = torch.zeros((), dtype=torch.bool)
        target = torch.full((), -1, dtype=torch.int64)
        usable = torch.ones((), dtype=torch.bool)
        for table in tables:
            mine = torch.where(table >= 0, place[table.clamp(min=0)], -1)
            value = value * torch.where((table >= 0) & (mine < 0), signs[table.clamp(min=0)], 1.0)
            usable = usable & ((table < own.start) | (mine >= 0)) & ~(inside & (mine >= 0))
            target = torch.where(mine >= 0, mine, target)
            inside = inside | (mine >= 0)
        chosen = (inside & usable).expand(value.shape)
        sums.index_add_(0, target.expand(value.shape)[chosen], value[chosen])
    return sums


def sorting_permutations(found: Symmetries, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return for each order that may be chosen the one that sorts the channels by their moments.

    Channels whose moments agree to 1e-9 keep their order.
    """
    orders = {}
    for freedom in found.permutations:
        key = moments(found.group(freedom.name), tensors)
        spread = float(key.abs().max()) or 1.0
        orders[freedom.name] = (key / spread / 1e-9).round().sort(stable=True).indices
    return orders


def moments(group: Group, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return a number for each channel that no order of other channels changes, ``(size,)`` float64.

    Made of parameters alone: nets of one orbit may have seen other data.
    """
    total = torch.zeros(group.size, dtype=torch.float64)
    members = [member for member in group.members if member.role != "state"]
    for number, member in enumerate(members):
        tensor = tensors[member.name].detach().cpu().double().movedim(member.axis, 0)
        lines = tensor[torch.from_numpy(member.positions)].reshape(group.size, -1)
        scale = float(lines.square().mean().sqrt()) or 1.0
        for order, weight in zip(_ORDERS, _WEIGHTS, strict=True):
            total += weight / (number + 1) * ((lines / scale) ** order).mean(1)
    return total
