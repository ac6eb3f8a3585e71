"""Initialisers of the ready networks. Objects, not lambdas: networks with them can be pickled."""

from dataclasses import dataclass

import torch
from torch import Tensor

from snnkit.nn.combinators.ffwd_stack import uniform_by_fan_in

__all__ = ["ScaledUniform", "steps_per_tau"]


@dataclass(frozen=True)
class ScaledUniform:
    """Draw weights ``(source, target)`` from U(-a, a), ``a = scale sqrt(6 / source)``.

    ``scale`` is one number per target, or one for all. A synapse that sums its input over ``tau / dt`` steps
    gets the drive of an unfiltered one with ``scale = dt / tau``.
    """

    scale: tuple[float, ...]

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Return weights of ``shape``."""
        return uniform_by_fan_in(shape) * torch.tensor(self.scale)


def steps_per_tau(dt: float, tau: Tensor | float) -> ScaledUniform:
    """Return the initialiser of weights onto synapses with time constants ``tau``, one per target or one."""
    taus = torch.as_tensor(tau, dtype=torch.float64).reshape(-1)
    return ScaledUniform(tuple((dt / taus).tolist()))
