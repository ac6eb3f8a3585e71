"""Which channels remain: ranking within groups or over all, down to ratios or a budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from snnkit.dag.channels import Coupling, Group
from snnkit.dag.pruning.costs import COSTS, CostModel
from snnkit.dag.pruning.importance import Scores
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Keep", "Plan", "choose", "eligible"]

_RANKINGS = ("local", "global")
_NORMALISERS = ("mean", "max", "none")
_KINDS = ("channels", "heads", "head channels", "groups")

Keep = dict[Group, NDArray[np.bool_]]


@dataclass(frozen=True)
class Plan:
    """How many channels are dropped, and where.

    Args:
        ratio: Share of the channels to drop, of each group (local) or of all together (global).
        ratios: Other shares for single groups, by the name of a parameter whose first axis belongs to them.
        budget: Upper bounds on ``parameters``, ``macs`` or ``kmapp``: a share of the original up to 1, or a
            number above. As many channels go as it takes; then ``ratio`` must not be given.
        ranking: ``"local"``, every group loses its least important channels; ``"global"``, the least
            important of the whole model go.
        normalise: What scores of a group are divided by before a global ranking: ``"mean"``, ``"max"``,
            ``"none"``.
        block_size: Remaining channels are a multiple of this, as far as the group has so many.
        max_ratio: No group loses more than this share.
        kinds: Kinds of groups to prune, of ``channels``, ``heads``, ``head channels``, ``groups``.
        soft: Whether channels may be dropped where that differs from setting weights to zero, as it does
            where a norm runs over them.
        fold_weights: Whether weights that the model computes from its parameters in each call (standardised
            ones, weight norm) become parameters, where that computation keeps channels from being dropped
            exactly. The smaller model then trains the weights themselves; see
            :func:`snnkit.dag.editing.fold_weights`.
        ignore: Names of parameters whose groups are left alone.
        only: Names of parameters; then only their groups are pruned.

    Raises:
        ConfigurationError: unknown names, shares outside of 0 to 1, ratio and budget together or neither.
    """

    ratio: float | None = None
    ratios: Mapping[str, float] = field(default_factory=dict)
    budget: Mapping[str, float] = field(default_factory=dict)
    ranking: str = "local"
    normalise: str = "mean"
    block_size: int = 1
    max_ratio: float = 0.9
    kinds: tuple[str, ...] = _KINDS
    soft: bool = False
    fold_weights: bool = False
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            unknown_key_message(kind, name, known)
            for kind, names, known in (
                ("ranking", [self.ranking], _RANKINGS),
                ("normaliser", [self.normalise], _NORMALISERS),
                ("kind of group", self.kinds, _KINDS),
                ("cost", self.budget, COSTS),
            )
            for name in names
            if name not in known
        ]
        shares = {"ratio": self.ratio, "max_ratio": self.max_ratio, **self.ratios}
        problems += [
            f"{name} is {share}; it must be from 0 to below 1 (1 for max_ratio)."
            for name, share in shares.items()
            if share is not None and not (0 <= share < 1 or (name == "max_ratio" and share == 1))
        ]
        problems += [
            f"The budget of {n} is {b}; it must be above 0." for n, b in self.budget.items() if b <= 0
        ]
        if self.block_size < 1:
            problems.append(f"block_size is {self.block_size}; it must be at least 1.")
        if self.ratio is not None and self.budget:
            problems.append("Give either a ratio or a budget: with a budget as many channels go as it takes.")
        if self.ratio is None and not self.budget and not self.ratios:
            problems.append("Say how much to prune: ratio=0.5, ratios={...} or budget={'macs': 0.5}.")
        if problems:
            raise ConfigurationError("\n".join(problems))


def choose(plan: Plan, coupling: Coupling, scores: Scores, cost_model: CostModel) -> Keep:
    """Return, for the groups that lose channels, which remain, ``(size,)``.

    Raises:
        ConfigurationError: the budget cannot be met; a named parameter has no prunable group.
    """
    own = {group: ratio for name, ratio in plan.ratios.items() for group in _groups_named(coupling, name)}
    free = [group for group in eligible(plan, coupling) if group in scores]
    fixed = {group: _count(plan, group, group.size * (1 - own[group])) for group in free if group in own}
    free = [group for group in free if group not in own]
    ranker = _Ranker(plan, free, scores)
    if plan.budget:
        counts = _down_to_budget(plan, ranker, fixed, cost_model)
    else:
        counts = {**ranker.counts(plan.ratio or 0.0), **fixed}
    return {group: _strongest(scores[group], count) for group, count in counts.items() if count < group.size}


def eligible(plan: Plan, coupling: Coupling) -> list[Group]:
    """Return the groups that a plan lets be pruned."""
    ignored = {group for name in plan.ignore for group in _groups_named(coupling, name)}
    wanted = {group for name in plan.only for group in _groups_named(coupling, name)}
    return [
        group
        for group in coupling.prunable
        if group.kind in plan.kinds
        and group not in ignored
        and (plan.soft or group.exact)
        and (not plan.only or group in wanted)
    ]


def _groups_named(coupling: Coupling, name: str) -> tuple[Group, ...]:
    found = tuple(group for group in coupling.groups_of(name, 0) if group.prunable)
    if not found:
        reasons = "; ".join(coupling.why(name, 0)) or "it has one index"
        raise ConfigurationError(f"No channel of {name!r} can be dropped: {reasons}.")
    return found


def _count(plan: Plan, group: Group, wanted: float) -> int:
    """Round a number of channels to the block size, within what may be dropped."""
    lowest = max(1, int(np.ceil(group.size * (1 - plan.max_ratio) - 1e-9)))
    count = max(lowest, round(wanted))
    blocks = -(-count // plan.block_size) * plan.block_size
    return min(group.size, blocks)


def _strongest(scores: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    keep = np.zeros(len(scores), bool)
    # Stable, so that of equal channels the first remain.
    keep[np.argsort(-scores, kind="stable")[:count]] = True
    return keep


class _Ranker:
    """Turns a share to drop into numbers of channels that remain."""

    def __init__(self, plan: Plan, groups: list[Group], scores: Scores) -> None:
        self._plan, self._groups = plan, groups
        self._ranks: NDArray[np.intp] | None = None
        if plan.ranking == "global" and groups:
            values = np.concatenate([self._normalised(scores[group]) for group in groups])
            owner = np.repeat(np.arange(len(groups)), [group.size for group in groups])
            self._ranks = owner[np.argsort(values, kind="stable")]

    def _normalised(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        by = {"mean": scores.mean(), "max": scores.max(), "none": 1.0}[self._plan.normalise]
        return scores / by if by > 0 else scores

    def counts(self, share: float) -> dict[Group, int]:
        if self._ranks is None:
            return {g: _count(self._plan, g, g.size * (1 - share)) for g in self._groups}
        dropped = np.bincount(self._ranks[: round(share * len(self._ranks))], minlength=len(self._groups))
        return {
            group: _count(self._plan, group, group.size - int(lost))
            for group, lost in zip(self._groups, dropped, strict=True)
        }


def _down_to_budget(
    plan: Plan, ranker: _Ranker, fixed: dict[Group, int], cost_model: CostModel
) -> dict[Group, int]:
    whole = {name: cost_model.of(name, {}) for name in plan.budget}
    limits = {name: bound * whole[name] if bound <= 1 else bound for name, bound in plan.budget.items()}

    def met(counts: dict[Group, int]) -> bool:
        return all(cost_model.of(name, counts) <= limit for name, limit in limits.items())

    everything = {**ranker.counts(1.0), **fixed}
    if not met(everything):
        found = {name: cost_model.of(name, everything) for name in limits}
        lines = [f"{name}: {limits[name]:g} asked, {found[name]:g} reachable" for name in limits]
        raise ConfigurationError(
            "The budget cannot be met: "
            + "; ".join(lines)
            + ". Raise max_ratio, allow soft groups, fold computed weights, or ask for less."
        )
    low, high = 0.0, 1.0
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (low, middle) if met({**ranker.counts(middle), **fixed}) else (middle, high)
    return {**ranker.counts(high), **fixed}
