"""Gates that are trained with the weights, down to a budget."""

import pytest
import torch
from coupling_models import case
from torch import nn

from snnkit.dag.pruning import GateSettings, LearnedPruning, Plan
from snnkit.utilities.errors import ConfigurationError


def teacher_task():
    """A wide network that has to learn a function of two hidden channels."""
    torch.manual_seed(0)
    x = torch.randn(512, 6)
    target = torch.relu(x[:, :1] - x[:, 1:2]) - torch.relu(x[:, 2:3])
    net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1))
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        (net(x) - target).square().mean().backward()
        optimiser.step()
    return net, x, target


def trained(distillation: float = 0.0):
    net, x, target = teacher_task()
    settings = GateSettings(total_steps=300, distillation_weight=distillation)
    gated = LearnedPruning(net, x[:2], Plan(budget={"macs": 0.25}), settings)
    optimiser = torch.optim.Adam(gated.parameter_groups(weight_lr=3e-3, gate_lr=0.1))
    for step in range(300):
        optimiser.zero_grad()
        task = (gated(x) - target).square().mean() if not distillation else gated(x).sum() * 0
        (task + gated.loss(step)).backward()
        optimiser.step()
    return gated.eval(), net, x, target


def test_gates_reach_the_budget_and_what_is_measured_is_what_remains():
    gated, net, x, target = trained()
    pruned = gated.finish()
    assert pruned.after.macs <= 0.25 * pruned.before.macs
    assert pruned.certificate.exact
    with torch.no_grad():
        torch.testing.assert_close(pruned.model(x), gated(x), rtol=1e-4, atol=1e-5)
        error = (pruned.model(x) - target).square().mean()
    assert error < 0.01 * target.var()
    assert net[0].weight.shape == (24, 6)


def test_self_distillation_learns_from_the_model_as_it_was():
    gated, net, x, _ = trained(distillation=1.0)
    pruned = gated.finish()
    assert pruned.after.macs <= 0.25 * pruned.before.macs
    with torch.no_grad():
        assert (pruned.model(x) - net(x)).square().mean() < 0.02 * net(x).var()


@pytest.mark.parametrize("name", ["transformer", "rotary", "mobilenet"])
def test_closed_gates_equal_the_pruned_model(name):
    model, inputs = case(name)
    gated = LearnedPruning(model, inputs, Plan(budget={"parameters": 0.9})).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for logits in gated.logits:
            logits.copy_(torch.randn(logits.shape, generator=generator) + 0.5)
        pruned = gated.finish()
        assert pruned.keep
        torch.testing.assert_close(pruned.model(*inputs), gated(*inputs), rtol=1e-10, atol=1e-10)


def test_the_expected_cost_is_differentiable_and_right_when_all_gates_are_open():
    model, inputs = case("unet")
    gated = LearnedPruning(model, inputs, Plan(budget={"parameters": 0.5}))
    with torch.no_grad():
        for logits in gated.logits:
            logits.fill_(50.0)
    cost = gated.expected_cost("parameters")
    assert cost.item() == sum(p.numel() for p in model.parameters())
    cost.backward()
    assert gated.logits[0].grad is not None


def test_a_budget_and_something_to_prune_are_needed():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(ConfigurationError, match="needs a budget"):
        LearnedPruning(net, torch.randn(1, 4), Plan(ratio=0.5))
    with pytest.raises(ConfigurationError, match="no group"):
        LearnedPruning(net, torch.randn(1, 4), Plan(budget={"macs": 0.5}, ignore=("0.weight",)))
