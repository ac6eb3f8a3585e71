"""Criteria: scores of all weights of a model at once."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning import scores
from snnkit.sparse.pruning.inputs import Batches, batches_of, input_squares, inverse_thresholds, run
from snnkit.sparse.pruning.weights import PrunableWeight
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = [
    "CRITERIA",
    "Criterion",
    "Grasp",
    "Magnitude",
    "OrbitInvariant",
    "Random",
    "Snip",
    "SynFlow",
    "Wanda",
    "criterion_named",
]

Scores = dict[str, Tensor]
Loss = Callable[[nn.Module], Tensor]


class Criterion(Protocol):
    """What decides which weights stay."""

    @property
    def runs_model(self) -> bool:
        """Whether the model is run or changed: it is then given a copy."""

    @property
    def rounds(self) -> int:
        """In how many rounds to prune, with new scores in each; 1 for one shot."""

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Mapping[str, Tensor]:
        """Return scores by name, of the dense shape; ``-inf`` where a sparse layer stores nothing."""


@dataclass(frozen=True)
class Magnitude:
    """``|w|``, see :func:`~snnkit.sparse.pruning.scores.magnitude_score`."""

    runs_model = False
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores."""
        return {w.name: w.spread(scores.magnitude_score(w.parameter), -math.inf) for w in weights}


@dataclass(frozen=True)
class Random:
    """Uniform numbers of a seed, see :func:`~snnkit.sparse.pruning.scores.random_score`."""

    seed: int = 0
    runs_model = False
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores."""
        generator = torch.Generator().manual_seed(self.seed)
        return {w.name: w.spread(scores.random_score(w.parameter, generator), -math.inf) for w in weights}


@dataclass(frozen=True)
class Snip:
    """``|w dL/dw|``, see :func:`~snnkit.sparse.pruning.scores.snip_score`.

    Args:
        loss: ``loss(model)`` runs the model that it is given on data and returns the loss, one number.
    """

    loss: Loss
    runs_model = True
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores."""
        gradients = _gradients(_loss_of(model, weights, self.loss), weights)
        return _spread(weights, gradients, scores.snip_score)


@dataclass(frozen=True)
class Grasp:
    """``w (H g)``, see :func:`~snnkit.sparse.pruning.scores.grasp_score`; needs second derivatives.

    Args:
        loss: As for :class:`Snip`.
    """

    loss: Loss
    runs_model = True
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores."""
        gradients = _gradients(_loss_of(model, weights, self.loss), weights, create_graph=True)
        product = torch.stack([(g * g.detach()).sum() for g in gradients]).sum()
        if not product.requires_grad:
            raise ConfigurationError("GraSP: the loss has no second derivative, so H g is 0. Choose Snip.")
        try:
            curved = _gradients(product, weights)
        except RuntimeError as error:
            raise ConfigurationError(f"GraSP needs second derivatives: {error} Choose Snip.") from error
        return _spread(weights, curved, scores.grasp_score)


@dataclass(frozen=True)
class SynFlow:
    """``|w dR/dw|`` without data, see :func:`~snnkit.sparse.pruning.scores.synflow_score`.

    Args:
        inputs: Anything of the shape of the input, or a tuple of positional arguments; taken as ones.
        rounds: The paper's 100; after round ``k`` of ``n`` a share of ``density ** (k / n)`` is left.
    """

    inputs: Tensor | tuple[Any, ...]
    rounds: int = 100
    runs_model = True

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores; the model given is left in float64 with all parameters positive."""
        nn.Module.double(model)
        nn.Module.train(model, False)
        with torch.no_grad():
            for tensor in (*nn.Module.parameters(model), *nn.Module.buffers(model)):
                if tensor.is_floating_point():
                    tensor.abs_()
        given = self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)
        ones = [torch.ones_like(x, dtype=torch.float64) if isinstance(x, Tensor) else x for x in given]
        output = _loss_of(model, weights, lambda copy: run(copy, ones).sum())
        return _spread(weights, _gradients(output, weights), scores.synflow_score)


@dataclass(frozen=True)
class Wanda:
    """``|w| ||x||``, see :func:`~snnkit.sparse.pruning.scores.wanda_score`.

    The paper compares the weights of one output with each other: ``allocation="output"``.

    Args:
        data: A tensor, a tuple of positional arguments, or an iterable of these, as batches.
    """

    data: Batches
    runs_model = True
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores."""
        found = input_squares(model, weights, self.data)
        with_inputs = {w.name: scores.wanda_score(w.dense(), found[w.name].norm) for w in weights}
        return {w.name: with_inputs[w.name].masked_fill(~w.present(), -math.inf) for w in weights}


@dataclass(frozen=True)
class OrbitInvariant:
    """``|w| rms(events) / threshold``, see :func:`~snnkit.sparse.pruning.scores.orbit_score`.

    Args:
        data: As for :class:`Wanda`: input events ``(batch, time, channels)``.
    """

    data: Batches
    runs_model = True
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> Scores:
        """Return the scores."""
        data = list(self.data) if isinstance(self.data, Iterator) else self.data
        found = input_squares(model, weights, data)
        first = next(iter(batches_of(data, model)))
        inverse = inverse_thresholds(model, weights, first)
        result = {}
        for w in weights:
            lead = [1] * (len(w.shape) - 2)
            theta = (1 / inverse[w.name]).reshape(*((1, -1) if w.sources_first else (-1, 1)), *lead)
            score = scores.orbit_score(w.dense(), found[w.name].rms, theta)
            result[w.name] = score.masked_fill(~w.present(), -math.inf)
        return result


def _loss_of(model: nn.Module, weights: Sequence[PrunableWeight], loss: Loss) -> Tensor:
    for weight in weights:
        weight.parameter.requires_grad_(True)
    with torch.enable_grad():
        value = loss(model)
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ConfigurationError(f"loss(model) must return one number as a tensor, not {what}.")
    if not value.requires_grad:
        raise ConfigurationError(
            "loss(model) does not depend on the weights: it must run the model that it is given."
        )
    return value.sum()


def _gradients(value: Tensor, weights: Sequence[PrunableWeight], create_graph: bool = False) -> list[Tensor]:
    parameters = [weight.parameter for weight in weights]
    found = torch.autograd.grad(value, parameters, create_graph=create_graph, allow_unused=True)
    if all(gradient is None for gradient in found):
        raise ConfigurationError(
            "loss(model) does not depend on the weights: it must run the model that it is given."
        )
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _spread(
    weights: Sequence[PrunableWeight], gradients: Sequence[Tensor], score: Callable[[Tensor, Tensor], Tensor]
) -> Scores:
    pairs = zip(weights, gradients, strict=True)
    return {w.name: w.spread(score(w.parameter, gradient), -math.inf) for w, gradient in pairs}


CRITERIA: dict[str, Callable[[], Criterion]] = {"magnitude": Magnitude, "random": Random}
_WITH_DATA = {
    "movement": "Movement(model, optimizer), which follows the training",
    "snip": "Snip(loss)",
    "grasp": "Grasp(loss)",
    "synflow": "SynFlow(inputs)",
    "wanda": "Wanda(data)",
    "orbit": "OrbitInvariant(data)",
    "orbit-invariant": "OrbitInvariant(data)",
}


def criterion_named(name: str | Criterion) -> Criterion:
    """Return the criterion of that name; one that is given is returned as it is.

    Raises:
        ConfigurationError: there is no such name, or it needs data: pass an instance such as ``Snip(loss)``.
    """
    if not isinstance(name, str):
        return name
    if name in _WITH_DATA:
        raise ConfigurationError(f"The criterion {name!r} needs data: pass {_WITH_DATA[name]} instead.")
    if name not in CRITERIA:
        raise ConfigurationError(unknown_key_message("criterion", name, [*CRITERIA, *_WITH_DATA]))
    return CRITERIA[name]()
