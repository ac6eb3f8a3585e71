import math

import pytest
import torch
from teleport_training.teleport_nets import Residual, cross_entropy, mlp, problem, relative_distance
from torch import nn, optim

from snnkit.teleport import random, symmetries
from snnkit.teleport.training import (
    LossOnBatches,
    TeleportationCallback,
    TeleportationSettings,
    loss_after_step,
    optimiser_frame,
    pseudo_teleported,
    same_distribution,
    teleport_in_training,
)
from snnkit.utilities.errors import ConfigurationError, ParameterError

BATCH = problem()


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def callback_of(model, settings, optimiser=(), with_loss=True):
    given = {"loss": cross_entropy, "batches": [BATCH]} if with_loss else {}
    return TeleportationCallback(model, BATCH[0][:1], settings, optimisers=optimiser, **given)


def epochs_of(settings, epochs=12):
    callback = callback_of(mlp(), settings, with_loss=False)
    return [epoch for epoch in range(epochs) if callback.on_epoch_start(epoch) is not None]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every_n_epochs": 4}, [4, 8]),
        ({"every_n_epochs": 0, "teleport_only_once": True}, [0]),
        ({"every_n_epochs": 5, "teleport_only_once": True}, [5]),
        ({"epochs": (0, 3, 7)}, [0, 3, 7]),
        ({"teleport_prob": 0.0}, []),
    ],
)
def test_it_teleports_when_the_settings_say(settings, expected):
    assert epochs_of(TeleportationSettings(**settings)) == expected


def test_a_probability_decides_by_seed_and_epoch_alone():
    settings = TeleportationSettings(teleport_prob=0.5, seed=3)
    first = epochs_of(settings, 60)
    assert first == epochs_of(settings, 60)
    assert 15 < len(first) < 45
    assert first != epochs_of(TeleportationSettings(teleport_prob=0.5, seed=4), 60)


def test_a_resumed_run_teleports_as_one_that_was_not():
    whole, resumed = mlp(), mlp()
    settings = TeleportationSettings(epochs=(1, 2), permutations=True)
    callback = callback_of(whole, settings)
    callback.on_epoch_start(1)
    resumed.load_state_dict(whole.state_dict())
    callback.on_epoch_start(2)
    callback_of(resumed, settings).on_epoch_start(2)
    assert relative_distance(values(resumed), values(whole)) == 0


@pytest.mark.parametrize("mode", ["random", "optim", "gradient"])
def test_teleportations_keep_the_function_and_are_recorded(mode):
    model = mlp()
    optimiser = optim.Adam(model.parameters(), 0.01)
    settings = TeleportationSettings(mode=mode, epochs=(0,), num_teleportations=4)
    callback = callback_of(model, settings, optimiser)
    before, outputs = values(model), model(BATCH[0]).detach()
    record = callback.on_epoch_start(0)
    torch.testing.assert_close(model(BATCH[0]), outputs, rtol=1e-11, atol=1e-12)
    after = values(model)
    distance = math.sqrt(sum(float((after[n] - v).square().sum()) for n, v in before.items()))
    assert record.displacement.distance == pytest.approx(distance)
    assert record.loss_after == pytest.approx(record.loss_before)
    loss = LossOnBatches(model, cross_entropy, [BATCH])
    norm = math.sqrt(sum(float(g.square().sum()) for g in loss.gradients().values()))
    assert record.gradient_norm_after == pytest.approx(norm)
    assert callback.records == [record]
    if mode != "random":
        weights = math.sqrt(sum(float(v.square().sum()) for v in after.values()))
        assert record.metric_after == pytest.approx(norm / weights, rel=1e-9)
        assert record.metric_before < record.metric_after
    assert record.to_dict()["displacement"]["distance"] == record.displacement.distance


def test_optim_takes_the_best_of_its_candidates():
    model = mlp()
    settings = TeleportationSettings(mode="optim", epochs=(0,), metric="hessian_trace", num_teleportations=6)
    record = callback_of(model, settings).on_epoch_start(0)
    assert len(set(record.candidates)) == 6
    assert record.metric_after == min(record.candidates)


@pytest.mark.parametrize("transport", ["kick", "reset"])
def test_a_look_ahead_is_the_loss_after_the_step_that_is_taken(transport):
    model = mlp()
    optimiser = optim.Adam(model.parameters(), 0.02)
    for _ in range(5):
        optimiser.zero_grad()
        cross_entropy(model, BATCH).backward()
        optimiser.step()
    settings = TeleportationSettings(
        mode="optim", epochs=(0,), metric="loss_lookahead", num_teleportations=3, transport=transport
    )
    record = callback_of(model, settings, optimiser).on_epoch_start(0)
    assert record.metric_after == min(record.candidates)
    assert len(set(record.candidates)) == 3
    optimiser.zero_grad()
    cross_entropy(model, BATCH).backward()
    optimiser.step()
    assert float(cross_entropy(model, BATCH).detach()) == pytest.approx(record.metric_after, rel=1e-10)


def test_a_look_ahead_knows_the_frame_and_changes_nothing():
    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.2, momentum=0.9)
    found = symmetries(model, BATCH[0][:1])
    drawn = [random(found, 0.7, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    teleport_in_training(model, drawn[0], optimiser)
    before = values(model)
    ahead = loss_after_step(LossOnBatches(model, cross_entropy, [BATCH]), [optimiser], drawn[1], "kick")
    assert relative_distance(values(model), before) == 0
    assert not optimiser.state
    teleport_in_training(model, drawn[1], optimiser, "kick")
    cross_entropy(model, BATCH).backward()
    optimiser.step()
    assert float(cross_entropy(model, BATCH).detach()) == pytest.approx(ahead, rel=1e-10)


def test_batch_norm_in_training_mode_keeps_its_statistics():
    model = Residual()
    images, labels = torch.randn(16, 1, 6, 6), torch.randint(3, (16,))
    callback = TeleportationCallback(
        model,
        images[:2],
        TeleportationSettings(mode="gradient", epochs=(0,), steps=5, batch_norm="fixed"),
        loss=cross_entropy,
        batches=lambda: iter([(images, labels)]),
    )
    before = model.norm.running_mean.clone()
    record = callback.on_epoch_start(0)
    assert torch.equal(model.norm.running_mean, before)
    assert record.loss_after == pytest.approx(record.loss_before, rel=1e-5)


# --- Controls ---------------------------------------------------------------------------------------


def test_a_pseudo_teleportation_moves_every_tensor_as_far_elsewhere():
    real, pseudo = mlp(), mlp()
    start = values(real)
    settings = {"epochs": (0,), "cob_range": 0.9, "seed": 5}
    optimiser = optim.SGD(pseudo.parameters(), 0.1, momentum=0.9)
    cross_entropy(pseudo, BATCH).backward()
    optimiser.step()
    pseudo.load_state_dict(start)
    teleport_in_training(pseudo, random(symmetries(pseudo, BATCH[0][:1]), 1e-9), optimiser)
    pseudo.load_state_dict(start)
    callback_of(real, TeleportationSettings(**settings)).on_epoch_start(0)
    callback_of(pseudo, TeleportationSettings(mode="pseudo", **settings), optimiser).on_epoch_start(0)
    for name, value in start.items():
        ways = [(values(model)[name] - value).abs().sum() for model in (real, pseudo)]
        assert float(ways[1]) == pytest.approx(float(ways[0]), abs=1e-12)
    assert relative_distance(values(real), values(pseudo)) > 0.1
    assert not optimiser.state
    assert optimiser_frame(optimiser).move_of(pseudo[0].weight).is_identity


def test_directions_of_pseudo_teleportations_are_normal():
    before = {"w": torch.zeros(200, 200, dtype=torch.float64)}
    after = {"w": torch.ones(200, 200, dtype=torch.float64)}
    moved = pseudo_teleported(before, after, torch.Generator().manual_seed(0))["w"]
    assert float(moved.abs().sum()) == pytest.approx(40000)
    assert float(moved.mean()) == pytest.approx(0.0, abs=0.03)
    assert float(moved.pow(4).mean() / moved.pow(2).mean() ** 2) == pytest.approx(3.0, abs=0.15)


def test_the_same_distribution_is_drawn_anew():
    generator = torch.Generator().manual_seed(0)
    after = {"w": torch.randn(100, 100, generator=generator) ** 3, "flat": torch.full((5,), 2.0)}
    drawn = same_distribution(after, generator, bins=200)
    assert not torch.equal(drawn["w"], after["w"])
    assert torch.equal(drawn["flat"], after["flat"])
    levels = torch.linspace(0.02, 0.98, 25)
    width = float(after["w"].max() - after["w"].min()) / 200
    differences = drawn["w"].flatten().quantile(levels) - after["w"].flatten().quantile(levels)
    assert float(differences.abs().max()) < 2 * width + 0.15
    assert float(drawn["w"].mean()) == pytest.approx(float(after["w"].mean()), abs=0.15)
    with pytest.raises(ParameterError, match="0 bins"):
        same_distribution(after, bins=0)


def test_the_control_of_the_distribution_changes_the_function():
    model = mlp()
    outputs = model(BATCH[0]).detach()
    record = callback_of(model, TeleportationSettings(mode="same_distr", epochs=(0,))).on_epoch_start(0)
    assert float((model(BATCH[0]) - outputs).norm() / outputs.norm()) > 0.01
    assert record.loss_after != pytest.approx(record.loss_before)


# --- Settings ---------------------------------------------------------------------------------------


def test_settings_tell_all_that_is_wrong_at_once():
    with pytest.raises(ConfigurationError) as error:
        TeleportationSettings(
            mode="randon", every_n_epochs=0, teleport_prob=1.5, cob_sampling="positiv", metric="grad"
        )
    for words in ("'random'", "every_n_epochs is 0", "teleport_prob is 1.5", "'positive'", "'grad_norm'"):
        assert words in str(error.value)


def test_settings_come_from_a_table():
    settings = TeleportationSettings.from_dict({"mode": "pseudo", "epochs": [1, 2]})
    assert settings.epochs == (1, 2)
    with pytest.raises(ConfigurationError, match="cob_range"):
        TeleportationSettings.from_dict({"cob_rang": 0.5})


def test_a_look_ahead_says_nothing_of_transparent_teleportations():
    with pytest.raises(ConfigurationError, match="transparent"):
        TeleportationSettings(mode="optim", metric="loss_lookahead", transport="transparent")


def test_modes_with_a_metric_need_a_loss_and_a_look_ahead_an_optimiser():
    with pytest.raises(ConfigurationError, match="loss and"):
        callback_of(mlp(), TeleportationSettings(mode="optim", epochs=(0,)), with_loss=False).on_epoch_start(
            0
        )
    ahead = TeleportationSettings(mode="optim", metric="loss_lookahead", epochs=(0,))
    with pytest.raises(ConfigurationError, match="optimiser"):
        callback_of(mlp(), ahead).on_epoch_start(0)
    with pytest.raises(ConfigurationError, match="batches"):
        TeleportationCallback(nn.Linear(6, 3), BATCH[0][:1], TeleportationSettings(), loss=cross_entropy)
