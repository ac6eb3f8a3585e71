"""Training that ends with a network that a chip can hold, in any loop."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.choosing import prune_masks
from snnkit.sparse.pruning.criteria import Criterion, Random
from snnkit.sparse.pruning.dynamic import SparseTraining
from snnkit.sparse.pruning.gradual import GradualPruning
from snnkit.sparse.pruning.masks import masks_of
from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.sparse.spiking.limits import ChipLimits
from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.masks import keep_largest
from snnkit.utilities.schedules import Schedule

__all__ = ["ChipPruning", "ChipTraining", "rewired_within"]


class ChipPruning(GradualPruning):
    """Gradual pruning that also reaches a chip's limits: windows at once, fan-outs and totals by ``end``.

    From the step ``end`` on, the network maps: no neuron has more weights to hidden neurons than the chip
    holds, no bank is overfull, and input and outputs are where the chip has them. Until then, what exceeds
    the chip shrinks along the schedule, so that weights go in the order of their scores and not all at the
    start.

    Args:
        model: a chain of spiking modules, dense or sparse; see :class:`ChipLimits`.
        optimizer: of the training.
        sparsity: the share that is gone in the end; 0 prunes no more than the chip demands.
        chip: name, part number or table entry.
        end, begin, schedule, every, criterion, allocation, names, exclude, minimum: as for
            :class:`~snnkit.sparse.pruning.GradualPruning`. What is excluded keeps all its weights.

    Raises:
        ConfigurationError: as ``GradualPruning``; the model is no such chain, or its layers alone exceed the
            chip; weights that the chip limits are excluded.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sparsity: float,
        chip: str | Chip,
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
        self.limits = ChipLimits.of(model, chip)
        self._everything = prunable_weights(model)
        _refuse_excluded(self.limits, self._everything, prunable_weights(model, names, exclude))
        super().__init__(
            model,
            optimizer,
            sparsity,
            end=end,
            begin=begin,
            schedule=schedule,
            every=every,
            criterion=criterion,
            allocation=allocation,
            names=names,
            exclude=exclude,
            minimum=minimum,
        )
        inside = self.limits.windows({weight.name: weight.present() for weight in self._everything})
        self._set(self._changed(inside))
        self._excess = self.limits.excess(self._present())

    def _present(self) -> dict[str, Tensor]:
        """Return what is there of all weights."""
        held = self.masks
        return {w.name: held.get(w.name, w.present()) for w in self._everything}

    def _changed(self, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the masks that are not those of the weights that are there."""
        present = self._present()
        return {name: mask for name, mask in masks.items() if not torch.equal(mask, present[name])}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the pruning, and by how much the net exceeded the chip at the start."""
        return {**super().state_dict(), "excess": self._excess}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._excess = tuple(state["excess"])

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        super()._after(optimizer, args, kwargs)
        if not self._is_due():
            return
        left = 1 - self.schedule.progress(self.steps)
        allowed = (int(self._excess[0] * left), int(self._excess[1] * left))
        present = self._present()
        fan_out, bank = self.limits.excess(present)
        if fan_out > allowed[0] or bank > allowed[1]:
            self._set(
                self._changed(self.limits.within(present, self._scores(), allowed, self._options["minimum"]))
            )

    def _scores(self) -> dict[str, Tensor]:
        """Return the criterion's scores, from 0 on, of all weights."""
        criterion: Any = self._options["criterion"]
        model = copy.deepcopy(self._model) if criterion.runs_model else self._model
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            found = criterion(model, prunable_weights(model))
        scores = {}
        for name, score in found.items():
            finite = score[torch.isfinite(score)]
            low = float(finite.min()) if len(finite) else 0.0
            scores[name] = (score.detach() - min(low, 0.0)).nan_to_num(neginf=0.0).clamp(min=0)
        return scores


class ChipTraining(SparseTraining):
    """Sparse training (RigL, SET) that never leaves a chip's limits, from the first step to the last.

    Args:
        model: a chain of spiking modules, dense or sparse; see :class:`ChipLimits`.
        optimizer: of the training.
        sparsity: the share that is not there, or more if the chip holds less; None starts from what is there
            now, as far as the chip holds it.
        chip: name, part number or table entry.
        end, method, allocation, every, fraction, seed, minimum: as for
            :class:`~snnkit.sparse.pruning.SparseTraining`.

    Raises:
        ConfigurationError: as ``SparseTraining``; the model is no such chain, or its layers alone exceed the
            chip.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sparsity: float | None,
        chip: str | Chip,
        *,
        end: int,
        method: str = "rigl",
        allocation: str = "erk",
        every: int = 100,
        fraction: float = 0.3,
        seed: int = 0,
        minimum: int = 1,
    ) -> None:
        self.limits = ChipLimits.of(model, chip)
        weights = prunable_weights(model)
        start = masks_of(model)
        if sparsity is not None:
            start = prune_masks(model, sparsity, Random(seed), allocation, minimum=minimum)
        chosen = Random(seed) if sparsity is not None else None
        scores = {w.name: w.dense().abs() for w in weights} if chosen is None else chosen(model, weights)
        # What a sparse layer does not store scores -inf.
        start = self.limits.within(
            start, {name: score.clamp(min=0) for name, score in scores.items()}, minimum=minimum
        )
        super().__init__(
            model,
            optimizer,
            end=end,
            method=method,
            every=every,
            fraction=fraction,
            seed=seed,
            minimum=minimum,
            masks=start,
        )

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        self._current = {**{w.name: w.present() for w in self.weights}, **self.masks}
        super()._after(optimizer, args, kwargs)

    def _chosen(
        self, weight: PrunableWeight, mask: Tensor, magnitude: Tensor, growth: Tensor, fraction: float
    ) -> Tensor:
        places = self.limits.windows({weight.name: torch.ones_like(mask)})[weight.name]

        def room(kept: Tensor) -> Tensor | None:
            return self.limits.room(weight.name, kept, self._current)

        found = rewired_within(mask, magnitude, growth, fraction, places, room)
        self._current[weight.name] = found  # matrices of one source share its fan-out
        return found


def rewired_within(  # noqa: PLR0917
    mask: Tensor,
    magnitude: Tensor,
    growth: Tensor,
    fraction: float,
    places: Tensor,
    room: Callable[[Tensor], Tensor | None],
) -> Tensor:
    """Return a mask ``(sources, targets)`` with as many weights, some at other places that are allowed.

    As :func:`~snnkit.sparse.pruning.rewired`, but weights grow in ``places`` only, and no more of a source
    than it has room for. Where there is too little room, the smallest weights stay.

    Args:
        mask: where weights are.
        magnitude: of the weights.
        growth: the worth of places.
        fraction: of the weights that move, 0 to 1.
        places: where weights may be.
        room: ``room(kept)`` returns how many more weights each source may have, or None for any number.
    """
    there = int(mask.sum())
    moving = min(round(fraction * there), int((places & ~mask).sum()))
    kept = keep_largest(magnitude.masked_fill(~mask, -torch.inf), there - moving)
    worth = growth.masked_fill(mask | ~places, -torch.inf)
    left = room(kept)
    if left is not None:
        order = torch.argsort(worth, dim=1, descending=True, stable=True)
        ranks = torch.argsort(order, dim=1)
        worth = worth.masked_fill(ranks >= left[:, None], -torch.inf)
    grown = keep_largest(worth, moving) & (worth > -torch.inf)
    missing = moving - int(grown.sum())
    if missing:
        # Weights that were to go stay, the largest first; their sources had room for them before.
        back = keep_largest(magnitude.masked_fill(~mask | kept, -torch.inf), missing)
        grown = grown | back
        if left is not None and bool((grown.sum(1) > left).any()):
            return mask
    return kept | grown


def _refuse_excluded(
    limits: ChipLimits, everything: Sequence[PrunableWeight], weights: Sequence[PrunableWeight]
) -> None:
    """Raise if weights that the chip limits are not among those to be pruned."""
    present = {weight.name: weight.present() for weight in everything}
    cut = limits.within(present, {name: torch.ones(mask.shape) for name, mask in present.items()})
    limited = {name for name, mask in cut.items() if not torch.equal(mask, present[name])}
    missing = sorted(limited - {weight.name for weight in weights})
    if missing:
        raise ConfigurationError(
            f"{limits.chip.title} ({limits.chip.name}) limits {', '.join(missing)}, which are excluded from "
            "pruning: include them."
        )
