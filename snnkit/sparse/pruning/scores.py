"""Scores: how much each weight matters, as pure functions of what they need.

The larger, the longer a weight stays. All have the shape of ``weight``; none has a gradient.
"""

import torch
from torch import Tensor

__all__ = [
    "grasp_score",
    "magnitude_score",
    "movement_score",
    "orbit_score",
    "random_score",
    "snip_score",
    "synflow_score",
    "wanda_score",
]


def magnitude_score(weight: Tensor) -> Tensor:
    """Return ``|w|``. S. Han et al., "Learning both weights and connections" (2015)."""
    return weight.detach().abs()


def random_score(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return uniform numbers, drawn on the generator's device: what every score should beat."""
    drawn = torch.rand(weight.shape, generator=generator, device=generator.device)
    return drawn.to(weight.device)


def movement_score(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return ``-w dL/dw``, to be summed over the steps of training: how fast the weight moves away from 0.

    V. Sanh et al., "Movement pruning" (2020), equation 5, without the learning rate.
    """
    return -(weight.detach() * gradient.detach())


def snip_score(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return ``|w dL/dw|``: the first-order change of the loss when the connection goes.

    N. Lee et al., "SNIP: single-shot network pruning" (2019), equation 6, without the division by the sum,
    which changes no order.
    """
    return (weight.detach() * gradient.detach()).abs()


def grasp_score(weight: Tensor, hessian_gradient: Tensor) -> Tensor:
    """Return ``w (H g)``: how much the gradient's norm falls, to first order, when the weight goes.

    C. Wang et al., "Picking winning tickets before training by preserving gradient flow" (2020): their
    ``S(-w) = -w (H g)`` is the change, and what has the largest is pruned first.

    Args:
        weight: ``w``.
        hessian_gradient: The Hessian of the loss times its gradient, both over all weights.
    """
    return weight.detach() * hessian_gradient.detach()


def synflow_score(weight: Tensor, gradient: Tensor) -> Tensor:
    """Return ``|w dR/dw|``, ``R`` the sum of outputs for an input of ones with all parameters positive.

    H. Tanaka et al., "Pruning neural networks without any data by iteratively conserving synaptic flow"
    (2020), equation 2.
    """
    return (weight.detach() * gradient.detach()).abs()


def wanda_score(weight: Tensor, input_norm: Tensor) -> Tensor:
    """Return ``|w_ij| ||x_j||_2``. M. Sun et al., "A simple and effective pruning approach" (2023), eq. 1.

    Args:
        weight: ``w``.
        input_norm: The 2-norm, over all samples, of the input that each weight multiplies; shaped so that it
            broadcasts to the weight.
    """
    return weight.detach().abs() * input_norm.detach()


def orbit_score(weight: Tensor, event_rms: Tensor, threshold: Tensor) -> Tensor:
    """Return ``|w_ij| rms_j / theta_i``: what a synapse adds to its target, in units of the threshold.

    Scaling all incoming weights, the bias and the threshold of a neuron by a common factor changes nothing a
    spiking net computes; this score is the same on the whole orbit of such nets, unlike the magnitude.

    Args:
        weight: ``w``.
        event_rms: The root of the mean square, over batch and time, of the presynaptic events.
        threshold: Of the target neuron. Both broadcast to the weight.
    """
    return weight.detach().abs() * event_rms.detach() / threshold.detach()
