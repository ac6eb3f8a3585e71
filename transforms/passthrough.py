"""Functions with a step-shaped forward pass and the identity as gradient (straight-through estimators)."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["floor_passthrough", "make_backward_passthrough", "round_passthrough", "straight_through"]


class _StraightThrough(torch.autograd.Function):
    """Forward ``value``; the gradient goes to ``source`` unchanged."""

    generate_vmap_rule = True

    @staticmethod
    def forward(source: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(
        ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor
    ) -> None:
        """Nothing to keep: the backward pass needs no value of the forward pass."""

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(source: Tensor, value: Tensor) -> Tensor:
    """Return exactly ``value`` (of the shape of ``source``), with the identity as gradient to ``source``.

    ``source + (value - source).detach()`` is not exact in floating point; this is.
    """
    result: Tensor = _StraightThrough.apply(source, value.detach().to(source.dtype))
    return result


class _Passthrough:
    """A function with the identity as gradient; an object, so that it can be pickled."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def __call__(self, value: Tensor) -> Tensor:
        """Return the function of ``value``."""
        with torch.no_grad():
            result = self.function(value)
        return straight_through(value, result)

    def __repr__(self) -> str:
        return f"make_backward_passthrough({getattr(self.function, '__name__', self.function)})"


def make_backward_passthrough(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return ``function`` with the identity as its gradient.

    ``function`` takes one tensor and returns one of the same shape::

        sign_passthrough = make_backward_passthrough(torch.sign)
    """
    return _Passthrough(function)


def floor_passthrough(value: Tensor) -> Tensor:
    """Return ``torch.floor(value)`` with the identity as gradient."""
    return straight_through(value, torch.floor(value.detach()))


def round_passthrough(value: Tensor) -> Tensor:
    """Return ``torch.round(value)`` (half to even) with the identity as gradient."""
    return straight_through(value, torch.round(value.detach()))
