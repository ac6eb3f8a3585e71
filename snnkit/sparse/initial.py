"""Places of weights drawn at random."""

import torch
from torch import Tensor

from snnkit.sparse.errors import SparsityError

__all__ = ["random_weights"]


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
        found = torch.arange(blocks)
        if density < 1:
            found = torch.randperm(blocks, generator=generator)[: max(1, round(density * blocks))]
        inside = torch.arange(height * width)
    rows = (found // across * height)[:, None] + inside // width
    columns = (found % across * width)[:, None] + inside % width
    return (rows * shape[1] + columns).reshape(-1)
