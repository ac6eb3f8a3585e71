"""Dynamic sparse training: the weights that are there change places while their number stays."""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.sparse import SparsityError, dense_gradients
from snnkit.sparse.pruning.choosing import prune_masks
from snnkit.sparse.pruning.criteria import Random
from snnkit.sparse.pruning.holding import MaskHolder
from snnkit.sparse.pruning.masks import check_masks
from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.utilities.errors import ConfigurationError, unknown_key_message
from snnkit.utilities.masks import keep_largest

__all__ = ["SparseTraining", "rewired"]

_METHODS = ("rigl", "set")


def rewired(mask: Tensor, magnitude: Tensor, growth: Tensor, fraction: float) -> Tensor:
    """Return a mask with as many weights, some at other places.

    The share ``fraction`` of the weights that are there, those of the smallest magnitude, makes room for as
    many of the places without a weight, those of the largest growth. Fewer change if there are fewer places.

    Args:
        mask: Where weights are.
        magnitude: Of the weights, of the mask's shape.
        growth: The worth of places, such as the size of the gradient there.
        fraction: 0 to 1.
    """
    there = int(mask.sum())
    moving = min(round(fraction * there), mask.numel() - there)
    kept = keep_largest(magnitude.masked_fill(~mask, -math.inf), there - moving)
    grown = keep_largest(growth.masked_fill(mask, -math.inf), moving)
    return kept | grown


class SparseTraining(MaskHolder):
    """Train a model that is sparse from the start, in any training loop: follows the steps of the optimiser.

    After every ``every`` steps each layer drops its smallest weights and grows as many: ``"rigl"`` where the
    gradient of a dense layer would be largest (U. Evci et al., "Rigging the lottery", 2020), ``"set"`` at
    random (D. Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse
    connectivity", 2018, with the smallest magnitudes dropped). New weights start at 0, as does their state
    in the optimiser; the others keep both. Sparse layers compute a dense gradient only in the steps after
    which RigL grows.

    Args:
        model: Any module. Dense weights are held at zeros; layers of :class:`~snnkit.sparse.SparseLayer` move
            their entries.
        optimizer: Of the training.
        sparsity: The share that is not there. None takes what is there now, zeros of dense weights
            excepted.
        method: ``"rigl"`` or ``"set"``.
        allocation: Of the random start: ``"erk"``, ``"er"``, ``"local"``. Sparse layers keep what they store.
        every: Steps between two changes.
        fraction: Of a layer's weights that move at first; falls to 0 along half a cosine until ``end``.
        end: The step from which nothing moves; RigL's authors stop after three quarters of the training.
        seed: Of the start and of SET.
        names, exclude, minimum: As for :func:`~snnkit.sparse.pruning.prune_masks`.
        masks: The start, instead of a random one.

    Raises:
        ConfigurationError: with all that is wrong.
        SparsityError: in training, when weights or gradients are no longer finite.

    Example:
        >>> from snnkit.sparse.pruning import masks_of
        >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        >>> optimizer = torch.optim.Adam(model.parameters())
        >>> with SparseTraining(model, optimizer, 0.8, every=5, end=30):
        ...     for _ in range(40):
        ...         optimizer.zero_grad()
        ...         model(torch.randn(4, 8)).square().sum().backward()
        ...         optimizer.step()
        >>> sum(int(mask.sum()) for mask in masks_of(model).values())
        64
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        sparsity: float | None = None,
        *,
        end: int,
        method: str = "rigl",
        allocation: str = "erk",
        every: int = 100,
        fraction: float = 0.3,
        seed: int = 0,
        names: Sequence[str] | None = None,
        exclude: Sequence[str] = (),
        minimum: int = 1,
        masks: Mapping[str, Tensor] | None = None,
    ) -> None:
        _check(method, every, fraction, end, sparsity, masks)
        weights = prunable_weights(model, names, exclude)
        if masks is None:
            masks = _start(model, weights, sparsity, allocation, seed, minimum)
        masks = check_masks(weights, masks)
        self.method, self.every, self.fraction, self.end = method, every, fraction, end
        self._model = model
        self._generator = torch.Generator().manual_seed(seed)
        self._gradients: dict[str, Tensor] = {}
        self._watching = ExitStack()
        super().__init__(weights, masks, optimizer)
        self._watch()

    def remove(self) -> None:
        """Stop; weights stay as they are."""
        self._watching.close()
        super().remove()

    def state_dict(self) -> dict[str, Any]:
        """Return steps, masks and the state of the generator."""
        return {**super().state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        super().load_state_dict(state)
        self._generator.set_state(state["generator"])
        self._watch()

    def _grows_after(self, step: int) -> bool:
        return step % self.every == 0 and step < self.end

    def _watch(self) -> None:
        """Have sparse layers compute the gradient at all places, if the next step is one that grows."""
        self._watching.close()
        self._caught: Any = None
        if (
            self.method == "rigl"
            and self._grows_after(self.steps + 1)
            and any(w.stored for w in self.weights)
        ):
            self._caught = self._watching.enter_context(dense_gradients(self._model))

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if self.method == "rigl" and self._grows_after(self.steps + 1):
            self._gradients = {w.name: g for w in self.weights if (g := self._dense_gradient(w)) is not None}
        super()._before(optimizer, args, kwargs)

    def _dense_gradient(self, weight: PrunableWeight) -> Tensor | None:
        if weight.stored:
            found = self._caught.get(weight.module) if self._caught is not None else None
            return None if found is None else found.detach().abs()
        gradient = weight.parameter.grad
        return None if gradient is None else gradient.detach().abs()

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        super()._after(optimizer, args, kwargs)
        self._watching.close()
        if self._grows_after(self.steps):
            fraction = self.fraction / 2 * (1 + math.cos(math.pi * self.steps / self.end))
            masks = self.masks
            moved = {w.name: self._moved(w, masks[w.name], fraction) for w in self.weights if w.name in masks}
            self._set(moved)
        self._gradients = {}
        self._watch()

    def _moved(self, weight: PrunableWeight, mask: Tensor, fraction: float) -> Tensor:
        growth = self._gradients.get(weight.name)
        if self.method == "set":
            growth = torch.rand(weight.shape, generator=self._generator).to(mask.device)
        if growth is None:  # the layer took no part in this step
            return mask
        magnitude = weight.dense().abs()
        if not (torch.isfinite(magnitude).all() and torch.isfinite(growth).all()):
            raise SparsityError(
                f"{weight.name}: weights or gradients are not finite at step {self.steps}, so there is "
                "nothing to choose by. The training diverged: try a smaller learning rate, or clip gradients."
            )
        return self._chosen(weight, mask, magnitude.float(), growth.float(), fraction)

    def _chosen(
        self, weight: PrunableWeight, mask: Tensor, magnitude: Tensor, growth: Tensor, fraction: float
    ) -> Tensor:
        """Return the next mask of a weight; see :func:`rewired`."""
        return rewired(mask, magnitude, growth, fraction)


def _start(  # noqa: PLR0917
    model: nn.Module,
    weights: Sequence[PrunableWeight],
    sparsity: float | None,
    allocation: str,
    seed: int,
    minimum: int,
) -> dict[str, Tensor]:
    if sparsity is None:
        return {weight.name: weight.mask() for weight in weights}
    names = [weight.name for weight in weights]
    return prune_masks(model, sparsity, Random(seed), allocation, names=names, minimum=minimum)


def _check(  # noqa: PLR0917
    method: str, every: int, fraction: float, end: int, sparsity: float | None, masks: object
) -> None:
    problems = []
    if method not in _METHODS:
        problems.append(unknown_key_message("method of sparse training", method, _METHODS))
    if not 0 < fraction <= 1:
        problems.append(f"fraction is {fraction}; it is a share above 0, up to 1.")
    for name, value in (("every", every), ("end", end)):
        if value < 1 or int(value) != value:
            problems.append(f"{name} is {value}; it counts steps, so a whole number of 1 or more.")
    if sparsity is not None and masks is not None:
        problems.append("Either a sparsity or masks give the start, not both.")
    if problems:
        raise ConfigurationError("\n".join(problems))
