"""From a network's parameters as they are now to the integers of its program."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.transforms.modes import deterministic_transforms
from snnkit.transforms.patching import bare_path, wrappers_of
from snnkit.transforms.scaling import ScalePlan
from snnkit.transforms.wrappers import TWrapper, own_tensors
from snnkit.transforms.wrappers import core_of as module_inside
from snnkit.utilities.errors import ParameterError

from ..deployment.quantising import integers_of
from ..mapping.mapped_network import MappedNetwork
from .course import Core
from .leaks import decays
from .placement import INPUT, Block, Group, Key, Placement

__all__ = ["Values", "check_values", "core_of", "current_values", "mapped_values"]


@dataclass(frozen=True, eq=False)
class Values:
    """Parameters after their transforms, with gradients.

    Attributes:
        tensors: all but leaks.
        membrane: population -> (N,) decays.
        synaptic: population -> (N, S) decays.
    """

    tensors: Mapping[Key, Tensor]
    membrane: Mapping[int, Tensor]
    synaptic: Mapping[int, Tensor]


def current_values(net: nn.Module, placement: Placement, *, deterministic: bool = False) -> Values:
    """Return the values that a network computes with now.

    Args:
        net: the network, patched or not.
        placement: of its parameters.
        deterministic: evaluate random transforms as in evaluation mode.
    """
    modules = dict(_bare_modules(net))
    patched = dict(wrappers_of(net, TWrapper))
    found: dict[str, dict[str, Any]] = {}

    def of(path: str) -> dict[str, Any]:
        if path not in found:
            found[path] = dict(own_tensors(modules[path]))
            if path in patched:
                with deterministic_transforms(deterministic):
                    found[path] |= patched[path].transformed_values()
        return found[path]

    tensors = {key: of(key[0])[key[1]] for key in placement.keys}
    leaks = {
        group.index: decays(modules[group.path], _tensors(of(group.path)), group.synapses)
        for group in placement.groups.values()
    }
    return Values(
        tensors,
        {index: pair[0] for index, pair in leaks.items()},
        {index: pair[1] for index, pair in leaks.items()},
    )


def check_values(values: Values, placement: Placement) -> None:
    """Refuse parameters that training has made such that no integer stands for them, all of them by name.

    Raises:
        ParameterError: values that are not finite, decays that are NaN, or thresholds of 0 or less.
    """
    wrong = [
        f"{'.'.join(key)} is not finite" for key, one in values.tensors.items() if not one.isfinite().all()
    ]
    for group in placement.groups.values():
        leaks = {"membrane": values.membrane[group.index], "synapses": values.synaptic[group.index]}
        wrong += [
            f"the decay of {group.path}'s {name} is NaN" for name, one in leaks.items() if one.isnan().any()
        ]
        lowest = values.tensors[group.threshold.key].min()
        if lowest <= 0:
            wrong.append(f"{'.'.join(group.threshold.key)} is {lowest:g} at the lowest")
    if wrong:
        raise ParameterError(
            f"No chip has such parameters: {'; '.join(wrong)}. Training has diverged: use a lower learning "
            "rate or clip gradients, and keep thresholds positive."
        )


def _bare_modules(net: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(bare_path(path), module_inside(module)) for path, module in net.named_modules()]


def _tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def mapped_values(placement: Placement, template: MappedNetwork, values: Values) -> MappedNetwork:
    """Lay out parameters as ``template`` is, of which only shapes, aliases and the like are taken."""
    flat = {key: _numbers(tensor).reshape(-1) for key, tensor in values.tensors.items()}
    arrays = {name: np.zeros_like(getattr(template, name)) for name in _ARRAYS}
    for name in ("decay_mem", "decay_syn", "decay_mem_out", "decay_syn_out"):
        arrays[name][...] = getattr(template, name)
    for group in placement.groups.values():
        _set_neurons(arrays, group, flat, values)
    for block in placement.blocks:
        _add_weights(arrays, placement, block, flat)
    return replace(template, **arrays)


def core_of(mapped: MappedNetwork, plan: ScalePlan) -> Core:
    """Return the program of a network in the chip's layout, rounded as deployment rounds."""
    return Core(mapped.chip, integers_of(mapped, plan), plan, mapped.aliases)


_ARRAYS = (
    *("weights_in", "weights_rec", "weights_out", "threshold", "threshold_out", "bias", "bias_out"),
    *("decay_mem", "decay_syn", "decay_mem_out", "decay_syn_out", "synaptic_bias", "synaptic_bias_out"),
)


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().to(torch.float64).numpy()


def _set_neurons(
    arrays: dict[str, np.ndarray], group: Group, flat: Mapping[Key, np.ndarray], values: Values
) -> None:
    end, place = "_out" if group.is_output else "", group.place
    arrays[f"threshold{end}"][place] = group.threshold.of(flat[group.threshold.key])
    arrays[f"bias{end}"][place] = group.bias.of(flat[group.bias.key])
    arrays[f"decay_mem{end}"][place] = _numbers(values.membrane[group.index])
    synaptic = _numbers(values.synaptic[group.index])
    constant = sum((one.of(flat[one.key]) for one in group.synaptic_bias), start=np.zeros_like(synaptic))
    if group.is_output:
        arrays["decay_syn_out"][place] = synaptic[:, 0]
        arrays["synaptic_bias_out"][place] = constant[:, 0]
    else:
        arrays["decay_syn"][place, : group.synapses] = synaptic
        arrays["synaptic_bias"][place, : group.synapses] = constant


def _add_weights(
    arrays: dict[str, np.ndarray], placement: Placement, block: Block, flat: Mapping[Key, np.ndarray]
) -> None:
    """Add a block's weights, but for what lies outside the chip's windows: zeros, at conversion."""
    target = placement.groups[block.target]
    weights = block.factor * block.weights.of(flat[block.weights.key])
    columns = target.place
    if block.source == INPUT:
        within = arrays["weights_in"][:, columns, : target.synapses]
        within += weights[:, : within.shape[1]]
        return
    rows = placement.groups[block.source].place
    if not target.is_output:
        arrays["weights_rec"][rows, columns, : target.synapses] += weights
        return
    silent = len(arrays["threshold"]) - len(arrays["weights_out"])
    skipped = max(silent - rows.start, 0)
    within = arrays["weights_out"][rows.start + skipped - silent : max(rows.stop - silent, 0), columns]
    within += weights[skipped:, :, 0]
