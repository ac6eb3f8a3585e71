import numpy as np
import pytest
import torch
from torch import nn

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, UnitDropout
from snnkit.training.augmentation import Augmentation, warp_time
from snnkit.training.checkpoint import Checkpoint
from snnkit.training.optimiser import ScaledAdam, cosine_schedule
from snnkit.training.readout import Readout
from snnkit.training.trainer import FitSettings, Trainer, predict, torch_threads, trained_parameters
from snnkit.utilities.errors import ConfigurationError, FileFormatError, ShapeError

STEPS, CHANNELS = 12, 4


def small_net(seed=0, hidden=10):
    generator = torch.Generator().manual_seed(seed)
    net = Sequential(
        LinearTorch((CHANNELS, hidden), weight=torch.rand(CHANNELS, hidden, generator=generator) * 0.1),
        LIFTorch(hidden, tau_mem=5e-3, tau_syn=2e-3),
        UnitDropout(hidden, p=0.2),
        LinearTorch((hidden, 2), weight=torch.randn(hidden, 2, generator=generator) * 0.2),
        LIFTorch(2, tau_mem=5e-3, tau_syn=2e-3, learning_window=3.0, max_spikes_per_dt=1.0),
    )
    for name, parameter in nn.Module.named_parameters(net):
        parameter.requires_grad_(name.endswith(("weight", "bias")))
    return net


def two_classes(count=32, seed=0):
    """Class 0 is loud in the first half of the time, class 1 in the second."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    levels = generator.uniform(0, 2, (count, STEPS, CHANNELS)).astype(np.float32)
    for i, label in enumerate(labels):
        levels[i, label * STEPS // 2 : (label + 1) * STEPS // 2, label * 2 : label * 2 + 2] += 8.0
    return torch.from_numpy(levels), torch.from_numpy(labels)


def trainer(epochs=6, seed=3, net=None, stage="float", **settings):
    levels, labels = two_classes()
    return Trainer(
        net or small_net(),
        levels,
        labels,
        readout=Readout(2),
        settings=FitSettings(epochs=epochs, batch_size=8, checkpoint_seconds=0.0, **settings),
        augmentation=Augmentation(time_warp=0.1, gain_noise=0.05, level_noise=0.5, cap=15),
        stage=stage,
        seed=seed,
    )


def weights(net):
    return {name: p.detach().clone() for name, p in trained_parameters(net).items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_what_can_be_learnt():
    teacher = trainer(epochs=40)
    teacher.fit()
    levels, labels = two_classes(seed=1)
    predictions = Readout(2).predict(predict(teacher.net, teacher.augmentation.events(levels)))
    assert (predictions == labels.numpy()).mean() > 0.95
    assert teacher.history[-1].loss < teacher.history[0].loss
    assert [epoch.epoch for epoch in teacher.history] == list(range(40))


def test_a_seed_gives_the_same_bits_whatever_torchs_generator_did_before():
    first = trainer()
    first.fit()
    torch.manual_seed(99)
    torch.rand(17)
    again = trainer()
    again.fit()
    assert same(weights(first.net), weights(again.net))
    assert first.history == again.history
    other = trainer(seed=4)
    other.fit()
    assert not same(weights(first.net), weights(other.net))


def test_training_leaves_torchs_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    trainer(epochs=1).fit()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("interrupted_after", [1, 4])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, interrupted_after):
    whole = trainer()
    whole.fit()

    class InterruptError(Exception):
        pass

    def interrupt(epoch):
        if epoch.epoch == interrupted_after:
            raise InterruptError

    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(InterruptError):
        trainer().fit(path, interrupt)
    resumed = trainer(net=small_net(seed=8))
    resumed.restore(Checkpoint.load(path))
    assert len(resumed.history) == interrupted_after
    resumed.fit()
    assert same(weights(whole.net), weights(resumed.net))
    assert whole.history == resumed.history


def test_the_average_of_the_weights_is_what_stays():
    teacher = trainer(epochs=2, averaging=0.01)
    teacher.fit()
    assert same(weights(teacher.net), teacher.average)
    last = trainer(epochs=2, averaging=1.0)
    last.fit()
    assert not same(weights(teacher.net), weights(last.net))


def test_the_rate_penalty_lowers_rates():
    def mean_rate(weight):
        teacher = trainer(epochs=15, rate_limit=0.05, rate_weight=weight)
        teacher.fit()
        levels, _ = two_classes()
        teacher.net.reset_state()
        record = teacher.net(teacher.augmentation.events(levels), record=True)[2]
        return float(record["1_LIFTorch"]["spikes"].detach().mean())

    assert mean_rate(50.0) < 0.8 * mean_rate(0.0)


def test_a_checkpoint_of_another_network_or_stage_is_refused(tmp_path):
    trainer(epochs=1).state().save(tmp_path / "c.safetensors")
    saved = Checkpoint.load(tmp_path / "c.safetensors")
    with pytest.raises(FileFormatError, match="stage 'qat'"):
        trainer(stage="qat").restore(saved)
    with pytest.raises(FileFormatError, match=r"another network: 0_LinearTorch\.weight"):
        trainer(net=small_net(hidden=11)).restore(saved)


@pytest.mark.parametrize("lost", ["average", "moment", "random"])
def test_a_damaged_checkpoint_is_refused(lost):
    first = trainer(epochs=2)
    first.fit()
    saved = first.state()
    kept = {name: tensor for name, tensor in saved.tensors.items() if not name.startswith(lost)}
    broken = {n: t[:1].clone() if n.startswith(lost) else t for n, t in saved.tensors.items()}
    for tensors in (kept, broken):
        with pytest.raises(FileFormatError, match="damaged"):
            trainer(epochs=2).restore(Checkpoint(tensors, saved.about))
    with pytest.raises(FileFormatError, match="no history"):
        trainer(epochs=2).restore(Checkpoint(saved.tensors, {"stage": "float"}))


def test_a_checkpoint_from_before_the_first_step_is_taken():
    trainer().restore(trainer().state())


def test_a_net_without_trainable_parameters_is_refused():
    net = small_net()
    for parameter in nn.Module.parameters(net):
        parameter.requires_grad_(False)
    with pytest.raises(ConfigurationError, match="no parameter that requires a gradient"):
        trainer(net=net)


def test_prediction_does_not_depend_on_the_batch_size_or_on_earlier_calls():
    net = small_net()
    events = two_classes()[0].round()
    expected = predict(net, events, batch_size=32)
    assert torch.equal(predict(net, events, batch_size=5), expected)
    assert torch.equal(predict(net, events, batch_size=32), expected)
    assert expected.shape == (32, STEPS, 2)


def test_the_optimiser_moves_parameters_in_units_of_their_scale():
    small, large = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    optimiser = ScaledAdam([small, large], [torch.full((3,), 1e-3), torch.full((3,), 1e3)], lr=0.1)
    (small.sum() * 7 + large.sum() * 7).backward()
    optimiser.step()
    torch.testing.assert_close(small.detach(), torch.full((3,), -1e-4))
    torch.testing.assert_close(large.detach(), torch.full((3,), -1e2))


def test_with_scale_one_it_is_adam():
    start = torch.randn(5, generator=torch.Generator().manual_seed(0))
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    first = ScaledAdam([ours], [torch.ones(1)], lr=0.05, betas=(0.9, 0.99))
    second = torch.optim.Adam([theirs], lr=0.05, betas=(0.9, 0.99))
    for _ in range(20):
        for parameter, optimiser in ((ours, first), (theirs, second)):
            optimiser.zero_grad()
            (parameter**4).sum().backward()
            optimiser.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [torch.ones(2), torch.zeros(3), torch.ones(2, 3)])
def test_scales_that_do_not_fit_are_refused(scale):
    with pytest.raises(ShapeError, match="ScaledAdam"):
        ScaledAdam([nn.Parameter(torch.zeros(3))], [scale], lr=0.1)


def test_the_schedule_rises_and_falls():
    course = [cosine_schedule(step, 100, 0.1) for step in range(100)]
    assert max(course) == pytest.approx(1.0)
    assert course[:10] == sorted(course[:10])
    assert course[10:] == sorted(course[10:], reverse=True)
    assert 0.0 <= course[-1] < 0.01


def test_time_warp_holds_the_ends_and_needs_no_luck():
    levels = torch.arange(20.0)[None, :, None].repeat(50, 1, 2)
    warped = warp_time(levels, 0.2, torch.Generator().manual_seed(0))
    assert warped.shape == levels.shape
    assert float(warped.min()) >= 0.0
    assert float(warped.max()) <= 19.0
    assert bool((warped.diff(dim=1) >= 0).all())
    torch.testing.assert_close(warp_time(levels, 0.0, torch.Generator()), levels)


def test_augmented_inputs_are_events_that_the_chip_takes():
    levels = torch.full((4, STEPS, CHANNELS), 14.0)
    augmentation = Augmentation(time_warp=0.1, gain_noise=0.3, level_noise=3.0, cap=15)
    events = augmentation(levels, torch.Generator().manual_seed(0))
    assert torch.equal(events, events.round())
    assert float(events.min()) >= 0.0
    assert float(events.max()) == 15.0


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
