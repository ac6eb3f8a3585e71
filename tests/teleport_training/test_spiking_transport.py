import pytest
import torch
from torch import nn, optim

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.teleport import random, symmetries, teleport
from snnkit.teleport.training import teleport_in_training

GENERATOR = torch.Generator().manual_seed(1)
EVENTS = torch.poisson(torch.full((4, 40, 8), 0.4, dtype=torch.float64), generator=GENERATOR)
LABELS = torch.tensor([0, 1, 2, 1])


def net():
    """Recurrent neurons whose surrogate windows are relative to the threshold."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        neurons = LIFTorch((12, 12), relative_window=True, tau_mem=0.02, tau_syn=0.01, dt=1e-3, has_rec=True)
        made = Sequential(LinearTorch((8, 12), has_bias=False), neurons, LinearTorch((12, 3), has_bias=False))
    with torch.no_grad():
        neurons.w_rec.mul_(0.1)
    return made.double()


def train(model, optimiser, steps=8):
    for _ in range(steps):
        model.reset_state()
        optimiser.zero_grad()
        outputs, _, _ = model(EVENTS)
        nn.functional.cross_entropy(outputs.mean(1), LABELS).backward()
        optimiser.step()
    model.reset_state()


@pytest.mark.parametrize("make", [lambda p: optim.Adam(p, 1e-3), lambda p: optim.SGD(p, 1e-3, momentum=0.9)])
def test_training_of_spiking_nets_commutes_with_teleporting(make):
    plain, moved = net(), net()
    first, second = (make(list(nn.Module.parameters(model))) for model in (plain, moved))
    element = random(symmetries(plain, EVENTS[:1]), 0.7, generator=GENERATOR, permutations=True)
    start = moved[0].weight.detach().clone()
    train(plain, first), train(moved, second)
    teleport_in_training(moved, element, second)
    train(plain, first), train(moved, second)
    assert float((moved[0].weight.detach() - start).norm()) > 0
    teleport(plain, element)
    pairs = zip(nn.Module.parameters(moved), nn.Module.parameters(plain), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-13)
