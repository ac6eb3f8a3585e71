"""Pruning that is learned with the weights: a gate per channel, pushed towards a budget."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from snnkit.dag.analysis.copying import plain_path
from snnkit.dag.channels import Coupling, Group, coupling
from snnkit.dag.dag_module import DagModule
from snnkit.dag.pruning.costs import CostModel
from snnkit.dag.pruning.folded import prepared
from snnkit.dag.pruning.prune import Pruned, keep_channels
from snnkit.dag.pruning.removal import removable
from snnkit.dag.pruning.selection import Keep, Plan, choose, eligible
from snnkit.utilities.errors import ConfigurationError

__all__ = ["GateSettings", "LearnedPruning"]


@dataclass(frozen=True)
class GateSettings:
    """How gates are learned.

    Args:
        total_steps: Training steps after which the losses on gates have their full weight; it grows as
            ``1 - 0.1 ** (step / total_steps)``.
        temperature: Of the relaxed Bernoulli gates; lower is harder.
        initial: First logit of all gates; 3 leaves 95 % of a channel.
        cost_weight: Weight of ``|cost / budget - 1|``.
        decision_weight: Weight of ``4 g (1 - g)``, which makes gates decide between 0 and 1.
        distillation_weight: Weight of the mean squared distance to the outputs of the model as it was.
        seed: Of the gates' noise.
    """

    total_steps: int = 1000
    temperature: float = 0.5
    initial: float = 3.0
    cost_weight: float = 2.0
    decision_weight: float = 1.0
    distillation_weight: float = 0.0
    seed: int = 0


class LearnedPruning(nn.Module):
    """A model whose channels have gates; train its parameters with ``task loss + gates.loss(step)``.

    In training mode a gate is a relaxed Bernoulli variable (Maddison et al. 2017, "The Concrete
    distribution") that multiplies what reads the channel; in evaluation mode the most open gates are 1 and
    the others 0, so that what is measured is what :meth:`finish` returns. Weights learn along with the gates:
    give :meth:`parameter_groups` to the optimiser; gates take a learning rate of about 0.1 with Adam.

    Args:
        model: Any module, or its graph; the weights that are trained are those of a copy.
        example_inputs: A tensor or the positional arguments.
        plan: Its budget is what the gates are pushed to; ``kinds``, ``ignore``, ``only`` and ``soft`` choose
            the groups that get gates.
        settings: See :class:`GateSettings`.

    Raises:
        ConfigurationError: the plan has no budget, or no group may be pruned.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gated = LearnedPruning(net, torch.randn(1, 4), Plan(budget={"macs": 0.5}))
        >>> optimiser = torch.optim.Adam(gated.parameter_groups(weight_lr=1e-3, gate_lr=0.1))
        >>> loss = gated(torch.randn(8, 4)).square().mean() + gated.loss(step=0)
    """

    def __init__(
        self, model: nn.Module, example_inputs: Any, plan: Plan, settings: GateSettings | None = None
    ) -> None:
        super().__init__()
        if not plan.budget:
            raise ConfigurationError("Learned pruning needs a budget, such as Plan(budget={'macs': 0.5}).")
        self.plan, self.settings = plan, settings or GateSettings()
        self.example_inputs = (
            tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)
        )
        ready = prepared(model, self.example_inputs, fold_weights=plan.fold_weights)
        original = ready.graph
        self._folded: dict[str, Any] = {"folded": ready.folded, "fold_difference": ready.difference}
        self.graph: DagModule = original.copy()
        self.coupling: Coupling = coupling(self.graph, self.example_inputs)
        stuck = removable(self.graph, self.coupling)
        self.groups = [group for group in eligible(plan, self.coupling) if group not in stuck]
        if not self.groups:
            raise ConfigurationError("The plan leaves no group of channels to prune.")
        self._cost_model = CostModel(self.coupling)
        whole = {name: self._cost_model.of(name, {}) for name in plan.budget}
        self._limits = {n: bound * whole[n] if bound <= 1 else bound for n, bound in plan.budget.items()}
        self.logits = nn.ParameterList(
            nn.Parameter(torch.full((group.size,), float(self.settings.initial))) for group in self.groups
        )
        self._names = {plain_path(name): name for name, _ in nn.Module.named_parameters(self.graph)}
        self._generator = torch.Generator().manual_seed(self.settings.seed)
        self._teacher = original.copy().eval() if self.settings.distillation_weight else None
        self._distance: Tensor | None = None

    def parameter_groups(self, weight_lr: float, gate_lr: float) -> list[dict[str, Any]]:
        """Return the two groups for an optimiser; gates are not decayed."""
        weights = list(nn.Module.parameters(self.graph))
        return [
            {"params": weights, "lr": weight_lr},
            {"params": list(self.logits), "lr": gate_lr, "weight_decay": 0.0},
        ]

    def forward(self, *inputs: Any) -> Any:
        """Run the model with its gates."""
        outputs = torch.func.functional_call(self.graph, self._gated_weights(), inputs)
        if self._teacher is not None and self.training:
            with torch.no_grad():
                expected = self._teacher(*inputs)
            self._distance = _mean_squared_distance(outputs, expected)
        return outputs

    def gates(self) -> dict[Group, Tensor]:
        """Return the gates of the next run, ``(size,)``: drawn in training mode, 0 or 1 in evaluation."""
        if not self.training:
            keep = self._decided()
            return {
                group: torch.from_numpy(keep.get(group, np.ones(group.size, bool))).to(logits)
                for group, logits in zip(self.groups, self.logits, strict=True)
            }
        return {group: self._drawn(logits) for group, logits in zip(self.groups, self.logits, strict=True)}

    def _drawn(self, logits: Tensor) -> Tensor:
        uniform = torch.rand(logits.shape, generator=self._generator).clamp(1e-6, 1 - 1e-6)
        noise = (uniform.log() - (1 - uniform).log()).to(logits)
        return torch.sigmoid((logits + noise) / self.settings.temperature)

    def _gated_weights(self) -> dict[str, Tensor]:
        tensors = dict(nn.Module.named_parameters(self.graph))
        weights: dict[str, Tensor] = {}
        for group, gate in self.gates().items():
            for member in _gated_members(group):
                name = self._names.get(member.name)
                if name is not None:
                    index = torch.zeros(member.length, dtype=torch.long, device=gate.device)
                    index[torch.from_numpy(member.positions)] = torch.arange(group.size, device=gate.device)[
                        :, None
                    ]
                    own = torch.zeros(member.length, dtype=torch.bool, device=gate.device)
                    own[torch.from_numpy(member.positions)] = True
                    factor = torch.where(own, gate[index], 1.0)
                    tensor = weights.get(name, tensors[name])
                    shape = [-1 if axis == member.axis else 1 for axis in range(tensor.ndim)]
                    weights[name] = tensor * factor.view(shape).to(tensor)
        return weights

    def expected_cost(self, name: str) -> Tensor:
        """Return a cost with every channel counted by the probability that it stays."""
        counts = {
            group: torch.sigmoid(logits).sum() for group, logits in zip(self.groups, self.logits, strict=True)
        }
        return torch.as_tensor(self._cost_model.of(name, counts))

    def loss(self, step: int) -> Tensor:
        """Return what is to be added to the task's loss in training step ``step``."""
        settings = self.settings
        anneal = 1 - 0.1 ** (step / settings.total_steps)
        ratios = torch.stack([self.expected_cost(name) / limit for name, limit in self._limits.items()])
        # Below the budget as well: else gates that are half closed by then would all go on closing.
        away = torch.relu(ratios - 1).sum() + torch.relu(1 - ratios.max())
        stays = torch.cat([torch.sigmoid(logits) for logits in self.logits])
        total = settings.cost_weight * away
        total = anneal * (total + settings.decision_weight * (4 * stays * (1 - stays)).mean())
        if self._distance is not None:
            total = total + settings.distillation_weight * self._distance
        return total

    def _decided(self) -> Keep:
        """Return the channels that stay: the most open gates, as many as the budget has room for."""
        scores = {
            group: torch.sigmoid(logits.detach().double()).cpu().numpy()
            for group, logits in zip(self.groups, self.logits, strict=True)
        }
        ranked = replace(self.plan, ranking="global", normalise="none", ratios={}, max_ratio=1.0)
        return choose(ranked, self.coupling, scores, self._cost_model)

    def finish(self, *, verify: bool = True) -> Pruned:
        """Return the smaller model, with the weights learned.

        Raises:
            PruningError: it is not what the masked model computes.
        """
        keep = {(group.name, group.index): mask for group, mask in self._decided().items()}

        def chosen(dag: DagModule, found: Coupling, cost_model: CostModel) -> Mapping[Group, Any]:
            named = {(group.name, group.index): group for group in found.groups}
            return {named[key]: mask for key, mask in keep.items()}

        # The graph was folded before its weights were trained.
        return replace(keep_channels(self.graph, self.example_inputs, chosen, verify=verify), **self._folded)


def _gated_members(group: Group) -> list[Any]:
    """Return the weights that a gate multiplies: those that read the channel, if that makes it disappear."""
    readers = [member for member in group.members if member.role == "in"]
    if readers and group.only_read_by_weights:
        return readers
    return [member for member in group.members if member.role in ("out", "per-channel")]


def _mean_squared_distance(outputs: Any, expected: Any) -> Tensor:
    pairs = zip(tree_flatten(outputs)[0], tree_flatten(expected)[0], strict=True)
    distances = [nn.functional.mse_loss(a, b) for a, b in pairs if isinstance(a, Tensor)]
    return torch.stack(distances).mean()
