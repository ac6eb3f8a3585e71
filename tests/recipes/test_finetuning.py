"""``snnkit.hw.xylo.finetune``: from a float net and labelled events of one's own to a chip-exact net."""

import numpy as np
import pytest
import torch

from snnkit.hw.xylo import deploy, finetune
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential
from snnkit.training import FitSettings, Readout
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import DataError, ShapeError

SETTINGS = FitSettings(epochs=6, batch_size=10, learning_rate=0.02, warmup=0.0)


def net():
    torch.manual_seed(0)
    decays = {"leak_mode": "bitshifts", "dash_mem": 2.0, "dash_syn": 1.0}
    made = Sequential(
        LinearTorch((3, 12)),
        LIFTorch(12, max_spikes_per_dt=31, **decays),
        LinearTorch((12, 4)),
        LIFTorch(4, max_spikes_per_dt=1, spike_generation_fn=PeriodicExponential, **decays),
    )
    for name, parameter in torch.nn.Module.named_parameters(made):
        parameter.requires_grad_(name.endswith("weight"))
    return made


def events():
    """Two classes: the first channel is busy early, or the second late."""
    generator = np.random.default_rng(0)
    counts = generator.poisson(0.5, (40, 20, 3))
    counts[:20, :10, 0] += 4
    counts[20:, 10:, 1] += 4
    labels = np.repeat([0, 1], 20)
    order = generator.permutation(40)
    return torch.from_numpy(counts[order].clip(0, 15)), torch.from_numpy(labels[order])


@pytest.fixture(scope="module")
def tuned():
    counts, labels = events()
    heard = []
    float_net = net()
    before = {name: p.clone() for name, p in torch.nn.Module.named_parameters(float_net)}
    exact = finetune(
        float_net, "imu", counts, labels, settings=SETTINGS, readout=Readout(2, 2), on_epoch=heard.append
    )
    after = dict(torch.nn.Module.named_parameters(float_net))
    assert all(torch.equal(before[name], after[name]) for name in before)
    return exact, heard


def test_it_learns_in_the_chips_arithmetic(tuned):
    exact, heard = tuned
    assert [(e.stage, e.epoch) for e in heard] == [("chip_exact", epoch) for epoch in range(6)]
    assert heard[-1].train_accuracy > heard[0].train_accuracy
    assert heard[-1].train_accuracy >= 0.9
    assert not exact.training


def test_the_program_answers_as_the_net_does_to_any_input(tuned):
    exact, _ = tuned
    deployment = deploy(exact, "imu")
    raster = np.random.default_rng(1).integers(0, 15, (5, 30, 3))
    exact.reset_state()
    output = exact(torch.from_numpy(raster))[0]
    np.testing.assert_array_equal(output.detach().numpy(), deployment.run(raster))
    assert output.any()


def test_a_seed_repeats_and_a_plan_is_taken(tuned):
    counts, labels = events()
    short = FitSettings(epochs=1, batch_size=10, learning_rate=0.02, warmup=0.0)
    settings = {"settings": short, "readout": Readout(2, 2), "plan": tuned[0].plan}
    first = finetune(net(), "imu", counts, labels, seed=3, **settings)
    again = finetune(net(), "imu", counts.numpy(), labels.tolist(), seed=3, **settings)
    other = finetune(net(), "imu", counts, labels, seed=4, **settings)
    assert first.specification == again.specification
    assert first.specification != other.specification
    assert first.plan.weight_shift_in == tuned[0].plan.weight_shift_in


def test_narrow_weights_stay_narrow():
    counts, labels = events()
    exact = finetune(
        net(), get_chip("a3").with_weight_bits(3), counts, labels, settings=SETTINGS, readout=Readout(2, 2)
    )
    assert np.abs(exact.specification.weights_in).max() == 3
    assert exact.specification.chip == "a3"


def test_wrong_labels_are_refused():
    counts, labels = events()
    with pytest.raises(DataError, match="need 40 labels"):
        finetune(net(), "imu", counts, labels[:-1])
    with pytest.raises(DataError, match=r"20 of 40 labels are no class, 0 to 1 \(the first: [23]\)"):
        finetune(net(), "imu", counts, labels * 2 + (labels == 1), readout=Readout(2, 2))
    with pytest.raises(DataError, match=r"no class, 0 to 3 \(the first: 0\.5\)"):
        finetune(net(), "imu", counts, labels / 2)
    with pytest.raises(ShapeError, match=r"\(recordings, time, channels\) is needed"):
        finetune(net(), "imu", counts[0], labels)
