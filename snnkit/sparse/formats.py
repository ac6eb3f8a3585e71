"""The formats in which a layer stores where its weights stand, under torch's names for their tensors.

=======  =======================================  ==========================================================
format   tensors                                  order of the values
=======  =======================================  ==========================================================
``csr``  ``crow_indices``, ``col_indices``        row by row
``coo``  ``row_indices``, ``col_indices``, and    row by row
         ``crow_indices``, which products need
``csc``  ``ccol_indices``, ``row_indices``        column by column
``bsr``  ``crow_indices``, ``col_indices`` of     block by block, row by row within; every number of a block
         blocks                                   is a weight, also if it is zero
=======  =======================================  ==========================================================
"""

import torch
from torch import Tensor

from snnkit.sparse.errors import SparsityError
from snnkit.sparse.structure import Compressed, Generation, Pattern, compress, lexicographic, rows_of
from snnkit.utilities.errors import unknown_key_message

__all__ = ["FORMATS", "checked_format", "coordinates", "encode", "pattern", "primary", "split_blocks"]

FORMATS: dict[str, tuple[str, ...]] = {
    "csr": ("crow_indices", "col_indices"),
    "coo": ("crow_indices", "row_indices", "col_indices"),
    "csc": ("ccol_indices", "row_indices"),
    "bsr": ("crow_indices", "col_indices"),
}

Shape = tuple[int, int]


def checked_format(name: str, shape: Shape, block: Shape) -> None:
    """Raise :class:`SparsityError` if a layer cannot have this format."""
    if name not in FORMATS:
        raise SparsityError(unknown_key_message("format", str(name), FORMATS))
    if name == "bsr" and (min(block) < 1 or shape[0] % block[0] or shape[1] % block[1]):
        raise SparsityError(
            f"A weight of shape {shape} does not divide into blocks of {block[0]} x {block[1]}: choose sizes "
            "that divide out_features and in_features."
        )


def encode(
    name: str, rows: Tensor, columns: Tensor, shape: Shape, block: Shape
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the tensors of a format, and which of the weights given comes first, second, ... in it.

    Args:
        name: format.
        rows: int64 ``(nnz,)``, in any order.
        columns: likewise; no place twice.
        shape: of the weight.
        block: of BSR, for which the places must be whole blocks.
    """
    if name == "csc":
        order = lexicographic(columns, rows, shape[0])
        stored = compress(columns[order], rows[order], shape[1])
        return {"ccol_indices": stored.pointers, "row_indices": stored.indices}, order
    if name == "bsr":
        return _encode_blocks(rows, columns, shape, block)
    order = lexicographic(rows, columns, shape[1])
    stored = compress(rows[order], columns[order], shape[0])
    tensors = {"crow_indices": stored.pointers, "col_indices": stored.indices}
    if name == "coo":
        tensors["row_indices"] = rows[order].to(stored.indices.dtype)
    return tensors, order


def split_blocks(rows: Tensor, columns: Tensor, shape: Shape, block: Shape) -> tuple[Tensor, Tensor]:
    """Return the flat number of the block of each place, and its number within the block."""
    height, width = block
    blocks = (rows // height) * (shape[1] // width) + columns // width
    return blocks, (rows % height) * width + columns % width


def _encode_blocks(
    rows: Tensor, columns: Tensor, shape: Shape, block: Shape
) -> tuple[dict[str, Tensor], Tensor]:
    size, across = block[0] * block[1], shape[1] // block[1]
    blocks, inside = split_blocks(rows, columns, shape, block)
    order = lexicographic(blocks, inside, size)
    found = blocks[order][::size]
    stored = compress(found // across, found % across, shape[0] // block[0])
    return {"crow_indices": stored.pointers, "col_indices": stored.indices}, order


def primary(name: str, tensors: dict[str, Tensor]) -> Compressed:
    """Return the direction that a format stores: rows, columns (CSC), or rows of blocks (BSR)."""
    if name == "csc":
        return Compressed(tensors["ccol_indices"], tensors["row_indices"])
    return Compressed(tensors["crow_indices"], tensors["col_indices"])


def coordinates(name: str, tensors: dict[str, Tensor], block: Shape) -> tuple[Tensor, Tensor]:
    """Return row and column of each weight in the order of the values, int64."""
    stored = primary(name, tensors)
    lines, indices = rows_of(stored), stored.indices.long()
    if name == "csc":
        return indices, lines
    if name != "bsr":
        return lines, indices
    height, width = block
    inside = torch.arange(height * width, device=lines.device)
    rows = lines[:, None] * height + inside // width
    columns = indices[:, None] * width + inside % width
    return rows.reshape(-1), columns.reshape(-1)


def pattern(
    name: str,
    stored: Compressed,
    turned: Compressed | None,
    shape: Shape,
    block: Shape,
    *,
    generation: Generation | None = None,
) -> Pattern:
    """Return the structure as products use it.

    Args:
        name: format.
        stored: what the layer stores.
        turned: the other direction, if it is known.
        shape: of the weight.
        block: of BSR.
        generation: of the layer's structure.
    """
    if name == "csc":
        directions: dict[str, Compressed | None] = {"rows": turned, "columns": stored}
    elif name == "bsr":
        directions = {"blocks": stored, "block_columns": turned}
    else:
        directions = {"rows": stored, "columns": turned}
    return Pattern(shape, **directions, block=block, generation=generation or Generation())
