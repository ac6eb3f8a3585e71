"""Gradual pruning: more and more weights go while the model is trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from snnkit.sparse.pruning.choosing import prune_masks
from snnkit.sparse.pruning.counting import Sparsity, sparsity_of
from snnkit.sparse.pruning.criteria import Criterion, criterion_named
from snnkit.sparse.pruning.holding import MaskHolder
from snnkit.sparse.pruning.weights import prunable_weights
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.schedules import Schedule, schedule_named

__all__ = ["GradualPruning"]


class GradualPruning(MaskHolder):
    """Prune along a schedule, in any training loop: it follows the steps of the optimiser.

    After a step, the weights that the schedule asks for go, chosen anew among those that are left; between
    and afterwards, pruned weights stay at 0. M. Zhu and S. Gupta, "To prune, or not to prune" (2017).

    Args:
        model: Any module, dense, sparse or both.
        optimizer: Of the training.
        sparsity: The share that is gone in the end, as for :func:`~snnkit.sparse.pruning.prune_masks`.
        end: The step at which it is reached.
        begin: The step from which it grows.
        schedule: ``"cubic"``, ``"cosine"``, ``"one-shot"`` (all at ``begin``), or a schedule of your own.
        every: Steps between two prunings; the last one takes place at the end in any case.
        criterion, allocation, names, exclude, minimum: As for ``prune_masks``.

    Raises:
        ConfigurationError: what ``prune_masks`` refuses, at once and not in the middle of the training; an
            interval below 1; LBFGS.
        ParameterError: not ``0 <= begin < end``.

    Example:
        >>> model = nn.Linear(8, 8)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with GradualPruning(model, optimizer, 0.75, end=10):
        ...     for _ in range(20):
        ...         optimizer.zero_grad()
        ...         model(torch.randn(4, 8)).square().sum().backward()
        ...         optimizer.step()
        >>> int((model.weight != 0).sum())
        16
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sparsity: float,
        *,
        end: int,
        begin: int = 0,
        schedule: str | Schedule = "cubic",
        every: int = 1,
        criterion: str | Criterion = "magnitude",
        allocation: str = "global",
        names: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        minimum: int = 1,
    ) -> None:
        if every < 1 or int(every) != every:
            raise ConfigurationError(f"every is {every}; it counts steps, so a whole number of 1 or more.")
        self.schedule = schedule_named(schedule, begin, end)
        self.sparsity = sparsity
        self.every = every
        weights = prunable_weights(model, names, exclude)
        self._model = model
        self._options: dict[str, Any] = {
            "criterion": criterion_named(criterion),
            "allocation": allocation,
            "names": [weight.name for weight in weights],
            "minimum": minimum,
        }
        prune_masks(model, sparsity, **{**self._options, "criterion": "magnitude"})
        there = sum(int(weight.present().sum()) for weight in weights)
        self._before_pruning = 1 - there / sum(weight.size for weight in weights)
        super().__init__(weights, {}, optimizer)

    @property
    def reached(self) -> Sparsity:
        """How sparse the model is now."""
        return sparsity_of(self._model, [weight.name for weight in self.weights])

    def state_dict(self) -> dict[str, Any]:
        """Return steps, masks and the sparsity at the start."""
        return {**super().state_dict(), "before_pruning": self._before_pruning}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._before_pruning = float(state["before_pruning"])

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        super()._after(optimizer, args, kwargs)
        if self._is_due():
            progress = self.schedule.progress(self.steps)
            aim = self._before_pruning + (self.sparsity - self._before_pruning) * progress
            if progress > 0 and aim > self._gone():
                self._set(prune_masks(self._model, aim, within=self.masks, **self._options))

    def _is_due(self) -> bool:
        """Whether the schedule asks for weights at this step."""
        end = self.schedule.end
        return self.steps <= end and (self.steps % self.every == 0 or self.steps == end)

    def _gone(self) -> float:
        """Return the share of the weights that is gone."""
        held = self.masks
        there = sum(int(held.get(w.name, w.present()).sum()) for w in self.weights)
        return 1 - there / sum(weight.size for weight in self.weights)
