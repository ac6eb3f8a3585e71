"""The best place on a network's orbit, by the slope of an objective in the logarithms of the scales."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from snnkit.teleport.element import Element
from snnkit.teleport.symmetries import Symmetries
from snnkit.teleport.training.objectives import OrbitObjective
from snnkit.utilities.errors import ParameterError, unknown_key_message

__all__ = ["Found", "Method", "find_element"]

Method = Literal["adam", "lbfgs"]


@dataclass(frozen=True)
class Found:
    """An element, and what its objective was before and after."""

    element: Element
    before: float
    after: float
    evaluations: int


def find_element(
    symmetries: Symmetries,
    objective: OrbitObjective,
    *,
    method: Method = "lbfgs",
    steps: int = 50,
    learning_rate: float = 0.1,
    max_log_scale: float = math.log(4.0),
) -> Found:
    """Search positive scales for which an objective is best.

    The scales are ``tau = exp(b tanh z)`` with ``b = max_log_scale``, and z starts at 0. The search follows
    the objective relative to its start, on a logarithmic scale, so that learning rates mean the same in every
    network. It returns the best place it came by, never a worse one than the start.

    Args:
        symmetries: Of the model.
        objective: Of the model's loss; its ``maximise`` says which way is better.
        method: ``adam``, or ``lbfgs`` with line search (strong Wolfe conditions).
        steps: Of Adam, or of the line searches; at least 1.
        learning_rate: Of Adam.
        max_log_scale: Bound of ``|log tau|``; positive. Without one a gradient norm has no maximum.

    Raises:
        ParameterError: an argument is out of range; the objective is not finite at the start; the model
            has no free scale.
    """
    _check(method, steps, max_log_scale, symmetries)
    search = _Search(symmetries, objective, max_log_scale)
    z = torch.zeros(symmetries.n_scales, dtype=torch.float64, requires_grad=True)
    if method == "adam":
        adam = torch.optim.Adam([z], lr=learning_rate)
        for _ in range(steps):
            search.evaluate(z)
            adam.step()
        search.evaluate(z)
    else:
        torch.optim.LBFGS([z], max_iter=steps, line_search_fn="strong_wolfe").step(lambda: search.evaluate(z))
    element = symmetries.element(flat_scales=search.best_log_scales.exp())
    return Found(element, search.first, search.best, search.evaluations)


class _Search:
    """Evaluates an objective and remembers the best place."""

    def __init__(self, symmetries: Symmetries, objective: OrbitObjective, bound: float) -> None:
        self._symmetries, self._objective, self._bound = symmetries, objective, bound
        self.first = self.best = math.nan
        self.best_log_scales = torch.zeros(symmetries.n_scales, dtype=torch.float64)
        self.evaluations = 0

    def evaluate(self, z: Tensor) -> Tensor:
        """Return what is to become smaller, with its slope in ``z.grad``."""
        log_scales = self._bound * z.tanh()
        value = self._objective(self._symmetries.log_factors(log_scales))
        self._remember(float(value.detach()), log_scales.detach())
        # Almost the logarithm, but curvatures may be negative.
        relative = torch.asinh(value / (abs(self.first) or 1.0))
        cost = -relative if self._objective.maximise else relative
        (z.grad,) = torch.autograd.grad(cost, [z])
        return cost.detach()

    def _remember(self, value: float, log_scales: Tensor) -> None:
        self.evaluations += 1
        if self.evaluations == 1:
            self.first = self.best = value
            if not math.isfinite(value):
                raise ParameterError(
                    f"The objective is {value} where the model stands; nothing can be searched."
                )
        elif math.isfinite(value) and (value > self.best if self._objective.maximise else value < self.best):
            self.best, self.best_log_scales = value, log_scales.clone()


def _check(method: str, steps: int, max_log_scale: float, symmetries: Symmetries) -> None:
    if method not in get_args(Method):
        raise ParameterError(unknown_key_message("method", method, get_args(Method)))
    if steps < 1 or not 0.0 < max_log_scale < math.inf:
        raise ParameterError(
            f"find_element: steps is {steps}, must be at least 1; max_log_scale is {max_log_scale}, must be "
            "positive and finite."
        )
    if not symmetries.n_scales:
        raise ParameterError("No channel of the model is free to scale: its orbit is this one point.")
