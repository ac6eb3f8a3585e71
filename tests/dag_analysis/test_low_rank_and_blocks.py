"""Layers as pairs of thinner ones, and residual branches that go as a whole."""

import pytest
import torch
from coupling_models import case
from torch import nn

from snnkit.dag import build_from_unstructured_module
from snnkit.dag.pruning import (
    GateSettings,
    LearnedPruning,
    Plan,
    PruningError,
    branch_influence,
    compress,
    drop_blocks,
    drop_least_influential,
    factorise,
    merge_factors,
    rank_names,
    residual_branches,
)
from snnkit.utilities.errors import ConfigurationError


def low_rank_net(rank: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 16)).double()
    with torch.no_grad():
        for layer in (net[0], net[2]):
            rows, columns = layer.weight.shape
            layer.weight.copy_(torch.randn(rows, rank).double() @ torch.randn(rank, columns).double())
    return net


@pytest.mark.parametrize("name", ["resnet", "unet", "transformer"])
def test_pairs_of_full_rank_compute_the_same_and_merge_back(name):
    model, inputs = case(name)
    pairs = factorise(model, inputs)
    assert rank_names(pairs)
    with torch.no_grad():
        expected = model(*inputs)
        torch.testing.assert_close(pairs(*inputs), expected, rtol=1e-10, atol=1e-10)
        merged = merge_factors(pairs)
        torch.testing.assert_close(merged(*inputs), expected, rtol=1e-10, atol=1e-10)
    assert not rank_names(merged)
    assert sum(p.numel() for p in merged.parameters()) == sum(p.numel() for p in model.parameters())


def test_compression_finds_the_rank_that_is_there():
    net, x = low_rank_net(), torch.randn(5, 20).double()
    compressed = compress(net, x, Plan(budget={"parameters": 0.5}))
    assert compressed.after.parameters <= 0.5 * compressed.before.parameters
    assert compressed.before.parameters == sum(p.numel() for p in net.parameters())
    assert compressed.certificate.exact
    with torch.no_grad():
        torch.testing.assert_close(compressed.model(x), net(x), rtol=1e-9, atol=1e-9)


def test_only_the_layers_named_are_factorised():
    net, x = low_rank_net(), torch.randn(5, 20).double()
    assert rank_names(factorise(net, x, layers=["2"])) == ("2.down.weight",)
    with pytest.raises(ConfigurationError, match="layer '3'"):
        factorise(net, x, layers=["3"])


def test_ranks_are_learned_with_gates():
    torch.manual_seed(0)
    x = torch.randn(256, 16)
    layer = nn.Linear(16, 8)
    with torch.no_grad():
        target = x[:, :2] @ torch.randn(2, 8)
        layer.weight.copy_(torch.linalg.lstsq(x, target).solution.T + 0.05 * torch.randn(8, 16))
        layer.bias.zero_()
    graph = factorise(layer, x[:2])
    plan = Plan(budget={"parameters": 0.5}, only=rank_names(graph))
    gated = LearnedPruning(graph, x[:2], plan, GateSettings(total_steps=300))
    optimiser = torch.optim.Adam(gated.parameter_groups(weight_lr=1e-2, gate_lr=0.1))
    for step in range(300):
        optimiser.zero_grad()
        ((gated(x) - target).square().mean() + gated.loss(step)).backward()
        optimiser.step()
    pruned = gated.eval().finish()
    assert pruned.after.parameters <= 0.5 * pruned.before.parameters
    with torch.no_grad():
        assert (pruned.model(x) - target).square().mean() < 0.05 * target.var()


def test_residual_branches_are_found_whichever_operand_is_the_shortcut():
    model, inputs = case("resnet")
    graph = build_from_unstructured_module(model, inputs)
    paths = [branch.path for branch in residual_branches(graph)]
    assert len(paths) == 2  # the block with stride has a layer on its shortcut
    transformer, image = case("transformer")
    assert len(list(residual_branches(build_from_unstructured_module(transformer, image)))) == 2


def test_a_dropped_branch_equals_one_that_adds_zero():
    model, inputs = case("transformer")
    graph = build_from_unstructured_module(model, inputs)
    last = list(residual_branches(graph))[-1]
    smaller = drop_blocks(graph, [last.path])
    with torch.no_grad():
        model.scale.zero_()
        torch.testing.assert_close(smaller(*inputs), model(*inputs), rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in graph.parameters())
    with pytest.raises(PruningError, match="residual branch"):
        drop_blocks(graph, ["head"])


def test_the_branches_that_add_least_go_first():
    model, inputs = case("resnet")
    with torch.no_grad():
        model.blocks[2].bn2.weight.mul_(1e-3)
        model.blocks[2].bn2.bias.mul_(1e-3)
    graph = build_from_unstructured_module(model, inputs)
    influence = branch_influence(graph, inputs)
    smaller, dropped = drop_least_influential(graph, inputs, 1)
    assert dropped == (min(influence, key=influence.get),)
    assert dropped[0].startswith("blocks.2")
    with torch.no_grad():
        assert (smaller(*inputs) - model(*inputs)).abs().max() < 1e-2 * model(*inputs).abs().max()
    with pytest.raises(PruningError, match="only"):
        drop_least_influential(graph, inputs, 5)
