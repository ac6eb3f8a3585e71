"""Masks of a model: what they must be like, what they drop, where a model has weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Masks", "apply_masks", "check_masks", "masks_of"]

Masks = dict[str, Tensor]
"""Bool tensors of the dense shapes by the names of the weights, True to keep."""


def check_masks(weights: Sequence[PrunableWeight], masks: Mapping[str, Tensor]) -> Masks:
    """Return the masks under the first names of their weights.

    Raises:
        ConfigurationError: with all that is wrong: an unknown name, not a bool tensor, another shape, two
            different masks for a shared weight, a mask that leaves nothing.
    """
    by_alias = {alias: weight for weight in weights for alias in weight.aliases}
    problems: list[str] = []
    found: Masks = {}
    for name, mask in masks.items():
        weight = by_alias.get(name)
        if weight is None:
            problems.append(unknown_key_message("weight", name, by_alias))
        elif not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            what = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            problems.append(f"{name}: a mask is a tensor of torch.bool, not {what}.")
        elif mask.shape != weight.shape:
            problems.append(f"{name}: the mask is {tuple(mask.shape)}, the weight {tuple(weight.shape)}.")
        elif not mask.any():
            problems.append(f"{name}: the mask leaves nothing.")
        elif weight.name in found and not torch.equal(found[weight.name], mask):
            problems.append(f"{name} is shared ({', '.join(weight.aliases)}), but the masks differ.")
        else:
            found[weight.name] = mask
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def apply_masks(
    model: nn.Module, masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Drop what the masks drop, in place: zeros in dense weights, entries of sparse layers.

    Dense weights are trained back to other values by the next step of an optimiser, unless
    :func:`hold_masks` keeps them at 0.

    Args:
        masks: By name; weights that are not named stay as they are.
        optimizer: Its state of what is dropped is set to 0; needed with sparse layers once it has a state.

    Raises:
        ConfigurationError: see :func:`check_masks`; the model is then unchanged.
    """
    weights = prunable_weights(model, list(masks) or None)
    checked = check_masks(weights, masks)
    for weight in weights:
        if weight.name in checked:
            weight.restrict(
                checked[weight.name] & weight.present().to(checked[weight.name].device), optimizer
            )


def masks_of(model: nn.Module, names: Sequence[str] | None = None, exclude: Sequence[str] = ()) -> Masks:
    """Return where a model has weights: not 0 in dense ones, stored in sparse layers."""
    return {weight.name: weight.mask() for weight in prunable_weights(model, names, exclude)}
