"""What a sparse layer puts into a ``state_dict``, and takes from one; weights from other tensors.

A ``state_dict`` has one form, whatever the layer's format: ``values`` row by row, ``crow_indices``,
``col_indices`` and ``bias``. A layer takes one with any number of weights, and that of an ``nn.Linear``, in
which zeros are no weights.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnkit.sparse.errors import SparsityError
from snnkit.sparse.formats import split_blocks
from snnkit.sparse.restructure import replace_data
from snnkit.sparse.structure import Compressed, compress, rows_of

if TYPE_CHECKING:
    from snnkit.sparse.weight import SparseWeight

__all__ = ["check_blocks", "load", "places_and_numbers", "save", "sparse_tensor", "whole_blocks"]

_KEYS = ("values", "crow_indices", "col_indices")


def save(layer: "SparseWeight", destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
    """Write a layer's tensors to a state dict; those whose order is that of the layer are not copied."""
    values: Tensor = layer.values
    stored = layer._stored()
    if layer.format in ("csr", "coo"):
        pointers, indices = stored["crow_indices"], stored["col_indices"]
    else:
        order = torch.argsort(layer.flat_indices())
        rows, columns = layer.coordinates()
        compressed = compress(rows[order], columns[order], layer.out_features)
        pointers, indices, values = compressed.pointers, compressed.indices, values[order]
    tensors = {"values": values, "crow_indices": pointers, "col_indices": indices}
    if layer.bias is not None:
        tensors["bias"] = layer.bias
    for name, tensor in tensors.items():
        destination[prefix + name] = tensor if keep_vars else tensor.detach()


def load(  # noqa: PLR0917 - as torch calls it
    layer: "SparseWeight",
    state_dict: Mapping[str, Any],
    prefix: str,
    metadata: Mapping[str, Any],
    missing: list[str],
    errors: list[str],
) -> dict[str, Any] | None:
    """Give a layer the structure of a state dict, and return the dict with values in the order of the layer.

    None if the structure is damaged: the layer is then as it was, and ``errors`` say why. Where it is not
    there at all, ``missing`` says so, and the rest is loaded.
    """
    fitting = dict(state_dict)
    own = {name: fitting.pop(prefix + name) for name in _KEYS if prefix + name in fitting}
    if not own and prefix + "weight" in fitting:
        own = {"weight": fitting.pop(prefix + "weight")}
    if not own:
        missing.extend(prefix + name for name in _KEYS[1:])  # torch itself misses the values
        return fitting
    try:
        values, pointers, indices = _checked_structure(layer, own)
    except SparsityError as error:
        errors.append(f"{prefix or type(layer).__name__ + ': '}{error}")
        return None
    if layer.values.is_meta and not metadata.get("assign_to_params_buffers"):
        errors.append(f"{prefix}values are on the meta device: load with assign=True, or call to_empty().")
        return None
    device = layer.values.device if not metadata.get("assign_to_params_buffers") else values.device
    places = rows_of(Compressed(pointers, indices)) * layer.in_features + indices.long()
    values = values[layer._place(places.to(device)).to(values.device)]
    if layer.values.device == device:
        replace_data(layer.values, layer.values.detach().new_empty(len(values)))
    else:
        layer.values = nn.Parameter(torch.empty_like(values), layer.values.requires_grad)
    layer.values.grad = None
    fitting[prefix + "values"] = values
    return fitting


def _checked_structure(layer: "SparseWeight", own: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Return values, row pointers and columns of what a state dict holds for a layer, or a dense weight."""
    odd = [name for name, value in own.items() if not isinstance(value, Tensor)]
    if odd:
        raise SparsityError(f"{', '.join(odd)} must be tensors.")
    if "weight" in own:
        places, values = places_and_numbers(own["weight"], layer.shape, layer.block)
        compressed = compress(places // layer.in_features, places % layer.in_features, layer.out_features)
        pointers, indices = compressed.pointers, compressed.indices
    else:
        absent = [name for name in _KEYS if name not in own]
        if absent:
            raise SparsityError(f"{', '.join(absent)} are missing beside {', '.join(own)}.")
        values, pointers, indices = (own[name].detach() for name in _KEYS)
    if not values.is_floating_point():
        raise SparsityError(f"the weights must be real numbers, not {values.dtype}.")
    wrong = _damage(layer, values, pointers, indices)
    if wrong:
        raise SparsityError(wrong)
    return values, pointers, indices


def _damage(layer: "SparseWeight", values: Tensor, pointers: Tensor, indices: Tensor) -> str | None:
    """Say what is wrong with a structure from a state dict; None if nothing is."""
    rows, width = layer.shape
    if values.dim() != 1 or indices.shape != values.shape or pointers.shape != (rows + 1,):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (values, pointers, indices))
        return (
            f"values, crow_indices and col_indices have shapes {shapes}; a layer of shape {layer.shape} "
            f"needs (nnz,), ({rows + 1},) and (nnz,)."
        )
    if any(tensor.dtype not in (torch.int32, torch.int64) for tensor in (pointers, indices)):
        return f"crow_indices and col_indices must be whole numbers, not {pointers.dtype}, {indices.dtype}."
    if (int(pointers[0]), int(pointers[-1])) != (0, len(values)) or bool((pointers.diff() < 0).any()):
        return f"crow_indices must rise from 0 to {len(values)}, the number of values."
    try:
        places = _checked_columns(Compressed(pointers, indices), width)
        if layer.format == "bsr":
            check_blocks(places, layer.shape, layer.block)
    except SparsityError as error:
        return str(error)
    return None


def _checked_columns(stored: Compressed, width: int) -> Tensor:
    """Return flat places of weights whose columns exist and rise within each row."""
    indices = stored.indices.long()
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < width:
        raise SparsityError(f"col_indices must be from 0 to {width - 1}.")
    places = rows_of(stored) * width + indices
    if bool((places.diff() <= 0).any()):
        raise SparsityError("col_indices must rise within each row.")
    return places


def check_blocks(places: Tensor, shape: tuple[int, int], block: tuple[int, int]) -> None:
    """Raise :class:`SparsityError` unless flat places are whole blocks."""
    size = block[0] * block[1]
    blocks, _ = split_blocks(places // shape[1], places % shape[1], shape, block)
    counts = torch.unique(blocks, return_counts=True)[1]
    cut = int((counts != size).sum())
    if cut:
        raise SparsityError(
            f"The format bsr stores whole blocks of {block[0]} x {block[1]}; {cut} would be stored in "
            "part. Keep or drop all weights of a block."
        )


def whole_blocks(places: Tensor, shape: tuple[int, int], block: tuple[int, int]) -> Tensor:
    """Return the flat places of all blocks in which some of these places lie, ascending."""
    (height, width), across = block, shape[1] // block[1]
    blocks = torch.unique(split_blocks(places // shape[1], places % shape[1], shape, block)[0])
    inside = torch.arange(height * width, device=places.device)
    rows = (blocks // across * height)[:, None] + inside // width
    columns = (blocks % across * width)[:, None] + inside % width
    return (rows * shape[1] + columns).reshape(-1).sort().values


def places_and_numbers(
    weight: Tensor, shape: tuple[int, int], block: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return flat places and numbers of what is not zero in a weight of any layout; of whole blocks, if any.

    Raises:
        SparsityError: the shape is another.
    """
    if tuple(weight.shape) != shape:
        raise SparsityError(f"The weight has shape {tuple(weight.shape)}; the layer needs {shape}.")
    matrix = weight.detach()
    dense = matrix if matrix.layout == torch.strided else matrix.to_dense()
    flat = dense.reshape(-1)
    places = flat.nonzero().reshape(-1)
    if block != (1, 1):
        places = whole_blocks(places, shape, block)
    return places, flat[places]


def sparse_tensor(
    kind: str, stored: Mapping[str, Tensor], values: Tensor, shape: tuple[int, int], block: tuple[int, int]
) -> Tensor:
    """Return a weight as a sparse tensor of torch, differentiable in ``values``."""
    if kind == "coo":
        places = torch.stack([stored["row_indices"], stored["col_indices"]]).long()
        return torch.sparse_coo_tensor(places, values, shape, is_coalesced=True, check_invariants=False)
    if kind == "csc":
        return torch.sparse_csc_tensor(
            stored["ccol_indices"], stored["row_indices"], values, shape, check_invariants=False
        )
    if kind == "bsr":
        return torch.sparse_bsr_tensor(
            stored["crow_indices"],
            stored["col_indices"],
            values.view(-1, *block),
            shape,
            check_invariants=False,
        )
    return torch.sparse_csr_tensor(
        stored["crow_indices"], stored["col_indices"], values, shape, check_invariants=False
    )
