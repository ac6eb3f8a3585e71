"""Masks from and to others: ``torch.nn.utils.prune`` and the transforms of :mod:`snnkit.transforms`."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from snnkit.nn.modules import TorchModule
from snnkit.sparse.pruning.masks import Masks, check_masks
from snnkit.sparse.pruning.weights import prunable_weights
from snnkit.utilities.errors import ConfigurationError

__all__ = ["from_torch_prune", "masks_from_transforms", "to_torch_prune", "torch_prune_masks"]

_MASK, _ORIGINAL = "_mask", "_orig"


def torch_prune_masks(model: nn.Module) -> Masks:
    """Return the masks that ``torch.nn.utils.prune`` put on a model, by the names of the plain parameters.

    Biases that were pruned are among them. The model is not changed.
    """
    return {
        f"{path}.{attribute}" if path else attribute: module._buffers[attribute + _MASK].detach().bool()
        for path, module in nn.Module.named_modules(model)
        for attribute in _pruned_attributes(module)
    }


def _pruned_attributes(module: nn.Module) -> list[str]:
    names = [name.removesuffix(_MASK) for name in module._buffers if name.endswith(_MASK)]
    return [name for name in names if f"{name}{_ORIGINAL}" in module._parameters]


def from_torch_prune(model: nn.Module) -> Masks:
    """Turn what ``torch.nn.utils.prune`` pruned into plain parameters with zeros, in place.

    Returns:
        The masks of the weights, for :func:`~snnkit.sparse.pruning.hold_masks` or
        :func:`~snnkit.sparse.convert_model`. Pruned biases get their zeros but are no part of it.
    """
    masks = torch_prune_masks(model)
    for module in list(nn.Module.modules(model)):
        for attribute in _pruned_attributes(module):
            prune.remove(module, attribute)
    names = {alias for weight in prunable_weights(model) for alias in weight.aliases} if masks else set()
    return {name: mask for name, mask in masks.items() if name in names}


def to_torch_prune(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Put masks on a model in the way of ``torch.nn.utils.prune``, in place.

    Each weight becomes ``weight_orig * weight_mask``; ``prune.remove`` makes it plain. A parameter that
    several layers share gets the mask in each.

    Raises:
        ConfigurationError: see :func:`~snnkit.sparse.pruning.masks.check_masks`; a weight of a sparse layer
            or of a spiking module, which that way of pruning cannot hold. The model is then unchanged.
    """
    weights = prunable_weights(model, list(masks) or None)
    checked = check_masks(weights, masks)
    held = [weight for weight in weights if weight.name in checked]
    refused = [w.name for w in held if w.stored or isinstance(w.module, TorchModule)]
    if refused:
        raise ConfigurationError(
            f"torch.nn.utils.prune cannot hold masks of {', '.join(refused)}. Convert sparse layers to dense "
            "first; for spiking modules use snnkit.transforms.FixedMask."
        )
    modules = dict(nn.Module.named_modules(model, remove_duplicate=False))
    for weight in held:
        done: set[int] = set()
        for alias in weight.aliases:
            path, _, attribute = alias.rpartition(".")
            if id(modules[path]) not in done:
                done.add(id(modules[path]))
                prune.custom_from_mask(modules[path], attribute, checked[weight.name])


def masks_from_transforms(state: Mapping[str, Tensor]) -> Masks:
    """Return the masks of pruning transforms, from ``snnkit.transforms.transform_state(net)``.

    The names are those of the network without its wrappers. Where several transforms of a parameter have
    masks, what all of them keep stays.
    """
    found: Masks = {}
    for key, tensor in state.items():
        path, _, what = key.rpartition(".")
        name, _, position = path.rpartition(".")
        if what == "mask" and position.isdigit() and tensor.ndim > 0:
            mask = tensor.detach() != 0
            found[name] = torch.logical_and(found[name], mask) if name in found else mask
    return found
