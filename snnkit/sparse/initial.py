"""Places of weights drawn at random."""

import torch
from torch import Tensor

from snnkit.sparse.errors import SparsityError

__all__ = ["random_weights"]

_LISTED = 2**22
"""Places of which a list is made to draw from; of more, those that are drawn twice are drawn again."""


def random_weights(
    shape: tuple[int, int], block: tuple[int, int], density: float, generator: torch.Generator | None
) -> Tensor:
    """Return flat places of ``density`` of all weights, at least one, every set of them equally likely.

    Args:
        shape: of the weight.
        block: rows and columns of the blocks that are drawn as a whole.
        density: above 0 and at most 1.
        generator: for drawing.

    Raises:
        SparsityError: the density is outside its range.
    """
    if not 0 < density <= 1:
        raise SparsityError(f"SparseLayer: density must be above 0 and at most 1, not {density}.")
    (height, width), across = block, shape[1] // block[1]
    blocks = shape[0] // height * across
    with torch.device("cpu"):
        found = torch.arange(blocks) if density == 1 else _drawn(blocks, density, generator)
        inside = torch.arange(height * width)
    rows = (found // across * height)[:, None] + inside // width
    columns = (found % across * width)[:, None] + inside % width
    return (rows * shape[1] + columns).reshape(-1)


def _drawn(places: int, density: float, generator: torch.Generator | None) -> Tensor:
    """Return ``density`` of the numbers below ``places``, at least one, each once."""
    count = max(1, round(density * places))
    if places <= _LISTED or density > 0.5:
        return torch.randperm(places, generator=generator)[:count]
    found = torch.empty(0, dtype=torch.int64)
    while len(found) < count:  # No place is treated unlike another, so that all sets are equally likely.
        more = torch.randint(places, (count - len(found),), generator=generator)
        found = torch.cat([found, more]).unique()
    return found
