"""Decays that the chip can hold: ``v - (v >> dash)``, that is, a factor of ``1 - 2**-dash``.

The dash of a decay is ``-log2(1 - alpha)``, the exact inverse; ``log2(tau / dt)`` agrees with it only for
time constants of many steps and calls short ones 0, which would clear the state before it is used.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from snnkit.utilities.errors import ParameterError

from .passthrough import straight_through
from .scaling import dash_for_decay, decay_for_dash

__all__ = ["bitshift_tau", "calc_q_decay", "class_calc_q_decay", "round_dash", "t_decay"]


def t_decay(decay: Tensor, dt: float = 1e-3) -> Tensor:
    """Snap decay factors (any shape) to the nearest the chip has, with the identity as gradient.

    The nearest is taken in bit shifts, from 1 (a decay of 0.5, never 0) to 15, as deployment takes it. ``dt``
    [s] is Rockpool's argument; a decay factor per step needs no time step, so it changes nothing.
    """
    _check_dt(dt)
    return straight_through(decay, decay_for_dash(dash_for_decay(decay)))


def calc_q_decay(decay: Tensor, dt: float = 1e-3) -> Tensor:
    """Another name for :func:`t_decay`."""
    return t_decay(decay, dt)


class class_calc_q_decay:  # noqa: N801  (Rockpool's name)
    """The callable ``decay -> quantised decay`` for a time step ``dt`` [s]; see :func:`t_decay`."""

    def __init__(self, dt: float) -> None:
        _check_dt(dt)
        self.dt = dt

    def __call__(self, decay: Tensor) -> Tensor:
        """Return ``decay`` quantised, with the identity as gradient."""
        return t_decay(decay, self.dt)

    def calc_bitshift_decay(self, decay: Tensor) -> Tensor:
        """Return the quantised decay, without gradient."""
        return t_decay(decay.detach(), self.dt)

    def __repr__(self) -> str:
        return f"class_calc_q_decay(dt={self.dt})"


def bitshift_tau(dt: float) -> Callable[[Tensor], Tensor]:
    """Return the transform of time constants to those whose decay is a bit shift, for a time step ``dt`` [s].

    The result is ``-dt / ln(1 - 2**-dash)`` with the dash of ``exp(-dt / tau)``, in seconds. Its gradient to
    ``tau`` is the identity, and a neuron derives its decay from it by ``exp(-dt / tau)``, so the gradient
    that reaches ``tau`` carries the true ``d alpha / d tau``::

        make_param_T_config(net, bitshift_tau(dt=1e-3), "taus")
    """
    _check_dt(dt)
    return partial(_snap_tau, dt=dt)


def _snap_tau(tau: Tensor, dt: float) -> Tensor:
    if bool((tau <= 0).any()):
        lowest = float(tau.min())
        raise ParameterError(f"The lowest time constant is {lowest} s; it must be greater than 0.")
    exact = tau.detach().to(torch.float64)
    alpha = decay_for_dash(dash_for_decay(torch.exp(-dt / exact)))
    return straight_through(tau, -dt / torch.log(alpha))


def round_dash(dash: Tensor) -> Tensor:
    """Round bit shifts to whole numbers within the chip's range, with the identity as gradient.

    As ``round_passthrough`` for the family ``"bitshifts"``, but never 0 (a silent neuron) or more than 15.
    """
    return straight_through(dash, dash_for_decay(decay_for_dash(torch.round(dash.detach()).clamp(min=1))))


def _check_dt(dt: float) -> None:
    if not dt > 0:
        raise ParameterError(f"dt is {dt} s; a time step must be greater than 0.")
