"""Pruning a model in one call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from snnkit.dag.channels import Coupling, Group
from snnkit.dag.dag_module import DagModule
from snnkit.dag.pruning import resizing  # noqa: F401 - registers how layers of torch get smaller
from snnkit.dag.pruning.certificate import Certificate, certify
from snnkit.dag.pruning.costs import CostModel, Costs
from snnkit.dag.pruning.folded import notes_on_weights, prepared
from snnkit.dag.pruning.importance import Importance, Scores, importance_named
from snnkit.dag.pruning.masking import masked
from snnkit.dag.pruning.removal import removable, remove_channels
from snnkit.dag.pruning.selection import Plan, choose
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Pruned", "keep_channels", "prune", "prune_iteratively"]

Keep = Mapping[Group, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Pruned:
    """A smaller model, with what was dropped and the proof.

    Args:
        model: The smaller model.
        original: The model before, as a graph.
        coupling: Its groups of channels.
        keep: Which channels remain, of the groups that lost some.
        before: Costs of the model before.
        after: Costs of the smaller model.
        certificate: What was compared; None with ``verify=False``.
        folded: Paths of weights that the model computed in each call, and that are parameters of
            :attr:`original` and :attr:`model`; see :class:`Plan`.
        fold_difference: How far their folding moved the outputs, relative to the largest; None if nothing
            was folded, or it was not verified.
    """

    model: DagModule
    original: DagModule
    coupling: Coupling
    keep: Keep
    before: Costs
    after: Costs
    certificate: Certificate | None
    folded: tuple[str, ...] = ()
    fold_difference: float | None = None

    def masked(self) -> DagModule:
        """Return the original with the weights of dropped channels at zero."""
        return masked(self.original, self.coupling, self.keep)

    def __str__(self) -> str:
        rows = [f"{'group':<44} {'before':>7} {'after':>6}"]
        for group, mask in self.keep.items():
            label = f"{group.name} ({group.kind})"
            rows.append(f"{label:<44} {group.size:>7} {int(mask.sum()):>6}{'  soft' if group.soft else ''}")
        for name in ("parameters", "macs"):
            one, other = getattr(self.before, name), getattr(self.after, name)
            rows.append(f"{name}: {one:,.0f} -> {other:,.0f} ({other / max(one, 1):.1%})")
        rows.append(str(self.certificate) if self.certificate else "not verified")
        rows += notes_on_weights(self.coupling, self.folded, self.fold_difference)
        return "\n".join(rows)


def _arguments(example_inputs: Any) -> tuple[Any, ...]:
    return tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)


def keep_channels(
    model: nn.Module,
    example_inputs: Any,
    choose_keep: Callable[[DagModule, Coupling, CostModel], Keep],
    *,
    verify: bool = True,
    fold_weights: bool = False,
) -> Pruned:
    """Build the smaller model of the channels that ``choose_keep(graph, coupling, cost_model)`` returns.

    ``fold_weights`` is that of :class:`Plan`.

    Raises:
        PruningError: a group cannot be removed, or the result is not what the masked model computes.
    """
    inputs = _arguments(example_inputs)
    ready = prepared(model, inputs, fold_weights=fold_weights, verify=verify)
    dag, found = ready.graph, ready.coupling
    cost_model = CostModel(found)
    keep = {g: np.asarray(m, bool) for g, m in choose_keep(dag, found, cost_model).items() if not np.all(m)}
    smaller = remove_channels(dag, found, keep)
    certificate = certify(dag, smaller, found, keep, inputs) if verify else None
    counts = {group: int(mask.sum()) for group, mask in keep.items()}
    before, after = cost_model({}), cost_model(counts)
    folding = (ready.folded, ready.difference)
    return Pruned(smaller, dag, found, keep, before, after, certificate, *folding)


def prune(
    model: nn.Module,
    example_inputs: Any,
    plan: Plan,
    importance: str | Importance = "magnitude",
    *,
    verify: bool = True,
) -> Pruned:
    """Drop the least important channels of a model.

    The result is a graph that owns its sizes: it runs, and can be saved and loaded without the model's code.
    It is compared with the model in which the weights of the dropped channels are zero.

    Args:
        model: Any module, or its :class:`~snnkit.dag.DagModule`; it is not changed.
        example_inputs: A tensor or the positional arguments, for spiking models ``(batch, time, channels)``.
        plan: How many channels to drop, and where.
        importance: ``"magnitude"`` (``"l1"``, ``"l2"``), ``"batch_norm"``, ``"random"``, or an instance such
        as
            ``Taylor(loss)`` or ``Activity(inputs)``.
        verify: Run the comparison. It costs a few forward passes in float64.

    Raises:
        ConfigurationError: the plan asks for what cannot be had.
        PruningError: the smaller model is not what the masked model computes.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> pruned = prune(model, torch.randn(1, 4), Plan(ratio=0.5))
        >>> pruned.model(torch.randn(3, 4)).shape, pruned.after.parameters, pruned.certificate.exact
        (torch.Size([3, 2]), 30, True)
    """
    criterion = importance_named(importance)

    def chosen(dag: DagModule, found: Coupling, cost_model: CostModel) -> Keep:
        return choose(plan, found, _scores(criterion, dag, found), cost_model)

    return keep_channels(model, example_inputs, chosen, verify=verify, fold_weights=plan.fold_weights)


def _scores(criterion: Importance, dag: DagModule, found: Coupling) -> Scores:
    stuck = removable(dag, found)
    return {group: values for group, values in criterion(dag, found).items() if group not in stuck}


def prune_iteratively(
    model: nn.Module,
    example_inputs: Any,
    plan: Plan,
    importance: str | Importance = "magnitude",
    *,
    steps: int,
    fine_tune: Callable[[DagModule, int], Any],
    verify: bool = True,
) -> list[Pruned]:
    """Prune in several steps with training between; return what each step left.

    Shares are spread geometrically: after step ``i`` of ``n`` a budget of ``b`` is at ``b ** (i / n)``.

    Args:
        steps: Number of steps.
        fine_tune: ``fine_tune(graph, step)`` trains the smaller graph in place.
        model, example_inputs, plan, importance, verify: As for :func:`prune`. A budget must be a share.

    Raises:
        ConfigurationError: the plan has ratios of single groups, or a budget above 1.
    """
    if plan.ratios or any(bound > 1 for bound in plan.budget.values()):
        raise ConfigurationError(
            "Iterative pruning takes a ratio, or a budget as a share of the original up to 1."
        )
    if steps < 1:
        raise ConfigurationError(f"steps is {steps}; it must be at least 1.")
    results: list[Pruned] = []
    current: nn.Module = model
    for step in range(1, steps + 1):
        one = _one_step(plan, steps)
        results.append(prune(current, example_inputs, one, importance, verify=verify))
        fine_tune(results[-1].model, step)
        current = results[-1].model
    return results


def _one_step(plan: Plan, steps: int) -> Plan:
    ratio = None if plan.ratio is None else 1 - (1 - plan.ratio) ** (1 / steps)
    return replace(
        plan, ratio=ratio, budget={name: bound ** (1 / steps) for name, bound in plan.budget.items()}
    )
