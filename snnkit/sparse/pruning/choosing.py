"""Which weights of a whole model stay: by a criterion and a share, or by a pattern."""

import copy
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from snnkit.sparse.pruning.allocation import ALLOCATIONS, allocate, apportion, kept_total
from snnkit.sparse.pruning.criteria import Criterion, criterion_named
from snnkit.sparse.pruning.masks import Masks, apply_masks, check_masks
from snnkit.sparse.pruning.patterns import Pattern
from snnkit.sparse.pruning.weights import PrunableWeight, prunable_weights
from snnkit.utilities.errors import ConfigurationError, unknown_key_message
from snnkit.utilities.masks import keep_largest, largest_of_columns

__all__ = ["pattern_masks", "prune_masks", "prune_weights"]

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
    if not (isinstance(sparsity, int | float) and 0 <= sparsity < 1):
        problems.append(f"sparsity is {sparsity!r}; it is a share from 0 to 1, without 1.")
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
