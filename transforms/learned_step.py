"""Learned step size quantisation: the distance between levels is trained with the weights.

S. K. Esser et al., "Learned step size quantization" (ICLR 2020), equations 1 to 5.
"""

import math

import torch
from torch import Tensor, nn

from snnkit.utilities.errors import ParameterError, ShapeError

from .base import ParameterTransform
from .passthrough import round_passthrough

__all__ = ["LearnedStepSize"]


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a number."""

    @staticmethod
    def forward(value: Tensor, factor: float) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(
        ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, float], output: Tensor
    ) -> None:
        ctx.factor = inputs[1]  # type: ignore[attr-defined]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None  # type: ignore[attr-defined]


class LearnedStepSize(ParameterTransform):
    """Round a parameter to ``step * integer`` with integers of ``n_bits`` bits and a trained ``step``.

    The integers lie in ``+-(2**(n_bits - 1) - 1)``, so zero stays zero and the chip's ``-128`` is not used.
    ``per_channel`` gives every target (column of ``(Nsrc, N)``, row of ``nn.Linear``'s weight) its own step.
    The step's gradient is scaled by ``1 / sqrt(n * Q)`` (equation 5): it learns as fast as the weights.
    """

    step: nn.Parameter

    def __init__(self, n_bits: int = 8, per_channel: bool = False) -> None:
        super().__init__()
        if n_bits < 2:
            raise ParameterError(f"n_bits is {n_bits}; signed integers need 2 or more.")
        self.n_bits = n_bits
        self.per_channel = per_channel
        self.step = nn.Parameter(torch.ones(()))

    @property
    def largest(self) -> int:
        """The largest integer in use."""
        return int(2 ** (self.n_bits - 1) - 1)

    @property
    def _sources(self) -> int:
        """The axis of a weight matrix along which a target's inputs lie."""
        return 1 if self.targets_first else 0

    def initialise(self, value: Tensor) -> None:
        """Start from ``2 * mean|value| / sqrt(Q)`` (section 2.1)."""
        if self.per_channel and value.ndim != 2:
            raise ShapeError(f"per_channel needs a weight matrix (Nsrc, N), not {tuple(value.shape)}.")
        magnitude = value.abs().mean()
        if self.per_channel:
            magnitude = value.abs().mean(self._sources, keepdim=self.targets_first)
        step = 2.0 * magnitude / math.sqrt(self.largest)
        self.step = nn.Parameter(torch.where(step > 0, step, torch.ones_like(step)))

    def forward(self, value: Tensor) -> Tensor:
        """Return ``value`` on the learned grid."""
        elements = value.shape[self._sources] if self.per_channel else value.numel()
        factor = 1.0 / math.sqrt(max(elements, 1) * self.largest)
        # A step that training drives through zero goes on as a small positive one.
        smallest = torch.finfo(self.step.dtype).tiny ** 0.5
        step = _ScaleGradient.apply(self.step.abs().clamp(min=smallest), factor)
        return round_passthrough((value / step).clamp(-self.largest, self.largest)) * step

    def extra_repr(self) -> str:
        """Show the bits."""
        return f"n_bits={self.n_bits}, per_channel={self.per_channel}"
