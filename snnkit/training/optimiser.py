"""Adam whose step is relative to the size of what it changes, and the course of its learning rate."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from snnkit.utilities.errors import ShapeError

__all__ = ["ScaledAdam", "cosine_schedule"]


class ScaledAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba, 2015) on ``parameter / scale``: one learning rate fits all neurons.

    A neuron with a long synaptic time constant needs weights a hundred times smaller than one with a short
    one, and steps of one absolute size cannot serve both.

    Args:
        parameters: Tensors to train.
        scales: One positive tensor per parameter that broadcasts to it: its typical size.
        lr: Step size in units of the scale.
        betas: Decay of the two moment averages.
        eps: Added to the denominator; gradients are taken with respect to ``parameter / scale``.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        scales: Sequence[Tensor],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        groups = []
        for parameter, scale in zip(parameters, scales, strict=True):
            _check_scale(parameter, scale)
            groups.append({"params": [parameter], "scale": scale.detach()})
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._change(parameter, group)
        return loss

    def _change(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, scale = self.state[parameter], group["scale"]
        if not state:
            state["step"] = torch.zeros(1, dtype=torch.int64)
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        (first, second), gradient = group["betas"], parameter.grad * scale
        state["step"] += 1
        count = int(state["step"])
        state["mean"].lerp_(gradient, 1.0 - first)
        state["square"].lerp_(gradient * gradient, 1.0 - second)
        mean = state["mean"] / (1.0 - first**count)
        root = (state["square"] / (1.0 - second**count)).sqrt_().add_(group["eps"])
        parameter.sub_(group["lr"] * scale * mean / root)


def _check_scale(parameter: Tensor, scale: Tensor) -> None:
    try:
        fits = torch.broadcast_shapes(parameter.shape, scale.shape) == parameter.shape
    except RuntimeError:
        fits = False
    if not fits or not bool((scale > 0).all()):
        raise ShapeError(
            f"ScaledAdam: a scale {tuple(scale.shape)} must be positive and broadcast to its parameter "
            f"{tuple(parameter.shape)}."
        )


def cosine_schedule(step: int, total: int, warmup: float) -> float:
    """Return the factor of the learning rate at ``step`` of ``total``: up to 1 linearly, down as a cosine.

    A function of the step alone, so that a run that goes on from a checkpoint needs nothing else.
    """
    rise = warmup * total
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))
