"""Cross-layer equalisation, and one form for all nets that teleportation cannot tell apart.

Quantising a weight with one step for all of it loses the channels that are small beside the largest. Along
the orbit of a net channels can be made equally large without changing its function (Nagel et al. 2019); with
the ranges of activations known, difficulty moves from them into weights (Xiao et al. 2023, SmoothQuant).
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.copying import named_tensors
from snnkit.dag.scales import Scales, scales_of_tape
from snnkit.teleport.activation_ranges import activation_ranges
from snnkit.teleport.balancing import Balance
from snnkit.teleport.canonical import deciding_signs, sorting_permutations
from snnkit.teleport.element import Element
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.symmetries import Symmetries, symmetries
from snnkit.teleport.teleportation import teleport
from snnkit.utilities.errors import unknown_key_message

__all__ = ["are_equivalent", "canonical_element", "canonical_form", "equalize"]

_MEASURES = {"range": "max", "energy": "sum"}


def equalize(
    model: nn.Module,
    example_inputs: Any,
    *,
    measure: str = "range",
    calibration: Iterable[Any] | None = None,
    strength: float = 0.5,
    batch_norm: str = "statistics",
) -> Element:
    """Scale hidden channels, in place, so that what makes and what reads each of them is equally large.

    The result is the same for every net of an orbit: whatever random teleport came before, the weights after
    are those. Biases and statistics move along and are not weighed (they are kept at more bits), unless
    nothing else makes a channel. Channels that several layers make, as on a residual stream, have one scale,
    which weighs the largest of all. A channel with weights on one side only is made as large as the smallest
    of the others.

    Args:
        model: Any module whose activations let scales pass (ReLU and its kin, linear layers, gates).
        example_inputs: A tensor, or the positional arguments.
        measure: ``range``: the largest absolute value of a channel, which sets the step of a quantiser.
            ``energy``: the sum of squares, of which the total becomes least; this solution is unique.
        calibration: Batches of inputs, tensors or tuples. With them the ranges of the channels that weights
            read are balanced against those of the weights, where they are known.
        strength: Share of a channel's range that moves from activations into weights, the migration strength
            of SmoothQuant: at 0 all weights that read become equal, at 1 all activations.
        batch_norm: As for :func:`~snnkit.teleport.symmetries`.

    Returns:
        The element that was applied; :func:`~snnkit.teleport.teleport` with its inverse takes it back.

    Raises:
        TeleportError: there is no such measure, or the strength is not between 0 and 1.
        DataError: ``calibration`` has no batch.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> x = torch.randn(3, 4)
        >>> before = model(x)
        >>> element = equalize(model, x)
        >>> torch.allclose(model(x), before, atol=1e-6)
        True
        >>> rows, columns = model[0].weight.abs().amax(1), model[2].weight.abs().amax(0)
        >>> torch.allclose(rows, columns)
        True
    """
    if measure not in _MEASURES:
        raise TeleportError(unknown_key_message("measure", measure, _MEASURES))
    if not 0 <= strength <= 1:
        raise TeleportError(f"strength is {strength}; it must be between 0 and 1.")
    found = symmetries(model, example_inputs, batch_norm=batch_norm)
    balance = _balance_of(found, model)
    logs = balance.settle("sum", torch.zeros(balance.n, dtype=torch.float64))
    if _MEASURES[measure] == "max":
        if calibration is not None:
            balance.strength = strength
            balance.activations = activation_ranges(model, calibration)
        logs = balance.settle("max", logs)
    element = found.element(logs.exp())
    teleport(model, element)
    return element


def _balance_of(found: Symmetries, model: nn.Module) -> Balance:
    settled: Scales = scales_of_tape(found.tape, "positive", found.batch_norm)
    return Balance.of(settled, named_tensors(model))


def canonical_element(
    model: nn.Module, example_inputs: Any, *, batch_norm: str = "statistics", permutations: bool = True
) -> Element:
    """Return the element that takes a model to the canonical form of its orbit.

    Scales are those with the least sum of squares of all parameters, signs those that make the cubes of what
    makes each channel sum to something positive, from the inputs on; the order of channels is that of moments
    which no symmetry changes. Channels that these do not tell apart (equal, or zero) keep their order.

    Args:
        model: It is not changed.
        example_inputs: A tensor, or the positional arguments.
        batch_norm: As for :func:`~snnkit.teleport.symmetries`.
        permutations: Whether channels are sorted.
    """
    found = symmetries(model, example_inputs, batch_norm=batch_norm)
    balance = _balance_of(found, model)
    logs = balance.settle("sum", torch.zeros(balance.n, dtype=torch.float64))
    element = found.element(logs.exp())
    tensors: dict[str, Tensor] = {
        name: tensor.detach().double() if tensor.is_floating_point() else tensor.detach()
        for name, tensor in named_tensors(model).items()
    }
    element = element.then(found.element(flat_signs=deciding_signs(found, tensors | element.apply(tensors))))
    if permutations:
        orders = sorting_permutations(found, tensors | element.apply(tensors))
        element = element.then(found.element(permutations=orders))
    return element


def canonical_form(
    model: nn.Module, example_inputs: Any, *, batch_norm: str = "statistics", permutations: bool = True
) -> nn.Module:
    """Return a copy of a model in the canonical form of its orbit; see :func:`canonical_element`."""
    found = copy.deepcopy(model)
    teleport(
        found, canonical_element(model, example_inputs, batch_norm=batch_norm, permutations=permutations)
    )
    return found


def are_equivalent(
    one: nn.Module,
    other: nn.Module,
    example_inputs: Any,
    *,
    tolerance: float = 1e-9,
    permutations: bool = True,
) -> bool:
    """Whether two models differ by scales, signs and order of hidden channels only.

    True is certain up to ``tolerance``. False can also mean that channels which are alike were not brought
    into the same order.

    Args:
        one, other: Models of one architecture; they are not changed.
        example_inputs: A tensor, or the positional arguments.
        tolerance: Largest difference of a parameter of the canonical forms, relative to its largest entry.
        permutations: Whether the order of channels may differ.
    """
    first, second = (
        named_tensors(canonical_form(model, example_inputs, permutations=permutations))
        for model in (one, other)
    )
    if first.keys() != second.keys() or any(first[n].shape != second[n].shape for n in first):
        return False
    return all(_alike(first[name], second[name], tolerance) for name in first)


def _alike(one: Tensor, other: Tensor, tolerance: float) -> bool:
    if not one.numel():
        return True
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    return float((one - other).abs().max()) <= tolerance * max(float(one.abs().max()), 1e-300)
