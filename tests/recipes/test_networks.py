from dataclasses import replace

import pytest
import torch

from snnkit.hw.xylo.mapping.check import check
from snnkit.nn.modules import LIFTorch
from snnkit.recipes.network import build_network, set_working_point
from snnkit.recipes.recipe import NetworkSection
from snnkit.training.readout import Readout
from snnkit.training.trainer import trained_parameters
from snnkit.utilities.chips import CHIPS, get_chip

IMU = get_chip("imu")
SECTION = NetworkSection(hidden=(20, 15), outputs_per_class=2, membrane_dashes=(2, 4), dt=0.005)


def build(section=SECTION, chip=IMU, dropout=0.1, seed=0):
    return build_network(section, 6, Readout(3, section.outputs_per_class), chip, dropout=dropout, seed=seed)


def populations(net):
    return [module for module in net if isinstance(module, LIFTorch)]


def test_layers_dashes_and_caps_are_the_recipes_and_the_chips():
    net = build()
    assert [type(module).__name__ for module in net] == [
        *("LinearTorch", "LIFTorch", "UnitDropout") * 2,
        "LinearTorch",
        "LIFTorch",
    ]
    first, second, last = populations(net)
    assert (first.size_out, second.size_out, last.size_out) == (20, 15, 6)
    assert first.dash_syn.flatten()[:6].tolist() == [1, 2, 3, 4, 5, 1]
    assert first.dash_mem[[0, 4, 5, 9, 10]].tolist() == [2, 2, 4, 4, 2]
    assert (first.max_spikes_per_dt, last.max_spikes_per_dt) == (31.0, 1.0)
    assert first.w_rec is not None
    assert last.w_rec is None


def test_only_what_the_recipe_trains_requires_a_gradient():
    assert {name.rsplit(".", 1)[-1] for name in trained_parameters(build())} == {"weight", "w_rec"}
    biased = build(replace(SECTION, biases=True, recurrent=False))
    assert {name.rsplit(".", 1)[-1] for name in trained_parameters(biased)} == {"weight", "bias"}


def test_a_seed_draws_the_same_weights_and_another_draws_others():
    first, again, other = (
        torch.cat([p.flatten() for p in trained_parameters(build(seed=s)).values()]) for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("scale", [0.5, 8.0])
@pytest.mark.parametrize("dashes", [(1, 2, 3, 4, 5), (6,), (1,)])
def test_at_the_working_point_no_layer_is_silent_or_saturated(scale, dashes):
    generator = torch.Generator().manual_seed(0)
    events = (scale * torch.rand(16, 60, 6, generator=generator) * 2).round().clamp(0, 15)
    net = build(replace(SECTION, synapse_dashes=dashes)).eval()
    set_working_point(net, events)
    record = net(events, record=True)[2]
    for name in ("1_LIFTorch", "4_LIFTorch", "7_LIFTorch"):
        rates = record[name]["spikes"].detach().mean(dim=(0, 1))
        assert 0.02 < float(rates.mean()) < 2.0, name
        assert float((rates > 0).float().mean()) > 0.8, name


@pytest.mark.parametrize("chip", CHIPS)
def test_the_networks_fit_every_chip(chip):
    net = build(replace(SECTION, hidden=(20,)), chip=get_chip(chip)).eval()
    assert check(net, chip).ok
