"""What users do wrong, and metrics in every mode."""

from typing import get_args

import pytest
import torch
from teleport_training.teleport_nets import cross_entropy, mlp, problem
from torch import optim

from snnkit.teleport import random, symmetries
from snnkit.teleport.training import TeleportationCallback, TeleportationSettings, teleport_in_training
from snnkit.teleport.training.objectives import Objective
from snnkit.utilities.errors import ConfigurationError


@pytest.mark.parametrize("metric", get_args(Objective))
@pytest.mark.parametrize("mode", ["optim", "gradient"])
def test_every_metric_serves_every_mode_also_without_gradients(mode, metric):
    model, batch = mlp(), problem()
    optimiser = optim.SGD(model.parameters(), 0.05)
    settings = TeleportationSettings(mode=mode, metric=metric, num_teleportations=2, steps=2, epochs=(0,))
    callback = TeleportationCallback(
        model, batch[0][:1], settings, optimisers=optimiser, loss=cross_entropy, batches=[batch]
    )
    before = model(batch[0])
    with torch.no_grad():
        record = callback.on_epoch_start(0)
    assert record is not None
    assert record.metric_after is not None
    if mode == "optim":
        best = max if metric.endswith("grad_norm") else min
        assert record.metric_after == best(record.candidates)
    assert torch.allclose(model(batch[0]), before, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["transparent", "kick", "reset"])
def test_optimisers_of_another_model_are_refused(mode):
    model, other = mlp(), mlp(1)
    element = random(symmetries(model, problem()[0][:1]), 0.5)
    weights = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(ConfigurationError, match="trains no parameter of this Sequential"):
        teleport_in_training(model, element, optim.SGD(other.parameters(), 0.1), mode)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), weights, strict=True))


def test_one_of_several_optimisers_may_train_a_part():
    model = mlp()
    element = random(symmetries(model, problem()[0][:1]), 0.5)
    parts = [optim.SGD(model[0].parameters(), 0.1), optim.Adam(model[4].parameters(), 0.1)]
    teleport_in_training(model, element, parts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cob_range": 1.5},
        {"cob_range": -1.0, "cob_sampling": "positive"},
        {"center": float("nan"), "cob_sampling": "centered"},
    ],
    ids=str,
)
def test_ranges_are_checked_before_training_begins(wrong):
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        TeleportationSettings(**wrong)


def test_momentum_of_muon_is_kicked():
    model, batch = mlp(), problem()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    optimiser = optim.Muon(matrices, 0.01)
    cross_entropy(model, batch).backward()
    optimiser.step()
    held = optimiser.state[matrices[0]]["momentum_buffer"].clone()
    element = random(symmetries(model, batch[0][:1]), 0.5, "powers_of_two")
    teleport_in_training(model, element, optimiser, "kick")
    expected = element.changes()["0.weight"].apply(held, power=-1)
    assert torch.equal(optimiser.state[matrices[0]]["momentum_buffer"], expected)
