"""How many weights each layer keeps: whole numbers that add up exactly."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from snnkit.utilities.errors import ConfigurationError, unknown_key_message
from snnkit.utilities.masks import keep_largest

__all__ = ["ALLOCATIONS", "allocate", "apportion", "kept_total"]

ALLOCATIONS = ("global", "local", "er", "erk")


def kept_total(total: int, sparsity: float) -> int:
    """Return how many of ``total`` weights remain: all but ``round(sparsity * total)``."""
    return total - round(sparsity * total)


def apportion(
    shares: Sequence[float], total: int, lower: Sequence[int], upper: Sequence[int]
) -> tuple[int, ...]:
    """Return whole numbers of sum ``total``, proportional to ``shares`` where their bounds allow it.

    Where a bound holds, the others share the rest. Rounding is by largest remainder, the first of equals
    first.

    Raises:
        ConfigurationError: no such numbers exist.
    """
    _check_bounds(total, lower, upper)

    def quotas(scale: float) -> list[float]:
        bounds = zip(shares, lower, upper, strict=True)
        return [min(max(scale * share, low), high) for share, low, high in bounds]

    scale = _solve(lambda scale: sum(quotas(scale)), total)
    exact = quotas(scale)
    counts = [math.floor(quota) for quota in exact]
    while (missing := total - sum(counts)) != 0:
        step = 1 if missing > 0 else -1
        free = [i for i, n in enumerate(counts) if (n < upper[i] if missing > 0 else n > lower[i])]
        free.sort(key=lambda i: step * (counts[i] - exact[i]))
        for i in free[: abs(missing)]:
            counts[i] += step
    return tuple(counts)


def _check_bounds(total: int, lower: Sequence[int], upper: Sequence[int]) -> None:
    if not sum(lower) <= total <= sum(upper) or any(a > b for a, b in zip(lower, upper, strict=True)):
        raise ConfigurationError(
            f"{total} weights are to stay, but the layers allow {sum(lower)} to {sum(upper)}."
        )


def _solve(rising: Callable[[float], float], target: float) -> float:
    """Return where a rising function from 0 reaches ``target``, to the last bit."""
    low, high = 0.0, 1.0
    while rising(high) < target and high < 1e300:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < target else (low, middle)
    return high


def allocate(
    method: str,
    scores: Mapping[str, Tensor],
    total: int,
    minimum: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, int]:
    """Return how many weights of each layer remain, ``total`` in all.

    Args:
        method: ``"global"``: those of the largest scores, wherever they are. ``"local"``: the same share of
            each layer. ``"er"``: densities proportional to ``(n_in + n_out) / (n_in n_out)``, so that large
            layers are sparser (D. Mocanu et al. 2018). ``"erk"``: the same with the sizes of the kernel in
            sum and product (U. Evci et al., "Rigging the lottery", 2020, section 3); the same for matrices.
        scores: By layer, of the dense shape; ``-inf`` where there is no weight to keep.
        total: The sum.
        minimum: What every layer keeps at least, if it has as many.
        shapes: Of the layers; those of the scores if left out.

    Raises:
        ConfigurationError: an unknown method; more is to stay than there is.
    """
    available = {name: int((score > -math.inf).sum()) for name, score in scores.items()}
    lower = [min(minimum, there) for there in available.values()]
    if method == "global":
        reserved = [_reserve(s.flatten(), low) for s, low in zip(scores.values(), lower, strict=True)]
        _check_bounds(total, lower, list(available.values()))
        mask = keep_largest(torch.cat(reserved), total)
        kept = [int(part.sum()) for part in mask.split([len(flat) for flat in reserved])]
        return dict(zip(scores, kept, strict=True))
    if method not in ALLOCATIONS:
        raise ConfigurationError(unknown_key_message("allocation", method, ALLOCATIONS))
    sizes = {name: tuple(score.shape) for name, score in scores.items()} if shapes is None else shapes
    shares = [_share(method, tuple(sizes[name])) for name in scores]
    return dict(zip(scores, apportion(shares, total, lower, list(available.values())), strict=True))


def _reserve(flat: Tensor, minimum: int) -> Tensor:
    """Return scores of which the ``minimum`` largest are out of reach of all others."""
    return flat.masked_fill(keep_largest(flat, minimum), math.inf) if minimum else flat


def _share(method: str, shape: tuple[int, ...]) -> float:
    size = math.prod(shape)
    if method == "local" or len(shape) < 2:
        return float(size)
    if method == "erk":
        return float(sum(shape))
    return size * (shape[0] + shape[1]) / (shape[0] * shape[1])
