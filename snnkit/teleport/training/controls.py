"""Controls for experiments: what a teleportation does to a network, without the teleportation.

If a network trains faster after being teleported, is it because of where the symmetry led, because it was
moved that far, or because its weights are of that size? The first control moves every tensor as far in a
random direction; the second draws every tensor anew from the histogram of the teleported one. Neither keeps
the network's function."""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnkit.utilities.errors import ParameterError

__all__ = ["pseudo_teleported", "same_distribution"]


def pseudo_teleported(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], generator: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Return tensors as far from ``before`` as ``after`` is, in random directions.

    Args:
        before: Parameters by name.
        after: The same, teleported.
        generator: Of the directions, which are normal; of the device of the tensors.

    Returns:
        By name ``before + d``, where ``d`` has the sum of absolute values of ``after - before``, for each
        tensor on its own.
    """
    return {name: _displaced(value, after[name], generator) for name, value in before.items()}


def _displaced(before: Tensor, after: Tensor, generator: torch.Generator | None) -> Tensor:
    direction = torch.empty_like(before).normal_(generator=generator)
    length = direction.abs().sum()
    if length == 0:  # Only of a tensor without entries.
        return before.clone()
    return before + direction * ((after - before).abs().sum() / length)


def same_distribution(
    after: Mapping[str, Tensor], generator: torch.Generator | None = None, *, bins: int = 100
) -> dict[str, Tensor]:
    """Return tensors drawn from the histograms of ``after``, one of each tensor.

    Args:
        after: Teleported parameters by name.
        generator: Of the draws; of the device of the tensors.
        bins: Of the histogram, equally wide; within one, draws are uniform. At least 1.
    """
    if bins < 1:
        raise ParameterError(f"same_distribution: {bins} bins; a histogram has at least one.")
    return {name: _resampled(value, bins, generator) for name, value in after.items()}


def _resampled(value: Tensor, bins: int, generator: torch.Generator | None) -> Tensor:
    if value.numel() == 0:
        return value.clone()
    low, high = value.min(), value.max()
    width = (high - low) / bins
    if width == 0:
        return value.clone()
    place = ((value.flatten() - low) / width).long().clamp(max=bins - 1)
    counts = torch.bincount(place, minlength=bins).to(torch.float64)
    uniform = torch.empty(value.numel(), dtype=torch.float64, device=value.device).uniform_(
        generator=generator
    )
    drawn = torch.searchsorted(counts.cumsum(0) / counts.sum(), uniform, right=True).clamp(max=bins - 1)
    inside = torch.empty_like(value).flatten().uniform_(generator=generator)
    return (low + (drawn.to(value) + inside) * width).reshape(value.shape)
