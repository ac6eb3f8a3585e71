"""Masks for whole models: chosen by a criterion, checked, applied."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.allocation import ALLOCATIONS, allocate, apportion, kept_total
from snnkit.sparse.pruning.criteria import Criterion, criterion_named
from snnkit.sparse.pruning.patterns import Pattern
from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.utilities.errors import ConfigurationError, unknown_key_message
from snnkit.utilities.masks import keep_largest, largest_of_columns

__all__ = [
    "Masks",
    "Sparsity",
    "apply_masks",
    "check_masks",
    "masks_of",
    "pattern_masks",
    "prune_masks",
    "prune_weights",
    "sparsity_of",
]

Masks = dict[str, Tensor]
"""Bool tensors of the dense shapes by the names of the weights, True to keep."""

_LAYOUTS = (*ALLOCATIONS, "output")


def prune_masks(
    model: nn.Module,
    sparsity: float,
    criterion: str | Criterion = "magnitude",
    allocation: str = "global",
    *,
    names: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    minimum: int = 1,
    within: Mapping[str, Tensor] | None = None,
) -> Masks:
    """Choose the weights that stay; the model is not changed.

    All but ``round(sparsity * n)`` of the ``n`` weights in question are kept, exactly, over all layers
    together. Of equal scores the first in the order of the model stay.

    Args:
        model: Any module; sparse layers may lose weights that they have.
        sparsity: The share that goes, 0 to 1 without 1, of the weights as dense tensors.
        criterion: ``"magnitude"``, ``"random"``, or an instance such as ``Snip(loss)``.
        allocation: ``"global"``, ``"local"``, ``"er"``, ``"erk"``: see :func:`allocate`. ``"output"``: the
            same share of each layer and, in it, of each target, up to one weight.
        names: Only these weights, or those in these modules.
        exclude: Not these: they stay as they are and do not count.
        minimum: Weights that each layer keeps at least.
        within: Masks that were chosen before: what they drop stays dropped.

    Raises:
        ConfigurationError: with everything that is wrong: a sparsity outside its range, one that leaves
            nothing, unknown names, a criterion without its data, scores that are not finite.
        DataError: the criterion's data cannot be used.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> masks = prune_masks(model, 0.75)
        >>> sum(int(mask.sum()) for mask in masks.values())
        48
    """
    chosen, weights = _checked(model, sparsity, criterion, allocation, names, exclude, minimum)
    kept = {} if within is None else check_masks(weights, within)
    total = kept_total(sum(weight.size for weight in weights), sparsity)
    if total < 1:
        size = sum(weight.size for weight in weights)
        raise ConfigurationError(
            f"A sparsity of {sparsity} leaves none of {size} weights. The most that leaves one is "
            f"{1 - 1 / size:g}."
        )
    if chosen.runs_model:
        model = copy.deepcopy(model)
        weights = prunable_weights(model, [weight.name for weight in weights])
    with torch.random.fork_rng(devices=[]):
        return _in_rounds(model, weights, chosen, allocation, total, minimum, kept)


def _checked(  # noqa: PLR0917
    model: nn.Module,
    sparsity: float,
    criterion: str | Criterion,
    allocation: str,
    names: Sequence[str] | None,
    exclude: Sequence[str],
    minimum: int,
) -> tuple[Criterion, tuple[PrunableWeight, ...]]:
    problems: list[str] = []
    if not 0 <= sparsity < 1:
        problems.append(f"sparsity is {sparsity}; it is a share from 0 to 1, without 1.")
    if allocation not in _LAYOUTS:
        problems.append(unknown_key_message("allocation", allocation, _LAYOUTS))
    if minimum < 0 or int(minimum) != minimum:
        problems.append(f"minimum is {minimum}; it counts weights, so a whole number of 0 or more.")
    try:
        found = criterion_named(criterion)
    except ConfigurationError as error:
        problems.append(str(error))
    try:
        weights = prunable_weights(model, names, exclude)
    except ConfigurationError as error:
        problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found, weights


def _in_rounds(  # noqa: PLR0917
    model: nn.Module,
    weights: Sequence[PrunableWeight],
    criterion: Criterion,
    allocation: str,
    total: int,
    minimum: int,
    kept: Masks,
) -> Masks:
    """Prune in the criterion's rounds, with new scores in each; densities fall geometrically."""
    size = sum(weight.size for weight in weights)
    for done in range(1, criterion.rounds + 1):
        last = done == criterion.rounds
        found = _comparable(_finite(weights, criterion(model, weights), kept))
        there = sum(int((score > -math.inf).sum()) for score in found.values())
        aim = (
            total
            if last
            else min(there, max(total, round(size * (total / size) ** (done / criterion.rounds))))
        )
        kept = _choose(weights, found, allocation, aim, minimum)
        if not last:
            for weight in weights:
                weight.restrict(kept[weight.name])
    return kept


def _finite(weights: Sequence[PrunableWeight], scores: Mapping[str, Tensor], kept: Masks) -> Masks:
    """Return the scores with what was dropped before at -inf; refuse what cannot be compared."""
    problems = []
    result = {}
    for weight in weights:
        score = scores[weight.name].detach()
        here = weight.present().to(score.device)
        if not bool(torch.isfinite(score[here]).all()):
            problems.append(f"{weight.name}: the criterion returned scores that are not finite numbers.")
        if weight.name in kept:
            here = here & kept[weight.name].to(score.device)
        result[weight.name] = score.masked_fill(~here, -math.inf)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return result


def _comparable(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return scores of one type, on one device, that torch can sort."""
    types = {score.dtype for score in scores.values()}
    devices = {score.device for score in scores.values()}
    dtype = torch.float64 if types - {torch.float32, torch.float16, torch.bfloat16} else torch.float32
    device = devices.pop() if len(devices) == 1 else torch.device("cpu")
    return {name: score.to(device, dtype) for name, score in scores.items()}


def _choose(
    weights: Sequence[PrunableWeight],
    scores: Mapping[str, Tensor],
    allocation: str,
    total: int,
    minimum: int,
) -> Masks:
    counts = allocate("local" if allocation == "output" else allocation, scores, total, minimum)
    if allocation != "output":
        return {name: keep_largest(score, counts[name]) for name, score in scores.items()}
    return {w.name: _per_target(w, scores[w.name], counts[w.name]) for w in weights}


def _per_target(weight: PrunableWeight, score: Tensor, count: int) -> Tensor:
    matrix = weight.matrix(score)
    available = [int(n) for n in (matrix > -math.inf).sum(1)]
    shares = apportion([1.0] * len(matrix), count, [0] * len(matrix), available)
    keep = torch.tensor(shares, device=matrix.device)
    return weight.from_matrix(largest_of_columns(matrix.T, keep).T)


def pattern_masks(
    model: nn.Module,
    pattern: Pattern | Mapping[str, Pattern],
    criterion: str | Criterion = "magnitude",
    *,
    names: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> Masks:
    """Choose masks of a pattern, each with the largest score that it allows; the model is not changed.

    Args:
        pattern: For all weights, or by name: :class:`NofM`, :class:`Rows`, :class:`Columns`, :class:`Blocks`,
            :class:`Caps`. Kernels of convolutions count as sources.
        model, criterion, names, exclude: As for :func:`prune_masks`; names default to those of the mapping.

    Raises:
        ConfigurationError: as for :func:`prune_masks`; a mask would be empty.
        ShapeError: the pattern does not fit a weight.
    """
    if isinstance(pattern, Mapping) and names is None:
        names = list(pattern)
    chosen, weights = _checked(model, 0.0, criterion, "local", names, exclude, 0)
    by_name = dict(pattern) if isinstance(pattern, Mapping) else {w.name: pattern for w in weights}
    missing = [weight.name for weight in weights if weight.name not in by_name]
    if missing:
        raise ConfigurationError(f"No pattern is given for {', '.join(missing)}.")
    if chosen.runs_model:
        model = copy.deepcopy(model)
        weights = prunable_weights(model, [weight.name for weight in weights])
    with torch.random.fork_rng(devices=[]):
        scores = _finite(weights, chosen(model, weights), {})
    masks = {w.name: _patterned(w, scores[w.name], by_name[w.name]) for w in weights}
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        raise ConfigurationError(f"The pattern leaves nothing of {', '.join(empty)}.")
    return masks


def _patterned(weight: PrunableWeight, score: Tensor, pattern: Pattern) -> Tensor:
    matrix = weight.matrix(score)
    there = matrix > -math.inf
    low = min(float(matrix[there].min()), 0.0)
    # Scores with a sign only rank: from the least one up they can be summed.
    return weight.from_matrix(pattern(torch.where(there, matrix - low, 0.0)) & there)


def check_masks(weights: Sequence[PrunableWeight], masks: Mapping[str, Tensor]) -> Masks:
    """Return the masks under the first names of their weights.

    Raises:
        ConfigurationError: with all that is wrong: an unknown name, not a bool tensor, another shape, two
            different masks for a shared weight, a mask that leaves nothing.
    """
    by_alias = {alias: weight for weight in weights for alias in weight.aliases}
    problems: list[str] = []
    found: Masks = {}
    for name, mask in masks.items():
        weight = by_alias.get(name)
        if weight is None:
            problems.append(unknown_key_message("weight", name, by_alias))
        elif not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            what = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            problems.append(f"{name}: a mask is a tensor of torch.bool, not {what}.")
        elif mask.shape != weight.shape:
            problems.append(f"{name}: the mask is {tuple(mask.shape)}, the weight {tuple(weight.shape)}.")
        elif not mask.any():
            problems.append(f"{name}: the mask leaves nothing.")
        elif weight.name in found and not torch.equal(found[weight.name], mask):
            problems.append(f"{name} is shared ({', '.join(weight.aliases)}), but the masks differ.")
        else:
            found[weight.name] = mask
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found


def apply_masks(
    model: nn.Module, masks: Mapping[str, Tensor], optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Drop what the masks drop, in place: zeros in dense weights, entries of sparse layers.

    Dense weights are trained back to other values by the next step of an optimiser, unless
    :func:`hold_masks` keeps them at 0.

    Args:
        masks: By name; weights that are not named stay as they are.
        optimizer: Its state of what is dropped is set to 0; needed with sparse layers once it has a state.

    Raises:
        ConfigurationError: see :func:`check_masks`; the model is then unchanged.
    """
    weights = prunable_weights(model, list(masks) or None)
    checked = check_masks(weights, masks)
    for weight in weights:
        if weight.name in checked:
            weight.restrict(
                checked[weight.name] & weight.present().to(checked[weight.name].device), optimizer
            )


def prune_weights(
    model: nn.Module,
    sparsity: float,
    criterion: str | Criterion = "magnitude",
    allocation: str = "global",
    *,
    names: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    minimum: int = 1,
    optimizer: torch.optim.Optimizer | None = None,
) -> Masks:
    """Prune a model in place and return the masks: :func:`prune_masks`, then :func:`apply_masks`."""
    masks = prune_masks(model, sparsity, criterion, allocation, names=names, exclude=exclude, minimum=minimum)
    apply_masks(model, masks, optimizer)
    return masks


def masks_of(model: nn.Module, names: Sequence[str] | None = None, exclude: Sequence[str] = ()) -> Masks:
    """Return where a model has weights: not 0 in dense ones, stored in sparse layers."""
    return {weight.name: weight.mask() for weight in prunable_weights(model, names, exclude)}


@dataclass(frozen=True)
class Sparsity:
    """How many weights are left.

    Args:
        layers: By name: kept and all.
    """

    layers: dict[str, tuple[int, int]]

    @property
    def kept(self) -> int:
        """Weights that are left."""
        return sum(kept for kept, _ in self.layers.values())

    @property
    def size(self) -> int:
        """Weights of the dense model."""
        return sum(size for _, size in self.layers.values())

    @property
    def sparsity(self) -> float:
        """The share that is gone."""
        return 1 - self.kept / self.size

    def __str__(self) -> str:
        rows = [*self.layers.items(), ("all", (self.kept, self.size))]
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            f"{name:<{width}} {kept:>12,} of {size:>12,}  {1 - kept / size:7.2%} sparse"
            for name, (kept, size) in rows
        )


def sparsity_of(
    model: nn.Module, names: Sequence[str] | None = None, exclude: Sequence[str] = ()
) -> Sparsity:
    """Count a model's weights that are not 0, or that its sparse layers store; see :class:`Sparsity`."""
    masks = masks_of(model, names, exclude)
    return Sparsity({name: (int(mask.sum()), mask.numel()) for name, mask in masks.items()})
