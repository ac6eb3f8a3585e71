"""Orders of channels that bring the weights of one net closest to those of another.

Weight matching by coordinate descent (Ainsworth, Hayase and Srinivasa 2023, Git Re-Basin, algorithm 1): for
one set of channels after the other the best assignment, with all other orders held.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnkit.dag.channels import Group
from snnkit.teleport.canonical import sorting_permutations
from snnkit.teleport.symmetries import Symmetries

__all__ = ["best_assignment", "matching_permutations"]

_SWEEPS = 50


def matching_permutations(
    found: Symmetries, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return orders that bring ``source`` close to ``target``; both in scales that can be compared.

    Args:
        found: Symmetries of the model.
        source, target: Its parameters and buffers by path.

    Returns:
        By name of the freedom, which channel of the source comes to each place.
    """
    first, second = sorting_permutations(found, source), sorting_permutations(found, target)
    # Sorted alike: exact wherever the two nets differ by scales, signs and orders only.
    orders = {name: first[name][second[name].argsort()] for name in first}
    for _ in range(_SWEEPS):
        improved = False
        for freedom in found.permutations:
            improved |= _improve(found, freedom.name, orders, source, target)
        if not improved:
            break
    return orders


def _improve(
    found: Symmetries,
    name: str,
    orders: dict[str, Tensor],
    source: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
) -> bool:
    group = found.group(name)
    identity = torch.arange(group.size)
    moved = found.element(permutations=orders | {name: identity}).apply(dict(source))
    similar = _similarity(group, dict(source) | moved, target)
    before = similar[identity, orders[name]].sum()
    order = torch.from_numpy(best_assignment(-similar.numpy()))
    gain = similar[identity, order].sum() - before
    if float(gain) <= 1e-9 * float(similar.abs().max()) * group.size:
        return False
    orders[name] = order
    return True


def _similarity(group: Group, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
    """Return the scalar products of what makes and reads channel i of the target and j of the source."""
    total = torch.zeros(group.size, group.size, dtype=torch.float64)
    for member in group.members:
        if member.role == "state":
            continue
        places = torch.from_numpy(member.positions)
        one, other = (
            tensors[member.name]
            .detach()
            .cpu()
            .double()
            .movedim(member.axis, 0)[places]
            .reshape(group.size, -1)
            for tensors in (target, source)
        )
        total += one @ other.T
    return total


def best_assignment(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each row the column that it gets, so that the sum of the costs is least.

    The Hungarian method with shortest augmenting paths (Jonker and Volgenant 1987), O(n^3).

    Args:
        cost: ``(n, n)``.
    """
    n = len(cost)
    row_of = np.full(n + 1, -1)  # by column; the last column is where a new row begins
    row_price, column_price = np.zeros(n), np.zeros(n + 1)
    for row in range(n):
        row_of[n] = row
        column, previous = n, np.full(n, n)
        shortest, done = np.full(n, np.inf), np.zeros(n + 1, bool)
        while row_of[column] != -1:
            done[column] = True
            current = row_of[column]
            reduced = cost[current] - row_price[current] - column_price[:n]
            better = ~done[:n] & (reduced < shortest)
            shortest[better], previous[better] = reduced[better], column
            following = int(np.where(done[:n], np.inf, shortest).argmin())
            delta = shortest[following]
            row_price[row_of[done]] += delta
            column_price[done] -= delta
            shortest[~done[:n]] -= delta
            column = following
        while column != n:
            row_of[column] = row_of[previous[column]]
            column = int(previous[column])
    result = np.empty(n, np.int64)
    result[row_of[:n]] = np.arange(n)
    return result
