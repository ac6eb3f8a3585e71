"""Conversions between the three ways to state a leak: time constant, decay factor, bit shift.

An exponential leak with time constant ``tau`` multiplies a state by ``alpha`` once per step of ``dt``
seconds. A chip with integer arithmetic subtracts the state shifted right by ``dash`` bits instead:

    alpha = exp(-dt / tau)        alpha = 1 - 2^-dash

The six conversions take any number of values (tensors or numbers) and return a tuple with one tensor for
each; ``dt`` and ``tau`` are in the same unit (seconds throughout snnkit).
"""

import math

import torch
from torch import Tensor

__all__ = [
    "bitshift_to_decay",
    "bitshift_to_tau",
    "calc_bitshift_decay",
    "decay_to_bitshift",
    "decay_to_tau",
    "inv_calc_bitshift_decay",
    "snap_decay",
    "tau_to_bitshift",
    "tau_to_decay",
]

Value = Tensor | float

# In steps: below it exp(-dt / tau) < 1e-6, and its gradient is taken as 0.
_SHORTEST_TRAINABLE = 1 / math.log(1e6)


def tau_to_decay(dt: Value, *taus: Value) -> tuple[Tensor, ...]:
    """Return ``exp(-dt / tau)`` for each time constant."""
    return tuple(torch.exp(-dt / torch.as_tensor(tau)) for tau in taus)


def decay_to_tau(dt: Value, *decays: Value) -> tuple[Tensor, ...]:
    """Return ``-dt / ln(alpha)`` for each decay factor in (0, 1); 0 gives 0."""
    return tuple(-dt / torch.log(torch.as_tensor(decay)) for decay in decays)


def decay_to_bitshift(*decays: Value) -> tuple[Tensor, ...]:
    """Return ``-log2(1 - alpha)`` for each decay factor; not rounded."""
    return tuple(-torch.log2(1 - torch.as_tensor(decay)) for decay in decays)


def bitshift_to_decay(*dashes: Value) -> tuple[Tensor, ...]:
    """Return ``1 - 2^-dash`` for each bit shift, which need not be whole."""
    return tuple(1 - torch.exp2(-_floating(dash)) for dash in dashes)


def tau_to_bitshift(dt: Value, *taus: Value) -> tuple[Tensor, ...]:
    """Return the bit shift whose decay is ``exp(-dt / tau)``, for each time constant; not rounded."""
    # 1 - exp(-x) loses all digits for tau >> dt; expm1 does not.
    return tuple(-torch.log2(-torch.expm1(-dt / torch.as_tensor(tau))) for tau in taus)


def bitshift_to_tau(dt: Value, *dashes: Value) -> tuple[Tensor, ...]:
    """Return the time constant whose decay is ``1 - 2^-dash``, for each bit shift; 0 gives 0."""
    return tuple(-dt / torch.log1p(-torch.exp2(-_floating(dash))) for dash in dashes)


def calc_bitshift_decay(tau: Value, dt: Value) -> Tensor:
    """Return the whole bit shift ``max(0, round(log2(tau / dt)))`` (int32) of a time constant.

    The leak of an integer chip with this shift, ``1 - 2^-dash``, has the time constant that
    :func:`bitshift_to_tau` gives, about half a step shorter than ``dt * 2^dash``.
    """
    return torch.round(torch.log2(_floating(tau) / dt)).clamp(min=0).to(torch.int32)


def inv_calc_bitshift_decay(dash: Value, dt: Value) -> Tensor:
    """Return ``dt * 2^dash``, the inverse of :func:`calc_bitshift_decay` before its rounding."""
    return dt * torch.exp2(_floating(dash))


def snap_decay(tau: Tensor, dt: float) -> Tensor:
    """Return the decay ``1 - 2^-dash`` of a whole bit shift, ``dash = calc_bitshift_decay(tau, dt)``.

    The gradient is that of the exact decay ``exp(-dt / tau)``, so time constants train through the rounding.
    """
    with torch.no_grad():
        (snapped,) = bitshift_to_decay(calc_bitshift_decay(tau, dt).to(tau.dtype))
    if not (torch.is_grad_enabled() and tau.requires_grad):
        return snapped
    # A time constant of 0 (dash 0) has gradient 0, not the NaN of 0 * inf.
    (exact,) = tau_to_decay(dt, tau.clamp(min=dt * _SHORTEST_TRAINABLE))
    return snapped + (exact - exact.detach())


def _floating(value: Value) -> Tensor:
    tensor = torch.as_tensor(value)
    return tensor if tensor.is_floating_point() else tensor.to(torch.get_default_dtype())
