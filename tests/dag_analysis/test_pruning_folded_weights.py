"""Networks with standardised weights are pruned exactly once the weights are parameters."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkit.dag import coupling
from snnkit.dag.channels.computed import softened_by_weights, weight_computations
from snnkit.dag.pruning import LearnedPruning, Plan, prune, prune_iteratively


class StandardisedConv(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = F.batch_norm(w.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0)
        return F.conv2d(x, w.reshape_as(self.weight), self.bias, self.stride, self.padding)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = StandardisedConv(3, 12, 3, padding=1)
        self.body = StandardisedConv(12, 12, 3, padding=1)
        self.norm = nn.utils.parametrizations.weight_norm(nn.Conv2d(12, 8, 1))
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = F.silu(self.stem(x))
        x = F.silu(x + self.body(x))
        return self.head(self.norm(x).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


IMAGES = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_computed_weights_are_found_to_be_the_reason(net):
    found = coupling(net, IMAGES)
    group = found.group_named("stem.weight")
    assert group.soft
    assert group in softened_by_weights(found)
    assert weight_computations(found)
    plain = coupling(nn.Sequential(nn.Conv2d(3, 8, 3), nn.LayerNorm(6), nn.Conv2d(8, 4, 3)), IMAGES)
    assert not weight_computations(plain)
    assert not softened_by_weights(plain)


def test_nothing_is_folded_unless_asked_for_and_the_result_says_what_it_would_free(net):
    pruned = prune(net, IMAGES, Plan(ratio=0.5))
    assert pruned.folded == ()
    assert "Plan(fold_weights=True)" in str(pruned)
    assert all(group.exact for group in pruned.keep)


def test_folded_networks_are_pruned_exactly(net):
    pruned = prune(net, IMAGES, Plan(ratio=0.5, fold_weights=True), "random")
    assert pruned.certificate.exact
    assert set(pruned.folded) >= {"stem.weight", "body.weight"}
    assert pruned.fold_difference == 0
    assert pruned.after.macs < 0.4 * pruned.before.macs
    assert "Training changes them directly" in str(pruned)
    x = torch.randn(3, 3, 8, 8)
    assert torch.equal(pruned.original(x), net(x))
    torch.testing.assert_close(pruned.model(x), pruned.masked()(x))


def test_iterative_and_learned_pruning_fold_once(net):
    steps = prune_iteratively(
        net, IMAGES, Plan(ratio=0.5, fold_weights=True), steps=2, fine_tune=lambda graph, step: None
    )
    assert steps[0].folded
    assert not steps[1].folded
    assert all(step.certificate.exact for step in steps)
    learned = LearnedPruning(net, IMAGES, Plan(budget={"macs": 0.5}, fold_weights=True)).eval().finish()
    assert learned.certificate.exact
    assert learned.folded == steps[0].folded
    assert learned.after.macs <= 0.5 * learned.before.macs
