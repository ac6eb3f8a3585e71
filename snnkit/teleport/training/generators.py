"""The directions in which the orbit leaves a network, and where they point relative to the gradient.

With ``tau = exp(e t)`` the parameters move as ``dp / de = p * log_factors(t)``. The loss does not change
along the orbit, so these directions are orthogonal to the gradient: exactly, not about. A histogram of
angles near 90 degrees shows little of that, because in many dimensions any two directions are nearly
orthogonal; the cosine does."""

from collections.abc import Mapping

import torch
from torch import Tensor

from snnkit.teleport.symmetries import Symmetries
from snnkit.teleport.training.laws import Layer
from snnkit.teleport.training.losses import LossOnBatches

__all__ = ["angle", "cosine", "generator_cosines", "layer_of", "orbit_direction", "slopes_along_orbit"]


def orbit_direction(
    symmetries: Symmetries, parameters: Mapping[str, Tensor], log_scales: Tensor
) -> dict[str, Tensor]:
    """Return the velocity of every parameter at the start of the way to ``exp(log_scales)``.

    Args:
        symmetries: Of the model.
        parameters: Its parameters by name.
        log_scales: ``(n_scales,)``, one for every free scale; any real numbers.
    """
    logs = symmetries.log_factors(log_scales)
    return {
        name: value * logs[name].to(value) if name in logs else torch.zeros_like(value)
        for name, value in parameters.items()
    }


def slopes_along_orbit(symmetries: Symmetries, loss: LossOnBatches) -> Tensor:
    """Return the slope of the loss in every single log scale, ``(n_scales,)``: zero up to rounding.

    Each is the sum of ``g p`` over the weights into a channel, less the same over the weights out of it.
    """
    log_scales = torch.zeros(symmetries.n_scales, dtype=torch.float64, requires_grad=True)
    logs = symmetries.log_factors(log_scales)
    terms = [
        (gradient.double() * loss.parameters[name].detach().double() * logs[name]).sum()
        for name, gradient in loss.gradients().items()
        if name in logs
    ]
    (slopes,) = torch.autograd.grad(torch.stack(terms).sum(), [log_scales])
    return slopes


def generator_cosines(
    symmetries: Symmetries, loss: LossOnBatches, draws: int, generator: torch.Generator
) -> Tensor:
    """Return the cosines, ``(draws,)``, between the gradient and random directions of the orbit.

    Args:
        symmetries: Of the model of ``loss``.
        loss: Gives gradient and parameters.
        draws: Number of directions; their log scales are normal.
        generator: Of the draws.
    """
    gradients = loss.gradients()
    values = {name: p.detach() for name, p in loss.parameters.items()}
    found = []
    for _ in range(draws):
        log_scales = torch.randn(symmetries.n_scales, generator=generator, dtype=torch.float64)
        found.append(cosine(orbit_direction(symmetries, values, log_scales), gradients))
    return torch.tensor(found, dtype=torch.float64)


def cosine(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the cosine of two directions in the space of parameters; 0 where one of them is no direction."""
    lengths = _dot(one, one) ** 0.5 * _dot(other, other) ** 0.5
    return _dot(one, other) / lengths if lengths else 0.0


def angle(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the angle between two directions in degrees."""
    return float(
        torch.rad2deg(torch.acos(torch.tensor(cosine(one, other), dtype=torch.float64).clamp(-1, 1)))
    )


def layer_of(symmetries: Symmetries, name: str) -> Layer | None:
    """Say in which way the scales reach a parameter, for the laws of :mod:`snnkit.teleport.training.laws`.

    Returns:
        ``first`` where they multiply only, as in biases, ``last`` where they divide only, ``hidden`` where
        one does and another does the other; None where no scale reaches it, or one and the same from both
        sides.
    """
    powers: set[int] = set()
    for freedom in symmetries.scales:
        own = {int(power) for path, power in freedom.members if path == name}
        if len(own) > 1:
            return None
        powers |= own
    kinds: dict[frozenset[int], Layer] = {
        frozenset({1}): "first",
        frozenset({-1}): "last",
        frozenset({1, -1}): "hidden",
    }
    return kinds.get(frozenset(powers))


def _dot(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    terms = [(value.double() * other[name].double()).sum() for name, value in one.items()]
    return float(torch.stack(terms).sum())
