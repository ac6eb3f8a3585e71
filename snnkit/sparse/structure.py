"""Where the weights of a sparse matrix stand: compressed by rows, by columns or by blocks.

Matrices are ``(out_features, in_features)``. Coordinates are int64; what is stored is int32 wherever every
number fits.
"""

from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "Compressed",
    "Generation",
    "Pattern",
    "compress",
    "index_dtype",
    "lexicographic",
    "rows_of",
    "transposed",
]

_LARGEST_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Compressed:
    """One direction of a sparse matrix: line ``i`` has the weights ``pointers[i] ... pointers[i + 1] - 1``.

    Attributes:
        pointers: ``(lines + 1,)``.
        indices: ``(nnz,)``, where on its line each weight stands, ascending.
        order: ``(nnz,)``, the place of each weight among the layer's values; None where they are in order.
    """

    pointers: Tensor
    indices: Tensor
    order: Tensor | None = None

    @cached_property
    def lines(self) -> int:
        """Number of lines."""
        return self.pointers.shape[0] - 1

    @cached_property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Order (empty if there is none), pointers and indices, in the tensors' own memory on the CPU."""
        pointers, indices = self.pointers.numpy(), self.indices.numpy()
        order = np.empty(0, pointers.dtype) if self.order is None else self.order.numpy()
        return order, pointers, indices

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors that are there."""
        found = (getattr(self, entry.name) for entry in fields(self))
        return tuple(tensor for tensor in found if tensor is not None)


@dataclass
class Generation:
    """One structure in the life of a layer.

    Attributes:
        is_current: Whether the layer still has it.
    """

    is_current: bool = True


@dataclass(frozen=True)
class Pattern:
    """A structure as products use it.

    Attributes:
        shape: ``(out_features, in_features)``.
        rows: The weights of each output; None where ``blocks`` is given.
        columns: Those of each input; computed when it is missing.
        blocks: BSR: the blocks of each row of blocks; None for other formats.
        block_columns: The blocks of each column of blocks, likewise.
        block: Rows and columns of a block.
        generation: Tells a backward pass whether the layer still has the structure of its forward pass.
    """

    shape: tuple[int, int]
    rows: Compressed | None = None
    columns: Compressed | None = None
    blocks: Compressed | None = None
    block_columns: Compressed | None = None
    block: tuple[int, int] = (1, 1)
    generation: Generation = field(default_factory=Generation)

    @cached_property
    def nnz(self) -> int:
        """Number of weights."""
        known = next(lines for lines in (self.rows, self.columns, self.blocks) if lines is not None)
        return known.indices.shape[0] * self.block[0] * self.block[1]

    @property
    def has_both_directions(self) -> bool:
        """Whether no product has to work a direction out."""
        if self.blocks is not None:
            return self.block_columns is not None
        return self.rows is not None and self.columns is not None

    def by_rows(self) -> Compressed:
        """Return the weights of each output."""
        if self.rows is not None:
            return self.rows
        if self.blocks is not None:  # for devices and types without kernels
            return _rows_of_blocks(self.blocks, self.shape, self.block)
        assert self.columns is not None
        return transposed(self.columns, self.shape[0])

    def columns_of_blocks(self) -> Compressed:
        """Return the blocks of each column of blocks."""
        assert self.blocks is not None
        if self.block_columns is not None:
            return self.block_columns
        return transposed(self.blocks, self.shape[1] // self.block[1])

    def by_columns(self) -> Compressed:
        """Return the weights of each input."""
        return self.columns if self.columns is not None else transposed(self.by_rows(), self.shape[1])


def index_dtype(*largest: int) -> torch.dtype:
    """Return int32 if these numbers fit, else int64."""
    return torch.int32 if max(largest) <= _LARGEST_INT32 else torch.int64


def lexicographic(major: Tensor, minor: Tensor, width: int) -> Tensor:
    """Return the order that sorts coordinates by ``major``, and by ``minor`` (below ``width``) within."""
    return torch.argsort(major * width + minor)


def compress(lines: Tensor, indices: Tensor, count: int, order: Tensor | None = None) -> Compressed:
    """Compress coordinates that are sorted by lines.

    Args:
        lines: ``(nnz,)``, ascending.
        indices: ``(nnz,)``.
        count: lines of the matrix.
        order: as in :class:`Compressed`.
    """
    pointers = torch.zeros(count + 1, dtype=torch.int64, device=lines.device)
    torch.cumsum(torch.bincount(lines, minlength=count), 0, out=pointers[1:])
    highest = int(indices.max()) if len(indices) else 0
    dtype = index_dtype(len(indices), count, highest)
    return Compressed(
        pointers.to(dtype), indices.to(dtype).contiguous(), None if order is None else order.to(dtype)
    )


def rows_of(compressed: Compressed) -> Tensor:
    """Return the line of each weight, int64."""
    pointers = compressed.pointers.long()
    lines = torch.arange(len(pointers) - 1, device=pointers.device)
    return torch.repeat_interleave(lines, pointers.diff(), output_size=len(compressed.indices))


def transposed(compressed: Compressed, count: int) -> Compressed:
    """Return the other direction, of ``count`` lines; its order refers to the same values."""
    indices = compressed.indices.long()
    order = torch.argsort(indices, stable=True)  # Lines stay ascending within each index.
    places = order if compressed.order is None else compressed.order.long()[order]
    return compress(indices[order], rows_of(compressed)[order], count, places)


def _rows_of_blocks(blocks: Compressed, shape: tuple[int, int], block: tuple[int, int]) -> Compressed:
    """Return the rows of a matrix of blocks, whose values come block by block."""
    height, width = block
    inside = torch.arange(height * width, device=blocks.indices.device)
    rows = (rows_of(blocks)[:, None] * height + inside // width).reshape(-1)
    columns = (blocks.indices.long()[:, None] * width + inside % width).reshape(-1)
    order = lexicographic(rows, columns, shape[1])
    return compress(rows[order], columns[order], shape[0], order)
