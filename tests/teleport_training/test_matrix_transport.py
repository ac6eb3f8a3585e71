import io

import pytest
import torch
from teleport_training.teleport_nets import relative_distance
from torch import nn, optim
from torch.nn import functional as F

from snnkit.teleport import Element, random, symmetries, teleport
from snnkit.teleport.matrices import matrix_sites, random_matrices
from snnkit.teleport.training import moves_of, optimiser_frame, teleport_in_training
from snnkit.utilities.errors import ConfigurationError

GENERATOR = torch.Generator().manual_seed(7)
INPUTS = torch.randn(6, 5, 8, generator=GENERATOR, dtype=torch.float64)
TARGETS = torch.randn(6, 5, 3, generator=GENERATOR, dtype=torch.float64)


class Attention(nn.Module):
    """Two heads and a gated layer: sites of invertible matrices, and channels beside them."""

    def __init__(self, norm: bool = False):
        super().__init__()
        self.norm = nn.RMSNorm(8) if norm else nn.Identity()
        self.read = nn.Linear(8, 8, bias=False)
        self.qkv = nn.Linear(8, 24, bias=False)
        self.out = nn.Linear(8, 8, bias=False)
        self.up, self.down = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.read(x)
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return self.down(torch.relu(self.up(self.norm(x))))


def net(norm=False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Attention(norm).double()


def element_of(model, seed, kinds=("linear", "orthogonal")):
    generator = torch.Generator().manual_seed(seed)
    found = symmetries(model, INPUTS)
    channels = random(found, 0.5, generator=generator, permutations=True)
    matrices = random_matrices(matrix_sites(model, INPUTS), kinds=kinds, generator=generator)
    assert matrices.sites
    return Element(found, (*channels.parts, matrices))


def train(model, optimiser, steps=10):
    for _ in range(steps):
        optimiser.zero_grad()
        F.mse_loss(model(INPUTS), TARGETS).backward()
        optimiser.step()


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.01),
    "AdamW": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_commutes_with_matrices_and_channels(name):
    plain, moved = net(), net()
    first, second = (OPTIMISERS[name](model.parameters()) for model in (plain, moved))
    elements = [element_of(plain, seed) for seed in range(2)]
    train(plain, first), train(moved, second)
    for element in elements:
        teleport_in_training(moved, element, second)
        train(moved, second), train(plain, first)
    for element in elements:
        teleport(plain, element)
    assert relative_distance(values(moved), values(plain)) < 1e-11


def test_a_resumed_run_goes_on_to_the_same_bits():
    model = net()
    optimiser = optim.AdamW(model.parameters(), 0.01)
    train(model, optimiser)
    teleport_in_training(model, element_of(model, 0), optimiser)
    train(model, optimiser)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict()}, file)
    train(model, optimiser)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = net()
    resumed = optim.AdamW(other.parameters(), 0.01)
    optimiser_frame(resumed)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimiser"])
    train(other, resumed)
    assert relative_distance(values(other), values(model)) == 0


def test_a_kick_turns_momentum_as_a_gradient():
    model, moved = net(), net()
    optimiser = optim.SGD(moved.parameters(), 0.0, momentum=0.9)
    train(moved, optimiser, 1)
    element = element_of(moved, 0)
    teleport_in_training(moved, element, optimiser, "kick")
    moved.zero_grad()
    F.mse_loss(moved(INPUTS), TARGETS).backward()
    for name, parameter in moved.named_parameters():
        # One step from rest: the momentum is the gradient.
        buffer = optimiser.state[parameter]["momentum_buffer"]
        torch.testing.assert_close(buffer, parameter.grad, rtol=1e-9, atol=1e-12, msg=name)
    assert relative_distance(values(model), values(moved)) > 0.1


def test_squares_of_gradients_cannot_be_turned():
    model = net()
    optimiser = optim.Adam(model.parameters(), 0.01)
    train(model, optimiser, 2)
    before = values(model)
    with pytest.raises(ConfigurationError, match="squares"):
        teleport_in_training(model, element_of(model, 0), optimiser, "kick")
    assert relative_distance(values(model), before) == 0


def test_gains_that_matrices_need_must_not_be_trained():
    model = net(norm=True)
    element = element_of(model, 0, kinds=("orthogonal",))
    with pytest.raises(ConfigurationError, match=r"norm\.weight"):
        moves_of(model, element)
    model.norm.weight.requires_grad_(False)
    assert moves_of(model, element)
