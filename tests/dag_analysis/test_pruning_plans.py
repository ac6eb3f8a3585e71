"""How many channels go, and which."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from coupling_models import CASES, case
from torch import nn
from torch.nn import functional as F

from snnkit.dag import build_from_unstructured_module, coupling
from snnkit.dag.errors import GraphError
from snnkit.dag.pruning import BatchNormScale, CostModel, Magnitude, Plan, Taylor, prune, prune_iteratively
from snnkit.utilities.errors import ConfigurationError


def mlp(*sizes: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def counts(pruned):
    return {group.name: int(mask.sum()) for group, mask in pruned.keep.items()}


def test_local_ratio_drops_the_weakest_of_each_group():
    model = mlp(3, 8, 4, 2)
    with torch.no_grad():
        model[0].weight[[1, 5]] = 0
        model[0].bias[[1, 5]] = 0
        model[2].weight[:, [1, 5]] = 0
    pruned = prune(model, torch.randn(2, 3), Plan(ratio=0.25))
    assert counts(pruned) == {"0.weight": 6, "2.weight": 3}
    group = next(iter(pruned.keep))
    assert np.flatnonzero(~pruned.keep[group]).tolist() == [1, 5]


def test_global_ranking_drops_more_where_channels_matter_less():
    model = mlp(3, 8, 8, 2)
    with torch.no_grad():
        for parameter in (model[0].weight, model[0].bias):
            parameter[:6] *= 1e-3
        model[2].weight[:, :6] *= 1e-3
    pruned = prune(model, torch.randn(2, 3), Plan(ratio=0.5, ranking="global"))
    found = counts(pruned)
    assert found["0.weight"] == 2
    assert found.get("2.weight", 8) == 6


@pytest.mark.parametrize("cost", ["parameters", "macs", "kmapp"])
def test_budgets_are_met_and_used(cost):
    model, inputs = case("unet")
    pruned = prune(model, inputs, Plan(budget={cost: 0.5}))
    share = getattr(pruned.after, cost) / getattr(pruned.before, cost)
    assert 0.35 < share <= 0.5


class Interleaved(nn.Module):
    """A grouped convolution whose groups do not fit the channels, and products with vectors."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 12, 3, groups=3), nn.Conv2d(12, 24, 1, groups=3)
        self.vector = nn.Parameter(torch.randn(24))

    def forward(self, x):
        y = F.channel_shuffle(self.first(x), 3)
        return self.second(y).mean((2, 3)) @ self.vector + self.vector @ self.vector


@pytest.mark.parametrize("name", [*CASES, "interleaved"])
def test_costs_of_channels_are_those_that_the_graph_counts(name):
    model, inputs = (Interleaved(), (torch.randn(1, 3, 6, 6),)) if name == "interleaved" else case(name)
    graph = build_from_unstructured_module(model.eval(), inputs)
    found, counted = CostModel(coupling(graph, inputs))({}), graph.cost(*inputs)
    batch = inputs[0].shape[0]
    assert (found.macs * batch, found.parameters, found.kmapp) == (
        counted.macs,
        counted.parameters,
        counted.kmapp,
    )


def test_costs_per_pixel_are_for_images():
    with pytest.raises(ConfigurationError, match="kmapp counts per pixel"):
        prune(mlp(3, 8, 2), torch.randn(2, 3), Plan(budget={"kmapp": 0.5}))


def test_absolute_budgets_and_counts_agree_with_the_model():
    model = mlp(10, 40, 40, 5)
    pruned = prune(model, torch.randn(1, 10), Plan(budget={"parameters": 1000}))
    assert pruned.after.parameters <= 1000
    assert pruned.after.parameters == sum(p.numel() for p in pruned.model.parameters())
    weights = [m for m in pruned.model.modules() if isinstance(m, nn.Linear)]
    assert pruned.after.macs == sum(layer.in_features * layer.out_features for layer in weights)


def test_an_impossible_budget_says_what_is_reachable():
    with pytest.raises(ConfigurationError, match=r"parameters: 8 asked, \d+ reachable"):
        prune(mlp(3, 8, 4, 2), torch.randn(2, 3), Plan(budget={"parameters": 8}))


def test_block_sizes_leave_multiples_and_ratios_name_single_groups():
    pruned = prune(mlp(3, 32, 32, 2), torch.randn(2, 3), Plan(ratio=0.4, block_size=8))
    assert counts(pruned) == {"0.weight": 24, "2.weight": 24}
    pruned = prune(mlp(3, 32, 32, 2), torch.randn(2, 3), Plan(ratios={"2.weight": 0.75}))
    assert counts(pruned) == {"2.weight": 8}
    pruned = prune(mlp(3, 32, 32, 2), torch.randn(2, 3), Plan(ratio=0.5, ignore=("0.weight",)))
    assert counts(pruned) == {"2.weight": 16}


def test_kinds_choose_heads_or_their_channels():
    model, inputs = case("transformer")
    heads = prune(model, inputs, Plan(ratio=0.4, kinds=("heads",)), "random")
    assert [(group.kind, group.size) for group in heads.keep] == [("heads", 3)]
    inner = prune(model, inputs, Plan(ratio=0.4, kinds=("head channels",)), "random")
    assert [(group.kind, group.size) for group in inner.keep] == [("head channels", 4)]
    model, inputs = case("shufflenet")
    groups = prune(model, inputs, Plan(ratio=0.5, kinds=("groups",)), "random")
    assert {group.kind for group in groups.keep} == {"groups"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Say how much"),
        ({"ratio": 1.5}, "ratio is 1.5"),
        ({"ratio": 0.5, "budget": {"macs": 0.5}}, "either a ratio or a budget"),
        ({"ratio": 0.5, "ranking": "gobal"}, "Did you mean 'global'"),
        ({"budget": {"flops": 0.5}}, "cost 'flops'"),
        ({"ratio": 0.5, "kinds": ("head",)}, "Did you mean 'heads'"),
        ({"ratio": 0.5, "block_size": 0}, "block_size is 0"),
    ],
)
def test_plans_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Plan(**options)


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="Did you mean 'magnitude'"):
        prune(mlp(3, 8, 2), torch.randn(2, 3), Plan(ratio=0.5), "magnitud")
    with pytest.raises(GraphError, match=r"Did you mean '0\.weight'"):
        prune(mlp(3, 8, 2), torch.randn(2, 3), Plan(ratios={"0.weigth": 0.5}))
    with pytest.raises(ConfigurationError, match="output 0 of the model"):
        prune(mlp(3, 8, 2), torch.randn(2, 3), Plan(ratios={"2.weight": 0.5}))


def test_taylor_finds_channels_that_the_loss_does_not_see():
    model = mlp(3, 8, 2)
    with torch.no_grad():
        model[2].weight[:, [0, 3, 4]] = 0
    x = torch.randn(50, 3)

    def loss(network):
        return network(x).square().sum()

    pruned = prune(model, x, Plan(ratio=3 / 8), Taylor(loss))
    (mask,) = pruned.keep.values()
    assert np.flatnonzero(~mask).tolist() == [0, 3, 4]
    torch.testing.assert_close(pruned.model(x), model(x))


def test_batch_norm_scale_takes_the_gains_and_needs_some():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 3)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([1.0, -3.0, 0.1, 2.0, -0.2, 1.5]))
    pruned = prune(model, torch.randn(1, 3, 8, 8), Plan(ratio=1 / 3), BatchNormScale())
    (mask,) = pruned.keep.values()
    assert np.flatnonzero(~mask).tolist() == [2, 4]
    with pytest.raises(GraphError, match="batch norm"):
        prune(mlp(3, 8, 2), torch.randn(2, 3), Plan(ratio=0.5), "batch_norm")


def test_norms_of_order_one_and_two_rank_differently():
    model = mlp(4, 2, 1)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[2.0, 0, 0, 0], [0.8, 0.8, 0.8, 0.8]]))
        model[0].bias.zero_()
        model[2].weight.zero_()
    kept = {}
    for p in (1.0, 2.0):
        pruned = prune(model, torch.randn(1, 4), Plan(ratio=0.5), Magnitude(p=p, roles=("out",)))
        kept[p] = int(np.flatnonzero(next(iter(pruned.keep.values())))[0])
    assert kept == {1.0: 1, 2.0: 0}


def test_iterative_pruning_reaches_the_budget_in_steps_with_training_between():
    trained = []
    steps = prune_iteratively(
        mlp(10, 40, 40, 5),
        torch.randn(2, 10),
        Plan(budget={"macs": 0.25}),
        steps=3,
        fine_tune=lambda graph, step: trained.append((step, graph)),
    )
    assert [step for step, _ in trained] == [1, 2, 3]
    shares = [result.after.macs / steps[0].before.macs for result in steps]
    assert shares[0] > shares[1] > shares[2]
    assert 0.15 < shares[2] <= 0.25
    assert all(result.certificate.exact for result in steps)
