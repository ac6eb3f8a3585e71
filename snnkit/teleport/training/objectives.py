"""What a network's gradient, curvature and next loss would be anywhere on its orbit, from one point of it.

On the orbit ``p' = c p`` the loss is the same, so that gradients are ``g / c`` and the Hessian is
``H_ij / (c_i c_j)``. All objectives here are functions of the log factors ``log c`` and differentiable in
them; the network is only ever evaluated where it stands."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from snnkit.teleport.training.losses import LossOnBatches
from snnkit.utilities.errors import ParameterError, unknown_key_message

__all__ = [
    "GradientNorm",
    "HessianTrace",
    "LargestEigenvalue",
    "LossAfterStep",
    "Objective",
    "OrbitObjective",
    "WeightedGradientNorm",
    "objective_named",
]

LogFactors = Mapping[str, Tensor]
"""Name of a parameter -> logarithm of its factor, which broadcasts to it; 0 where a name is missing."""
Objective = Literal[
    "grad_norm", "weighted_grad_norm", "hessian_trace", "hessian_eigenvalue", "loss_lookahead"
]


class OrbitObjective(ABC):
    """A number for every point of a network's orbit."""

    maximise: ClassVar[bool]
    """Whether more of it is what one wants."""

    @abstractmethod
    def __call__(self, log_factors: LogFactors) -> Tensor:
        """Return the value where the parameters have the given factors; differentiable in them."""


class GradientNorm(OrbitObjective):
    """``||g / c||``. Its square is a convex function of the log scales: maxima lie on the bounds."""

    maximise = True

    def __init__(self, loss: LossOnBatches) -> None:
        self._squares = {name: g.square() for name, g in loss.gradients().items()}

    def __call__(self, log_factors: LogFactors) -> Tensor:
        """Return the norm where the parameters have these factors."""
        return _weighted_sum(self._squares, log_factors, -2).sqrt()


class WeightedGradientNorm(OrbitObjective):
    """``||g / c|| / ||c p||``: the gradient's norm in units of the weights'."""

    maximise = True

    def __init__(self, loss: LossOnBatches) -> None:
        self._gradients = GradientNorm(loss)
        self._squares = {name: p.detach().square() for name, p in loss.parameters.items()}

    def __call__(self, log_factors: LogFactors) -> Tensor:
        """Return the ratio where the parameters have these factors."""
        return self._gradients(log_factors) / _weighted_sum(self._squares, log_factors, 2).sqrt()


class HessianTrace(OrbitObjective):
    """``sum_i H_ii / c_i^2``, with the diagonal as Hutchinson's method estimates it.

    Args:
        loss: Evaluated ``draws`` times.
        draws: Of random signs ``v``: the mean of ``v * H v``.
        seed: Of the draws.
    """

    maximise = False

    def __init__(self, loss: LossOnBatches, draws: int = 16, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._diagonal = {name: torch.zeros_like(p) for name, p in loss.parameters.items()}
        for _ in range(draws):
            signs = {name: _signs(p, generator) for name, p in loss.parameters.items()}
            for name, product in loss.hessian_times(signs).items():
                self._diagonal[name] += signs[name] * product / draws

    def __call__(self, log_factors: LogFactors) -> Tensor:
        """Return the trace where the parameters have these factors."""
        return _weighted_sum(self._diagonal, log_factors, -2)


class LargestEigenvalue(OrbitObjective):
    """The size of the eigenvalue of largest size of ``H_ij / (c_i c_j)``, by power iteration.

    Args:
        loss: Evaluated once per iteration.
        iterations: At most; they go on from the vector of the last call, so that a search gets by with few.
        tolerance: Relative change of the value at which it has converged.
        seed: Of the first vector.
    """

    maximise = False

    def __init__(
        self, loss: LossOnBatches, iterations: int = 50, tolerance: float = 1e-3, seed: int = 0
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._loss, self._iterations, self._tolerance = loss, iterations, tolerance
        self._vector = _unit(
            {n: torch.randn(p.shape, generator=generator).to(p) for n, p in loss.parameters.items()}
        )

    def __call__(self, log_factors: LogFactors) -> Tensor:
        """Return the size of the eigenvalue where the parameters have these factors."""
        inverse = {n: (-f).exp() for n, f in log_factors.items() if n in self._loss.parameters}
        fixed = {name: factor.detach() for name, factor in inverse.items()}
        value, vector, product = self._iterate(fixed)
        # The slope of the Rayleigh quotient needs none of the vector's, which is an eigenvector.
        terms = [(vector[n] * (factor - fixed[n]) * product[n]).sum() for n, factor in inverse.items()]
        slope = torch.stack(
            [*(term.to(torch.float64) for term in terms), torch.zeros((), dtype=torch.float64)]
        )
        return abs(value) + math.copysign(2.0, value) * slope.sum()

    def _iterate(self, factors: Mapping[str, Tensor]) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
        """Return value, vector v, and the Hessian times ``v / c``."""
        value = math.inf
        for _ in range(self._iterations):
            last, vector = value, self._vector
            product = self._loss.hessian_times(_scaled(vector, factors))
            moved = _scaled(product, factors)
            value, self._vector = _dot(vector, moved), _unit(moved)
            if abs(value - last) <= self._tolerance * abs(value):
                break
        return value, vector, product


class LossAfterStep(OrbitObjective):
    """The loss after one step of plain gradient descent from there.

    The step ``-lr g / c`` from ``c p`` is the step ``-lr g / c^2`` from ``p``, seen from where the network
    stands.

    Args:
        loss: Evaluated once per call, and once for the gradient.
        learning_rate: Of the step; at least 0.
    """

    maximise = False

    def __init__(self, loss: LossOnBatches, learning_rate: float) -> None:
        if learning_rate < 0.0:
            raise ParameterError(f"LossAfterStep: a learning rate of {learning_rate}; it must be at least 0.")
        self._loss, self._learning_rate, self._gradients = loss, learning_rate, loss.gradients()

    def __call__(self, log_factors: LogFactors) -> Tensor:
        """Return the loss after the step from where the parameters have these factors."""
        after = {}
        for name, parameter in self._loss.parameters.items():
            step = self._learning_rate * self._gradients[name]
            if name in log_factors:
                step = step * (-2.0 * log_factors[name]).exp()
            after[name] = (parameter.detach() - step).to(parameter.dtype)
        return self._loss.value(after)


@dataclass(frozen=True)
class ObjectiveOptions:
    """What single objectives need beside the loss."""

    learning_rate: float = 0.1
    """Of the step of ``loss_lookahead``."""
    draws: int = 16
    """Of Hutchinson's method."""
    iterations: int = 50
    """Of the power iteration, at most."""
    seed: int = 0


def objective_named(
    name: Objective, loss: LossOnBatches, options: ObjectiveOptions | None = None
) -> OrbitObjective:
    """Return the objective of that name.

    Args:
        name: ``grad_norm``, ``weighted_grad_norm``, ``hessian_trace``, ``hessian_eigenvalue`` or
            ``loss_lookahead``.
        loss: What it is an objective of.
        options: What it needs besides.

    Raises:
        ParameterError: there is none of that name.
    """
    o = options or ObjectiveOptions()
    made: dict[str, Callable[[], OrbitObjective]] = {
        "grad_norm": lambda: GradientNorm(loss),
        "weighted_grad_norm": lambda: WeightedGradientNorm(loss),
        "hessian_trace": lambda: HessianTrace(loss, o.draws, o.seed),
        "hessian_eigenvalue": lambda: LargestEigenvalue(loss, o.iterations, seed=o.seed),
        "loss_lookahead": lambda: LossAfterStep(loss, o.learning_rate),
    }
    if name not in made:
        raise ParameterError(unknown_key_message("objective", name, made))
    return made[name]()


def _weighted_sum(values: Mapping[str, Tensor], log_factors: LogFactors, power: int) -> Tensor:
    terms = [
        (value * (power * log_factors[name]).exp()).sum() if name in log_factors else value.sum()
        for name, value in values.items()
    ]
    return torch.stack([term.to(torch.float64) for term in terms]).sum()


def _signs(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, like.shape, generator=generator).to(like) * 2.0 - 1.0


def _scaled(values: Mapping[str, Tensor], factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: (v * factors[name]).to(v.dtype) if name in factors else v for name, v in values.items()}


def _dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    return float(sum(float((a[name] * b[name]).sum()) for name in a))


def _unit(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    length = _dot(values, values) ** 0.5
    return {name: value / length for name, value in values.items()} if length else dict(values)
