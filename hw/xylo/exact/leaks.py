"""Decays of a population, differentiable, and what the chip makes of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.nn.leaks import tau_to_decay
from snnkit.transforms.wrappers import with_values
from snnkit.utilities.chips import Chip

__all__ = ["decays", "leak_slope"]


def decays(module: nn.Module, values: Mapping[str, Any], synapses: int) -> tuple[Tensor, Tensor]:
    """Return membrane decays ``(N,)`` and synaptic decays ``(N, synapses)`` of LIF neurons.

    ``values`` take the place of the module's own parameters. A synapse more than the module has is that of an
    adaptive neuron's after-hyperpolarisation.
    """
    shadow = with_values(module, values)
    neurons, own = shadow.n_neurons, shadow.n_synapses
    membrane = shadow.alpha.expand(neurons)
    synaptic = shadow.beta.expand(neurons, own)
    if synapses > own:
        (gamma,) = tau_to_decay(shadow.dt, shadow.tau_ahp)
        synaptic = torch.cat([synaptic, gamma.expand(neurons)[:, None]], dim=1)
    return membrane, synaptic


def leak_slope(decay: Tensor, dash: Tensor, chip: Chip) -> Tensor:
    """Return the derivative of the chip's decay ``1 - 2**-round(d)`` with respect to ``decay``.

    ``d = -log2(1 - decay)`` is rounded straight through: the derivative is ``2**-round(d) / (1 - decay)``,
    and 0 where ``d`` is beyond the chip's dashes.
    """
    lost = 1.0 - decay.detach().to(torch.float64)
    exact = -torch.log2(lost.clamp(min=0.0))
    inside = (exact > chip.min_dash - 0.5) & (exact < chip.max_dash + 0.5)
    slope = torch.exp2(-dash.to(torch.float64)) / lost
    return torch.where(inside, slope, torch.zeros_like(slope)).to(decay.dtype)
