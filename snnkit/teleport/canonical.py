"""Signs and orders of channels that do not depend on which net of an orbit one starts from."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from snnkit.dag.channels import Group
from snnkit.dag.scales import Scales, scales_of_tape
from snnkit.teleport.balancing import spans_of
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
    terms = _sign_terms(settled, column)
    for span in spans_of(settled):
        sums = _odd_moments(span, terms, tensors, signs)
        signs[span.start : span.stop] = torch.where(sums < 0, -1.0, 1.0).double()
    return signs


def _sign_terms(settled: Scales, column: Mapping[int, int]) -> dict[str, list[Tensor]]:
    """Return for each parameter which signs its elements take: arrays of positions, -1 for none."""
    found: dict[str, list[Tensor]] = {}
    for name, scale in settled.parameters.items():
        for _, ids in scale.terms:
            padded = ids.reshape((1,) * (len(scale.shape) - ids.ndim) + ids.shape)
            rows = {
                u: [column[f] for f in settled.derived.get(u, (u,))] for u in np.unique(padded).tolist() if u
            }
            for layer in range(max((len(row) for row in rows.values()), default=0)):
                table = np.full(padded.shape, -1, np.int64)
                for unknown, row in rows.items():
                    if len(row) > layer:
                        table[padded == unknown] = row[layer]
                found.setdefault(name, []).append(torch.from_numpy(table))
    return found


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
    """Return a number for each channel that no order of other channels changes, ``(size,)`` float64."""
    total = torch.zeros(group.size, dtype=torch.float64)
    for number, member in enumerate(group.members):
        tensor = tensors[member.name].detach().cpu().double().movedim(member.axis, 0)
        lines = tensor[torch.from_numpy(member.positions)].reshape(group.size, -1)
        scale = float(lines.square().mean().sqrt()) or 1.0
        for order, weight in zip(_ORDERS, _WEIGHTS, strict=True):
            total += weight / (number + 1) * ((lines / scale) ** order).mean(1)
    return total
