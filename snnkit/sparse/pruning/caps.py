"""Masks under caps of fan-in, fan-out and total, with a bound on what any mask can keep.

Keeping at most ``b`` weights in each row and ``a`` in each column with the largest sum of scores is a
transport problem. Its dual prices, ``u`` of rows, ``v`` of columns and ``t`` of a place in all, bound every
mask from above:

    sum of kept scores <= b sum(u) + a sum(v) + total t + sum over all weights of max(0, s - u - v - t)

for any prices that are not negative. The mask that is returned reaches the bound up to rounding, unless equal
scores stand at the edge of ``total``: the difference is reported.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnkit.utilities.errors import ConfigurationError, ShapeError

__all__ = ["CappedMask", "capped_mask"]

Array = NDArray[np.float64]
_STEPS = 60


@dataclass(frozen=True, eq=False)
class CappedMask:
    """A mask under caps.

    Args:
        mask: Booleans ``(targets, sources)``.
        kept: The sum of the scores that it keeps.
        bound: What no mask under these caps can exceed.
    """

    mask: Tensor
    kept: float
    bound: float


def capped_mask(
    scores: Tensor, fan_in: int | None = None, fan_out: int | None = None, total: int | None = None
) -> CappedMask:
    """Return the mask of the largest score under caps, and the proof.

    With one kind of fan, with or without a total, it is chosen greedily, which is optimal; with both by
    shortest augmenting paths, optimal too; a total on top of both is met by a price for every weight.

    Args:
        scores: ``(targets, sources)``, finite, 0 or more. Weights with score 0 are kept only under caps
            that leave room for them.
        fan_in: Most sources of a target; None for any number.
        fan_out: Most targets of a source.
        total: Most weights in all.

    Raises:
        ShapeError: the scores are no matrix.
        ConfigurationError: scores that are negative or not finite; a cap below 0.
    """
    problems = [
        f"{name} is {cap}; it counts weights, so a whole number of 0 or more."
        for name, cap in (("fan_in", fan_in), ("fan_out", fan_out), ("total", total))
        if cap is not None and (cap < 0 or int(cap) != cap)
    ]
    if scores.ndim != 2:
        raise ShapeError(f"Caps need a matrix of scores (targets, sources), not {tuple(scores.shape)}.")
    s = scores.detach().double().cpu().numpy()
    if not np.isfinite(s).all() or (s < 0).any():
        problems.append("Scores must be finite and 0 or more.")
    if problems:
        raise ConfigurationError("\n".join(problems))
    rows = min(s.shape[1], s.shape[1] if fan_in is None else fan_in)
    columns = min(s.shape[0], s.shape[0] if fan_out is None else fan_out)
    limit = s.size if total is None else min(total, s.size)
    mask, u, v, price = _solve(s, rows, columns, limit)
    bound = _bound(s, (rows, columns, limit), u, v, price)
    return CappedMask(torch.from_numpy(mask).to(scores.device), float(s[mask].sum()), bound)


def _bound(s: Array, caps: tuple[int, int, int], u: Array, v: Array, price: float) -> float:
    rest = np.maximum(s - u[:, None] - v[None] - price, 0).sum()
    return float(caps[0] * u.sum() + caps[1] * v.sum() + caps[2] * price + rest)


def _solve(s: Array, rows: int, columns: int, total: int) -> tuple[NDArray[np.bool_], Array, Array, float]:
    """Return mask, row prices, column prices and price of a place."""
    mask, u, v = _fans(s, rows, columns, 0.0)
    if mask.sum() <= total:
        return mask, u, v, 0.0
    low, high = 0.0, float(s.max())
    for _ in range(_STEPS):
        price = (low + high) / 2
        tried, tried_u, tried_v = _fans(s, rows, columns, price)
        if tried.sum() >= total:
            low, mask, u, v = price, tried, tried_u, tried_v
            if tried.sum() == total:
                break
        else:
            high = price
    excess = int(mask.sum()) - total
    if excess:
        flat = np.flatnonzero(mask)
        order = np.argsort(s.ravel()[flat], kind="stable")
        mask.ravel()[flat[order[:excess]]] = False
    return mask, u, v, low


def _fans(s: Array, rows: int, columns: int, price: float) -> tuple[NDArray[np.bool_], Array, Array]:
    """Return the best mask without a total, if every weight costs ``price``, and its dual prices."""
    gain = s - price
    if columns == s.shape[0]:
        mask, u = _best_of_rows(gain, rows)
        return mask, u, np.zeros(s.shape[1])
    if rows == s.shape[1]:
        mask, v = _best_of_rows(np.ascontiguousarray(gain.T), columns)
        return np.ascontiguousarray(mask.T), np.zeros(s.shape[0]), v
    from snnkit.sparse.pruning import transport

    mask, u, v = transport.solve(np.ascontiguousarray(gain), rows, columns)
    return mask, np.maximum(u, 0), np.maximum(v, 0)


def _best_of_rows(gain: Array, cap: int) -> tuple[NDArray[np.bool_], Array]:
    """Return the ``cap`` largest of each row that are not negative, and the next as the price of the row."""
    order = np.argsort(-gain, axis=1, kind="stable")
    ranks = np.argsort(order, axis=1, kind="stable")
    mask = (ranks < cap) & (gain >= 0)
    if cap >= gain.shape[1]:
        return mask, np.zeros(len(gain))
    following = np.take_along_axis(gain, order[:, cap : cap + 1], 1)[:, 0]
    return mask, np.maximum(following, 0)
