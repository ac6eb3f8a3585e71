"""Chip-exact networks as modules: conversion, state, files, transforms, replay, narrow weights."""

import copy
import pickle

import numpy as np
import pytest
import torch
from exact.exact_nets import random_case, recorded_by

from snnkit.hw.xylo import MappingError, chip_exact, deploy
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.per_neuron import expand_to_neurons
from snnkit.transforms import FanInPruning, for_chip, make_param_T_network, remove_T_net
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, DataError, ParameterError, ShapeError


def small_net(seed=0, **more):
    torch.manual_seed(seed)
    return Sequential(LinearTorch((3, 8)), LIFTorch(8, **more), LinearTorch((8, 2)), LIFTorch(2))


def events(seed=1, batch=4, steps=25):
    return torch.randint(0, 5, (batch, steps, 3), generator=torch.Generator().manual_seed(seed)).float()


def test_training_moves_the_parameters_of_the_inner_net_alone():
    net = small_net()
    exact = chip_exact(net, "imu", events())
    before = copy.deepcopy(net.state_dict())
    optimiser = torch.optim.Adam(exact.parameters("weights").astorch(), lr=0.05)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        exact.reset_state()
        output, _, _ = exact(events())
        loss = (output.mean(1) - torch.tensor([0.1, 0.6])).square().sum()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert not torch.equal(exact.net[0].weight, net[0].weight)


def test_states_carry_over_and_reset():
    exact = chip_exact(small_net(), "imu")
    whole, _, _ = exact(events())
    exact.reset_state()
    parts = torch.cat([exact(events()[:, :9])[0], exact(events()[:, 9:])[0]], 1)
    assert torch.equal(whole, parts)
    assert not torch.equal(exact(events())[0], whole)
    exact.reset_state()
    assert torch.equal(exact(events())[0], whole)
    with pytest.raises(ShapeError, match="reset_state"):
        exact(events(batch=3))


def test_calls_without_gradients_record_nothing_and_equal_those_with():
    exact = chip_exact(small_net(), "imu")
    trained, _, _ = exact(events())
    exact.reset_state()
    with torch.no_grad():
        output, state, record = exact(events())
    assert torch.equal(output, trained)
    assert not output.requires_grad
    assert record == {}
    assert set(state) == {"isyn", "vmem", "spikes", "isyn_out", "vmem_out"}


def test_copies_pickles_state_dicts_and_files_hold_the_whole_program(tmp_path):
    exact = chip_exact(small_net(), "imu", events())
    exact(events())
    for twin in (copy.deepcopy(exact), pickle.loads(pickle.dumps(exact))):
        assert twin.specification == exact.specification
        assert torch.equal(twin(events())[0], copy.deepcopy(exact)(events())[0])
    loaded = chip_exact(small_net(seed=5), "imu")
    assert loaded.specification != exact.specification
    loaded.load_state_dict(exact.state_dict())
    assert loaded.specification == exact.specification
    assert loaded.plan.weight_shift_in == exact.plan.weight_shift_in
    exact.save(tmp_path / "exact.json")
    read = chip_exact(small_net(seed=6), "imu").load(tmp_path / "exact.json")
    assert read.specification == exact.specification


def test_pruning_masks_keep_working_and_reach_the_program():
    masked = make_param_T_network(small_net(has_rec=True), {"1_LIFTorch": {"w_rec": FanInPruning(2)}})
    exact = chip_exact(masked, "a2", events())
    optimiser = torch.optim.SGD(torch.nn.Module.parameters(exact), lr=0.01)
    for _ in range(3):
        optimiser.zero_grad()
        exact.reset_state()
        exact(events())[0].sum().backward()
        optimiser.step()
        assert (np.count_nonzero(exact.specification.weights_rec, axis=0) <= 2).all()
    exact.reset_state()
    np.testing.assert_array_equal(exact(events())[0].detach(), exact.simulator()(events().numpy())[0])


def test_a_net_trained_with_for_chip_brings_its_plan():
    qat = for_chip(small_net(), "imu", calibration=events())
    exact = chip_exact(qat, "imu")
    assert exact.specification == deploy(qat, "imu").specification
    assert exact.net[0].weight is not qat[0].weight
    assert type(exact.net[0]) is LinearTorch
    with pytest.raises(ConfigurationError, match="patched for"):
        chip_exact(qat, "a3")
    assert remove_T_net(qat) is not None


@pytest.mark.parametrize("bits", [8, 6, 4, 2])
def test_narrow_weights_by_one_mechanism(bits):
    chip = get_chip("imu").with_weight_bits(bits)
    largest = 2 ** (bits - 1) - 1
    net = small_net()
    exact = chip_exact(net, chip, events(), torch.tensor([0, 1, 0, 1]))
    qat = for_chip(net, chip, calibration=events())
    specs = [exact.specification, deploy(exact, chip).specification, deploy(qat, chip).specification]
    specs.append(deploy(net, chip, calibration=events()).specification)
    for spec in specs:
        assert max(abs(int(spec.weights_in.max())), abs(int(spec.weights_in.min()))) <= largest
        assert spec.violations() == ()
    assert specs[0] == specs[1]


@pytest.mark.parametrize("bits", [1, 9, 4.5])
def test_impossible_widths_of_weights_are_refused(bits):
    with pytest.raises(ConfigurationError, match="2 to 8"):
        get_chip("imu").with_weight_bits(bits)


def test_a_recorded_run_gives_the_gradients_of_its_own_states():
    case = random_case(11)
    exact = case.exact()
    own = recorded_by(exact, case.first)
    found = []
    for recorded in ({}, own, {"Spikes_out": own["Spikes_out"]}):
        exact.zero_grad()
        exact.reset_state()
        output = exact.replay(case.first, recorded)
        np.testing.assert_array_equal(output.detach(), own["Spikes_out"])
        output.sum().backward()
        found.append([p.grad.clone() for p in torch.nn.Module.parameters(exact)])
    exact.zero_grad()
    exact.reset_state()
    exact(case.first)[0].sum().backward()
    for gradients in found:
        for one, parameter in zip(gradients, torch.nn.Module.parameters(exact), strict=True):
            assert torch.equal(one, parameter.grad)


def test_a_run_that_went_otherwise_is_returned_as_it_went():
    exact = chip_exact(small_net(), "imu", events())
    own = recorded_by(exact, events())
    other = {name: values.copy() for name, values in own.items()}
    other["Spikes_out"] = 1 - own["Spikes_out"]
    other["Vmem"] = own["Vmem"] + 3
    exact.reset_state()
    output = exact.replay(events(), other)
    np.testing.assert_array_equal(output.detach(), other["Spikes_out"])
    output.sum().backward()
    changed = exact.net[0].weight.grad.clone()
    exact.zero_grad()
    exact.reset_state()
    exact(events())[0].sum().backward()
    assert not torch.equal(changed, exact.net[0].weight.grad)


def test_recordings_that_cannot_be_are_refused():
    exact = chip_exact(small_net(), "imu")
    own = recorded_by(exact, events())
    exact.reset_state()
    with pytest.raises(ConfigurationError, match="Vmem"):
        exact.replay(events(), {"Vmems": own["Vmem"]})
    with pytest.raises(ShapeError, match="Vmem"):
        exact.replay(events(), {"Vmem": own["Vmem"][:, 1:]})
    with pytest.raises(DataError, match="whole"):
        exact.replay(events(), {"Vmem": own["Vmem"] + 0.5})


def test_reports_of_deployments_come_from_the_calibration_data():
    exact = chip_exact(small_net(), "imu", events())
    report = deploy(exact, "imu", calibration=events(), labels=torch.tensor([0, 1, 0, 1])).report
    assert report.agreement == 1.0
    assert report.float_accuracy == report.chip_accuracy
    assert report.delay == 0
    with pytest.raises(ConfigurationError, match="own plan"):
        deploy(exact, "imu", headroom=2.0)
    with pytest.raises(ConfigurationError, match="computes as"):
        deploy(exact, "a3")


def test_recalibration_follows_the_states():
    exact = chip_exact(small_net(), "imu", events())
    with torch.no_grad():
        exact.net[0].weight.mul_(3)
    plan = exact.recalibrate(events())
    assert float(plan.peaks["1_LIFTorch"].max()) > 0
    assert plan.headroom == exact.plan.headroom
    np.testing.assert_array_equal(exact(events())[0].detach(), exact.simulator()(events().numpy())[0])


def test_calls_that_cannot_be_are_refused():
    exact = chip_exact(small_net(), "imu")
    with pytest.raises(DataError, match="whole numbers"):
        exact(events() + 0.5)
    with pytest.raises(ShapeError, match="must be 3"):
        exact(torch.zeros(1, 4, 2))
    with pytest.raises(ConfigurationError, match="CPU"):
        exact.to("meta")(events())


def test_parameters_that_training_has_ruined_are_refused_by_name():
    exact = chip_exact(small_net(), "imu", events())
    exact.net[0].weight.data[0, 0] = torch.nan
    exact.net[1].tau_mem.data[0] = torch.nan
    exact.net[3].threshold.data[1] = -0.5
    names = r"0_LinearTorch\.weight.*1_LIFTorch's membrane.*3_LIFTorch\.threshold is -0\.5"
    for use in (lambda: exact(events()), lambda: exact.specification, lambda: deploy(exact, "imu")):
        with pytest.raises(ParameterError, match=names):
            use()


def test_half_precision_does_not_hold_the_states():
    exact = chip_exact(small_net(), "imu", events())
    with pytest.raises(ConfigurationError, match=r"float16.*exact\.float"):
        exact.half()(events())


@pytest.mark.parametrize(("batch", "steps"), [(0, 25), (4, 0), (0, 0)])
def test_no_samples_and_no_steps(batch, steps):
    exact = chip_exact(small_net(), "imu", events())
    data = events()[:batch, :steps].requires_grad_()
    output, _, record = exact(data, record=True)
    assert output.shape == (batch, steps, 2)
    assert record["Vmem"].shape == (batch, steps, 8)
    output.sum().backward()
    assert data.grad.shape == data.shape
    assert all(not p.grad.any() for p in torch.nn.Module.parameters(exact))


def test_programs_are_not_deployed_with_fewer_bits_than_they_were_trained_with():
    narrow = get_chip("imu").with_weight_bits(4)
    with pytest.raises(ConfigurationError, match="8 bits, not of 4"):
        deploy(chip_exact(small_net(), "imu"), narrow)
    with pytest.raises(ConfigurationError, match="8-bit weights, not for 4"):
        deploy(for_chip(small_net(), "imu"), narrow)
    exact = chip_exact(small_net(), narrow)
    assert deploy(exact, "imu").specification == exact.specification


def test_what_cannot_be_converted_is_refused():
    with pytest.raises(MappingError):
        chip_exact(Sequential(LinearTorch((3, 2)), LIFTorch(2)), "imu")
    net = small_net()
    with pytest.raises(ConfigurationError, match="chip-exact for Xylo-IMU"):
        chip_exact(chip_exact(net, "imu"), "a3")
    with pytest.raises(ConfigurationError, match="output_mode"):
        chip_exact(net, "imu", output_mode="Vmems")
    with pytest.raises(ConfigurationError, match="calibration too"):
        chip_exact(net, "imu", labels=[0, 1])
    with pytest.raises(ConfigurationError, match="plan"):
        chip_exact(net, "imu", events(), plan=chip_exact(net, "imu").plan)
    net[1].spike_generation_fn = lambda v, th, window, cap: torch.clamp(torch.floor(v / th), 0, 31)
    with pytest.raises(ConfigurationError, match="surrogates"):
        chip_exact(net, "imu")


def test_windows_for_each_neuron_are_refused_with_the_surrogates_name():
    net = expand_to_neurons(
        Sequential(LinearTorch((3, 4)), LIFTorch(4), LinearTorch((4, 2)), LIFTorch(2)), "learning_window"
    )
    with pytest.raises(ConfigurationError, match=r"not StepPWL with 4 \(relative_window=True"):
        chip_exact(net, "a2")
