"""Weights come and go while a layer is trained: its values and its optimiser's state move along."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer, Rprop

from snnkit.sparse.errors import SparsityError

__all__ = [
    "StructureChange",
    "change_structure",
    "check_state",
    "checked_share",
    "map_state",
    "matches",
    "move_values",
    "replace_data",
    "restructured",
]


@dataclass(frozen=True)
class StructureChange:
    """What became of a layer's weights.

    Attributes:
        kept: Weights from before that are still there.
        dropped: Weights that are gone.
        grown: Weights that are new; they start at zero.
    """

    kept: int
    dropped: int
    grown: int


class Restructurable(Protocol):
    """A layer whose structure can change."""

    def mask(self) -> Tensor:
        """Return where there are weights, in the shape of the dense weight."""

    def _checked_places(self, places: Tensor) -> Tensor: ...

    def _restructure(self, places: Tensor, optimizer: Optimizer | None) -> StructureChange: ...


def checked_share(k: float) -> float:
    """Return a share of weights to prune.

    Raises:
        SparsityError: it is not a number above 0 and at most 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | float) or not 0 < k <= 1:
        raise SparsityError(
            f"k is a share of the weights, above 0 and at most 1 (0.05 is one in twenty); not {k!r}."
        )
    return float(k)


def change_structure(
    layer: Any,
    mask: Tensor | None = None,
    *,
    indices: Tensor | None = None,
    optimizer: Optimizer | None = None,
) -> StructureChange:
    """Give a layer weights at other places: those that stay keep their value, and new ones start at zero.

    The parameter stays the same object, so optimisers that hold it stay valid. Gradients, and whatever an
    optimiser keeps for each weight (momentum, second moments), move with the weights; new weights have zeros
    there. A graph of an earlier forward pass can no longer be differentiated with respect to the values.

    Args:
        layer: :class:`~snnkit.sparse.SparseLayer`, or a masked convolution.
        mask: bool, of the shape of the dense weight: where there shall be weights.
        indices: int64 ``(nnz,)``, the same as flat places of the dense weight; instead of ``mask``.
        optimizer: the one that trains the layer; needed once it has taken a step.

    Raises:
        SparsityError: a place does not exist or comes twice, no weight would be left, blocks would be cut, or
            the optimiser's state belongs to no single weights (LBFGS). Layer and optimiser are as they were.
    """
    shape = tuple(layer.mask().shape)
    if (mask is None) == (indices is None):
        raise SparsityError("change_structure() takes either a mask or indices.")
    device = layer.mask().device
    if mask is not None:
        places = places_of_mask(mask, shape).to(device)
    else:
        assert indices is not None
        places = _checked_indices(indices, shape).to(device)
    return restructured(layer, places, optimizer)


def restructured(layer: Any, places: Tensor, optimizer: Optimizer | None) -> StructureChange:
    """Change a layer's structure to flat places that exist and are all different."""
    if not len(places):
        raise SparsityError(
            f"Nothing would be left of {type(layer).__name__} with {layer.nnz} weights: keep at least one."
        )
    places = layer._checked_places(places)
    if optimizer is not None:
        check_state(layer._restructured_parameter(), optimizer)
    return layer._restructure(places, optimizer)


def places_of_mask(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the flat places that a mask selects.

    Raises:
        SparsityError: the mask has another shape, or numbers that are neither 0 nor 1.
    """
    if tuple(mask.shape) != shape:
        raise SparsityError(f"The mask has shape {tuple(mask.shape)}; the weight has {shape}.")
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise SparsityError(
            f"A mask is bool, or holds 0 and 1 only; this one, {mask.dtype}, holds other numbers."
        )
    return mask.detach().reshape(-1).nonzero().reshape(-1)


def _checked_indices(indices: Tensor, shape: tuple[int, ...]) -> Tensor:
    whole = not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)
    if indices.dim() != 1 or not whole:
        raise SparsityError(
            f"indices are whole numbers in one dimension, not {indices.dtype} {tuple(indices.shape)}."
        )
    indices, size = indices.long(), torch.Size(shape).numel()
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < size:
        raise SparsityError(
            f"indices are flat places from 0 to {size - 1} of a weight of shape {shape}; these go from "
            f"{int(indices.min())} to {int(indices.max())}."
        )
    if len(torch.unique(indices)) != len(indices):
        raise SparsityError("indices name some places more than once.")
    return indices


def matches(wanted: Tensor, given: Tensor) -> Tensor:
    """Return where each wanted number stands in ``given``, whose numbers are all different; -1 if nowhere."""
    if not len(given):
        return torch.full_like(wanted, -1)
    ordered, order = given.sort()
    found = torch.searchsorted(ordered, wanted).clamp(max=len(given) - 1)
    return torch.where(ordered[found] == wanted, order[found], -1)


def move_values(parameter: nn.Parameter, source: Tensor, optimizer: Optimizer | None) -> None:
    """Rearrange a parameter, its gradient and state: ``i`` comes from ``source[i]``, or is zero for -1."""

    def moved(tensor: Tensor) -> Tensor:
        at = source.to(tensor.device)
        taken = tensor.detach()[at.clamp(min=0)] if len(tensor) else tensor.new_zeros(len(at))
        return torch.where(at >= 0, taken, taken.new_zeros(()))

    gradient = parameter.grad
    parameter.grad = None
    if optimizer is not None:
        map_state(parameter, optimizer, moved)
    replace_data(parameter, moved(parameter))
    parameter.grad = None if gradient is None else moved(gradient)


def replace_data(parameter: nn.Parameter, data: Tensor) -> None:
    """Give a parameter numbers of another shape, while graphs of earlier passes may still be alive.

    Those hold the node that accumulates the parameter's gradient, with its old shape, and a new pass would be
    given the same node. Torch drops it where the type of the data changes, so that is done for a moment.
    """
    other = torch.float32 if data.dtype != torch.float32 else torch.float64
    parameter.data = data.new_empty(0, dtype=other)
    parameter.data = data
    with torch.no_grad():
        parameter.mul_(1)  # Counted as a write: compiled graphs of earlier passes are errors from now on.


def check_state(parameter: nn.Parameter, optimizer: Optimizer) -> None:
    """Raise :class:`SparsityError` if an optimiser keeps for a parameter what cannot move with it."""
    entries = optimizer.state.get(parameter, {})
    odd = [key for key, value in entries.items() if not _is_scalar(value) and not _is_like(value, parameter)]
    if odd or (isinstance(optimizer, LBFGS) and optimizer.state):
        names = ", ".join(map(str, odd)) or "a history of all parameters together"
        raise SparsityError(
            f"{type(optimizer).__name__} keeps {names}, which belongs to no single weights and cannot "
            "follow them: "
            "make a new optimiser after the structure has changed, and give none here."
        )


def _is_like(value: Any, parameter: nn.Parameter) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, int | float) or (isinstance(value, Tensor) and value.dim() == 0)


def map_state(parameter: nn.Parameter, optimizer: Optimizer, moved: Callable[[Tensor], Tensor]) -> None:
    """Replace what an optimiser keeps for each weight of a parameter."""
    entries = optimizer.state.get(parameter, {})
    for key, value in entries.items():
        if _is_like(value, parameter):
            entries[key] = moved(value)
            if isinstance(optimizer, Rprop) and key == "step_size":
                # A step of zero would hardly ever grow; those of new weights are as at the start.
                group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
                entries[key].masked_fill_(entries[key] == 0, float(group["lr"]))
