"""Movement: a criterion that follows the training."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.scores import movement_score
from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Movement"]


class Movement:
    """The sum of ``-w dL/dw`` over the steps of an optimiser; see :func:`movement_score`.

    Weights that training moves towards 0 have negative sums and go first, however large they are. Where a
    sparse layer's structure changes meanwhile, survivors keep their sums and new weights start with 0.

    Args:
        model: The model that is trained.
        optimizer: Its optimiser; sums grow with each of its steps, until :meth:`remove`.
        names: Only these weights.
        exclude: Not these.
    """

    runs_model = False
    rounds = 1

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        names: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
    ) -> None:
        self.weights = prunable_weights(model, names, exclude)
        self._sums: dict[str, Tensor] = {}
        self._places: dict[str, Tensor] = {}
        self._handle = optimizer.register_step_pre_hook(self._add)

    def remove(self) -> None:
        """Stop following; the sums stay."""
        self._handle.remove()

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> dict[str, Tensor]:
        """Return the sums.

        Raises:
            ConfigurationError: nothing was trained yet, or not all of these weights are followed.
        """
        missing = [weight.name for weight in weights if weight.name not in self._sums]
        if missing:
            raise ConfigurationError(
                f"Movement has no sums for {', '.join(missing)}: train with its optimiser first."
            )
        for weight in weights:
            self._follow(weight)
        return {weight.name: weight.spread(self._sums[weight.name], -math.inf) for weight in weights}

    def _add(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for weight in self.weights:
            gradient = weight.parameter.grad
            if gradient is not None:
                self._follow(weight)
                change = movement_score(weight.parameter, gradient)
                before = self._sums.get(weight.name)
                self._sums[weight.name] = change if before is None else before + change

    def _follow(self, weight: PrunableWeight) -> None:
        """Bring the sums of a sparse layer to the places of its weights now."""
        if weight.shape == weight.parameter.shape:
            return
        places = weight.gather(torch.arange(weight.size, device=weight.parameter.device))
        before = self._places.get(weight.name)
        if before is not None and weight.name in self._sums and not torch.equal(before, places):
            dense = self._sums[weight.name].new_zeros(weight.size)
            dense[before] = self._sums[weight.name]
            self._sums[weight.name] = dense[places]
        self._places[weight.name] = places
