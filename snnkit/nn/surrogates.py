"""Spike generation with surrogate gradients.

Forward, for a membrane potential ``v`` and a threshold ``th > 0``: a neuron emits

    n = min(floor(v / th), max_spikes)   where v >= th, else 0

events in one step. That is piecewise constant, so the backward pass puts a surrogate in the place of its
derivative.

Both functions are called as ``fn(v, threshold, window, max_spikes, relative)`` through ``.apply``; they work
under ``torch.func`` (``grad``, ``vmap``, ``functional_call``). The window is the width of the surrogate, in
the units of ``v``; with ``relative`` in units of the threshold. The surrogate is then a function of
``v / th``, and the gradients of a neuron whose weights, bias, threshold and state are multiplied by c are
divided by c.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["PeriodicExponential", "SpikeFunction", "StepPWL", "is_own_surrogate", "surrogate_width"]

SpikeFunction = Callable[[Tensor, Tensor, float | Tensor, float | Tensor], Tensor]
"""``(membrane potential, threshold, learning window, most spikes per step) -> spike counts``."""


def _spike_count(v: Tensor, threshold: Tensor, max_spikes: float | Tensor) -> Tensor:
    # No comparison with the threshold is needed: a correctly rounded v / th is below 1 whenever v < th.
    counts = torch.floor(v / threshold)
    if isinstance(max_spikes, Tensor):
        return torch.minimum(counts.clamp(min=0.0), max_spikes)
    return counts.clamp(0.0, max_spikes)


def surrogate_width(threshold: Tensor, window: float | Tensor, relative: bool) -> float | Tensor:
    """Return the width of a surrogate in the units of the membrane potential."""
    return window * threshold.detach() if relative else window


class _SpikeGeneration(torch.autograd.Function):
    """The common forward pass; subclasses give the backward pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        v: Tensor,
        threshold: Tensor,
        window: float | Tensor = 0.5,
        max_spikes: float | Tensor = 2.0**16,
        relative: bool = False,
    ) -> Tensor:
        return _spike_count(v, threshold, max_spikes)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])
        ctx.window = inputs[2] if len(inputs) > 2 else 0.5
        ctx.max_spikes = inputs[3] if len(inputs) > 3 else 2.0**16
        ctx.relative = len(inputs) > 4 and bool(inputs[4])
        ctx.optional_inputs = len(inputs) - 2


def _backward(ctx: Any, grad_output: Tensor, slope: SpikeFunction) -> tuple[Tensor | None, ...]:
    v, threshold = ctx.saved_tensors
    width = surrogate_width(threshold, ctx.window, ctx.relative)
    grad_v = grad_output * slope(v, threshold, width, ctx.max_spikes)
    grad_threshold = None
    if ctx.needs_input_grad[1]:
        grad_threshold = (-grad_v * v / threshold).sum_to_size(threshold.shape)
    return grad_v, grad_threshold, *(None,) * ctx.optional_inputs


class StepPWL(_SpikeGeneration):
    """Multi-spike step whose surrogate is piecewise linear (a straight line from ``window`` below threshold).

    With ``m = 1`` where ``v >= th - window`` (there is no upper end) and 0 elsewhere:

        dn/dv = m / th        dn/dth = -m v / th^2

    ``StepPWL.apply(v, threshold, window=0.5, max_spikes=2**16, relative=False)``; threshold and window
    broadcast to ``v``.
    """

    @staticmethod
    def slope(v: Tensor, threshold: Tensor, window: float | Tensor, max_spikes: float | Tensor) -> Tensor:
        """Return ``m / th``."""
        return (v >= threshold - window) / threshold

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients towards the membrane potential and the threshold."""
        return _backward(ctx, grad_output, StepPWL.slope)


class PeriodicExponential(_SpikeGeneration):
    """Multi-spike step with one exponential bump around every multiple of the threshold.

    With ``u = v - th / 2``, ``k = min(floor(u / th), max_spikes - 1)``, and ``w = u`` below threshold,
    ``w = u - k th`` at and above it:

        p = exp(-|w - th / 2| / window) / th        dn/dv = p        dn/dth = -p v / th

    The gradient does not vanish for neurons that emit several events per step. Called like :class:`StepPWL`.
    """

    @staticmethod
    def slope(v: Tensor, threshold: Tensor, window: float | Tensor, max_spikes: float | Tensor) -> Tensor:
        """Return ``p``."""
        half = threshold / 2
        shifted = v - half
        # max_spikes may be a tensor, which clamp(max=...) does not take beside a number.
        last = max_spikes - 1
        periods = torch.floor(shifted / threshold)
        periods = torch.minimum(periods, last) if isinstance(last, Tensor) else periods.clamp(max=last)
        folded = torch.where(v < threshold, shifted, shifted - periods * threshold)
        return torch.exp(-(folded - half).abs() / window) / threshold

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients towards the membrane potential and the threshold."""
        return _backward(ctx, grad_output, PeriodicExponential.slope)


def is_own_surrogate(function: Any) -> bool:
    """Whether a function is the ``apply`` of a surrogate of this module, which takes ``relative``."""
    cls = getattr(function, "__self__", None)
    return isinstance(cls, type) and issubclass(cls, _SpikeGeneration)
