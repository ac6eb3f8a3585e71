"""What theory says of gradients after a random teleportation, for measurements to be held against.

A weight from channel s to channel t has the factor ``c = tau_t / tau_s`` and its gradient ``1 / c``. With
independent ``tau`` the expected square of a layer's gradient norm grows by ``E[tau_t^-2] E[tau_s^2]``; first
layers have no ``tau_s`` and last ones no ``tau_t``. For ``tau`` uniform on ``[1 - s, 1 + s]`` this is
``1 / (1 - s^2)``, ``(1 + s^2 / 3) / (1 - s^2)`` and ``1 + s^2 / 3``: at least one, whatever the network. A
step of gradient descent from there is, seen from before, a step with the learning rate ``lr / c^2``.
"""

import math
from dataclasses import dataclass
from typing import Literal

from snnkit.teleport.sampling import SAMPLINGS
from snnkit.utilities.errors import ParameterError, unknown_key_message

__all__ = ["Layer", "Moments", "gradient_growth", "moments", "weight_growth"]

Layer = Literal["first", "hidden", "last"]


@dataclass(frozen=True)
class Moments:
    """Expected values of a random scale."""

    square: float
    """``E[tau^2]``"""
    inverse_square: float
    """``E[tau^-2]``; infinite where the scale comes arbitrarily near to zero."""


def moments(cob_range: float, sampling: str = "intra_landscape", center: float = 1.0) -> Moments:
    """Return the moments of a random change of basis.

    Uniform on ``[m - s, m + s]``: ``E[tau^2] = m^2 + s^2 / 3`` and, for s < m,
    ``E[tau^-2] = 1 / (m^2 - s^2)``.

    Args:
        cob_range: Half width s of the interval, at least 0; its whole width for ``positive`` and
            ``negative``.
        sampling: Where the interval lies: ``intra_landscape`` around 1; ``inter_landscape`` half the time
            around -1; ``positive`` from 0 and ``negative`` to 0; ``centered`` around ``center``.
            ``powers_of_two`` has no interval: 2^k, whole k from -ceil(s) to ceil(s).
        center: Of the interval, for ``centered``.
    """
    if sampling not in SAMPLINGS:
        raise ParameterError(unknown_key_message("sampling", sampling, SAMPLINGS))
    if not 0.0 <= cob_range < math.inf:
        raise ParameterError(f"cob_range is {cob_range}; it must be at least 0 and finite.")
    if sampling == "powers_of_two":
        exponents = range(-math.ceil(cob_range), math.ceil(cob_range) + 1)
        mean = sum(4.0**k for k in exponents) / len(exponents)
        return Moments(mean, mean)
    if sampling in ("positive", "negative"):
        middle, half = cob_range / 2.0, cob_range / 2.0
    else:
        middle, half = (abs(center) if sampling == "centered" else 1.0), cob_range
    inverse = 1.0 / (middle**2 - half**2) if half < middle else math.inf
    return Moments(middle**2 + half**2 / 3.0, inverse)


def gradient_growth(
    layer: Layer, cob_range: float, sampling: str = "intra_landscape", center: float = 1.0
) -> float:
    """Return ``E ||g'||^2 / ||g||^2`` for the weights of a layer; biases grow as the weights of a first
    layer.

    Args:
        layer: ``first`` reads the input, ``last`` makes the output, ``hidden`` lies between two others.
        cob_range: See :func:`moments`.
        sampling: See :func:`moments`.
        center: See :func:`moments`.
    """
    m = moments(cob_range, sampling, center)
    return _of_layer(layer, m.inverse_square, m.square)


def weight_growth(
    layer: Layer, cob_range: float, sampling: str = "intra_landscape", center: float = 1.0
) -> float:
    """Return ``E ||w'||^2 / ||w||^2`` for the weights of a layer; arguments as :func:`gradient_growth`."""
    m = moments(cob_range, sampling, center)
    return _of_layer(layer, m.square, m.inverse_square)


def _of_layer(layer: Layer, target: float, source: float) -> float:
    factors = {"first": target, "hidden": target * source, "last": source}
    if layer not in factors:
        raise ParameterError(unknown_key_message("layer", layer, factors))
    return factors[layer]
