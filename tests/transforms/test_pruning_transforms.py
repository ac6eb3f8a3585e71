"""Pruning, learned steps and mismatch: transforms with a memory."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.transforms import (
    CubicSchedule,
    FanInPruning,
    FanOutPruning,
    FixedMask,
    LearnedStepSize,
    MagnitudePruning,
    advance_transforms,
    apply_T,
    deterministic_transforms,
    freeze_masks,
    load_transform_state,
    make_param_T_config,
    make_param_T_network,
    mismatch_generator,
    mismatch_noise,
    remove_T_net,
    transform_state,
)
from snnkit.transforms.pruning import fan_in_mask, fan_out_mask, magnitude_mask
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, ParameterError, ShapeError
from snnkit.utilities.tree_utils import make_prototype_tree


def network():
    torch.manual_seed(0)
    return Sequential(LinearTorch((3, 6)), LIFTorch(6, has_rec=True), LinearTorch((6, 2)), LIFTorch(2))


def patched(transform, family="weights"):
    net = network()
    return make_param_T_network(net, make_param_T_config(net, transform, family))


# --- Masks ------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.floats(0, 1), st.integers(0, 2**31))
def test_magnitude_masks_drop_the_smallest(rows, columns, sparsity, seed):
    value = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    mask = magnitude_mask(value, sparsity)
    dropped = rows * columns - int(mask.sum())
    assert dropped == round(sparsity * rows * columns)
    if 0 < dropped < rows * columns:
        assert value[~mask].abs().max() <= value[mask].abs().min()


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 7), st.integers(0, 2**31))
def test_fan_masks_keep_the_strongest_of_each_neuron(sources, targets, limit, seed):
    value = torch.randn(sources, targets, generator=torch.Generator().manual_seed(seed))
    fan_in, fan_out = fan_in_mask(value, limit), fan_out_mask(value, limit)
    assert fan_in.sum(0).tolist() == [min(limit, sources)] * targets
    assert fan_out.sum(1).tolist() == [min(limit, targets)] * sources
    assert torch.equal(fan_out, fan_in_mask(value.T, limit).T)


def test_equal_magnitudes_are_told_apart_by_their_place():
    assert magnitude_mask(torch.ones(4), 0.5).tolist() == [True, True, False, False]


def test_masked_weights_are_zero_and_get_no_gradient():
    tnet = patched(MagnitudePruning(0.5))
    tnet(torch.ones(1, 20, 3), record=True)[2]["3_LIFTorch"]["vmem"].sum().backward()
    mask = magnitude_mask(tnet[0].weight, 0.5)
    assert tnet[0].weight.grad[~mask].eq(0).all()
    applied = remove_T_net(apply_T(tnet))
    assert applied[0].weight.eq(0).sum() == 9
    assert applied[1].w_rec.eq(0).sum() == 18
    assert (tnet[0].weight != 0).all()


def test_every_parameter_has_a_mask_of_its_own():
    transform = MagnitudePruning(0.5)
    tnet = patched(transform)
    masks = [tensor for key, tensor in transform_state(tnet).items() if key.endswith("mask")]
    assert [tuple(mask.shape) for mask in masks] == [(3, 6), (6, 6), (6, 2)]
    assert transform.mask.shape == ()


def test_a_schedule_prunes_step_by_step_and_lets_weights_return():
    tnet = patched(MagnitudePruning(0.8, CubicSchedule(begin=1, end=3)), "weight")

    def share():
        return remove_T_net(apply_T(tnet))[0].weight.eq(0).double().mean().item()

    shares = [share()]
    for _ in range(4):
        advance_transforms(tnet)
        shares.append(share())
    assert shares[0] == shares[1] == 0
    assert 0 < shares[2] < shares[3] == shares[4]
    assert shares[4] == pytest.approx(14 / 18)
    weak = remove_T_net(apply_T(tnet))[0].weight.eq(0)
    with torch.no_grad():
        tnet[0].weight[weak] += 100
    assert remove_T_net(apply_T(tnet))[0].weight[weak].abs().max() > 0


def test_frozen_masks_stay_through_training_and_schedule():
    tnet = patched(FanInPruning(2), "weight")
    freeze_masks(tnet)
    mask = fan_in_mask(tnet[0].weight, 2)
    with torch.no_grad():
        tnet[0].weight[~mask] += 100
    advance_transforms(tnet)
    tnet(torch.ones(1, 3, 3))
    assert torch.equal(remove_T_net(apply_T(tnet))[0].weight != 0, mask)


def test_freezing_uses_the_values_that_the_mask_sees():
    net = network()
    config = make_param_T_config(net, [lambda w: 1 / w, MagnitudePruning(0.5)], "weight")
    tnet = make_param_T_network(net, config)
    freeze_masks(tnet)
    kept = remove_T_net(apply_T(tnet))[0].weight != 0
    assert torch.equal(kept, magnitude_mask(1 / net[0].weight, 0.5))


def test_fixed_masks_keep_absent_connections_absent():
    net = network()
    with torch.no_grad():
        net[0].weight[1] = 0
    tnet = make_param_T_network(net, make_param_T_config(net, FixedMask(), "weight"))
    optimiser = torch.optim.SGD(tnet.parameters().astorch(), lr=0.1)
    tnet(torch.ones(1, 20, 3), record=True)[2]["3_LIFTorch"]["vmem"].sum().backward()
    optimiser.step()
    assert remove_T_net(apply_T(tnet))[0].weight[1].eq(0).all()
    assert tnet[0].weight[1].eq(0).all()
    given_mask = torch.ones(3, 6, dtype=torch.bool)
    given_mask[:, 0] = False
    masked = make_param_T_network(net, {"0_LinearTorch": {"weight": FixedMask(given_mask)}})
    assert remove_T_net(apply_T(masked))[0].weight[:, 0].eq(0).all()
    with pytest.raises(ShapeError, match=r"mask has shape \(3, 6\)"):
        make_param_T_network(net, {"2_LinearTorch": {"weight": FixedMask(given_mask)}})


def test_fan_out_for_a_chip_stays_within_its_memory():
    for name in ("a2", "imu"):
        chip = get_chip(name)
        limit = FanOutPruning.for_chip(name).limit
        assert limit <= chip.max_fanout
        assert limit * chip.max_hidden <= chip.max_recurrent_weights * chip.hidden_synapses
    tnet = make_param_T_network(network(), {"1_LIFTorch": {"w_rec": FanOutPruning(2)}})
    assert (remove_T_net(apply_T(tnet))[1].w_rec != 0).sum(1).tolist() == [2] * 6


@pytest.mark.parametrize(
    "build",
    [
        lambda: MagnitudePruning(1.5),
        lambda: FanInPruning(-1),
        lambda: FanOutPruning(2.5),
        lambda: CubicSchedule(3, 3),
        lambda: CubicSchedule(-1, 3),
        lambda: LearnedStepSize(1),
    ],
)
def test_impossible_settings_are_refused(build):
    with pytest.raises(ParameterError):
        build()


def test_the_order_of_plain_torch_weights_is_told_from_the_module():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4))
    for transform, axis, count in ((FanInPruning(2), 1, 4), (FanOutPruning(3), 0, 5)):
        tnet = make_param_T_network(net, make_param_T_config(net, transform, "weight"))
        kept = (remove_T_net(apply_T(tnet))[0].weight != 0).sum(axis)
        assert kept.tolist() == [transform.limit] * count
    stepped = make_param_T_network(net, {"0": {"weight": LearnedStepSize(8, per_channel=True)}})
    assert stepped[0].T_config["weight"][0].step.shape == (4, 1)
    assert stepped(torch.ones(1, 5)).shape == (1, 4)


def test_fan_limits_need_a_matrix():
    with pytest.raises(ShapeError, match="weight matrix"):
        make_param_T_network(network(), {"1_LIFTorch": {"threshold": FanInPruning(1)}})


# --- Memory -----------------------------------------------------------------------------------------


def test_memory_is_saved_and_restored_apart_from_the_state_dict():
    tnet = patched([MagnitudePruning(0.5), LearnedStepSize(4)])
    freeze_masks(tnet)
    with torch.no_grad():
        tnet[0].weight.mul_(-3)
    state = transform_state(tnet)
    assert "0_LinearTorch.weight.0.mask" in state
    assert "0_LinearTorch.weight.1.step" in state
    assert list(tnet.state_dict()) == list(network().state_dict())
    other = patched([MagnitudePruning(0.5), LearnedStepSize(4)])
    other.load_state_dict(tnet.state_dict())
    load_transform_state(other, state)
    ours, theirs = (apply_T(net).parameters().astorch() for net in (tnet, other))
    assert all(torch.equal(one, another) for one, another in zip(ours, theirs, strict=True))
    renamed = {key.replace("mask", "msk"): value for key, value in state.items()}
    with pytest.raises(ConfigurationError, match=r"Did you mean '0_LinearTorch\.weight\.0\.mask'"):
        load_transform_state(other, renamed)
    with pytest.raises(ConfigurationError, match="is missing"):
        load_transform_state(other, {})


def test_copies_and_pickles_keep_their_own_memory():
    tnet = patched(MagnitudePruning(0.5))
    freeze_masks(tnet)
    twin, pickled = copy.deepcopy(tnet), pickle.loads(pickle.dumps(tnet))
    with torch.no_grad():
        for net in (tnet, twin, pickled):
            net[0].weight.copy_(torch.randn(3, 6, generator=torch.Generator().manual_seed(9)))
    for net in (twin, pickled):
        assert torch.equal(apply_T(net)[0].weight, apply_T(tnet)[0].weight)
        net[0].T_config["weight"][0].mask.zero_()
    assert apply_T(tnet)[0].weight.ne(0).any()


def test_memory_moves_with_the_network():
    tnet = patched([MagnitudePruning(0.5), LearnedStepSize(4)]).double()
    state = transform_state(tnet)
    assert state["0_LinearTorch.weight.1.step"].dtype == torch.float64
    assert tnet(torch.ones(1, 4, 3, dtype=torch.float64))[0].dtype == torch.float64


# --- Learned step size ------------------------------------------------------------------------------


def test_learned_steps_give_few_levels_with_zero_among_them():
    value = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    transform = LearnedStepSize(n_bits=3).bind(value)
    quantised = transform(value)
    integers = quantised / transform.step
    torch.testing.assert_close(integers, integers.round())
    assert integers.abs().max().round() == 3
    assert transform(torch.zeros(2, 2)).eq(0).all()
    assert transform.step.item() == pytest.approx(2 * value.abs().mean().item() / 3**0.5)


def test_learned_step_gradient_is_that_of_the_paper():
    value = torch.tensor([-9.0, -0.6, 0.2, 1.4, 9.0], requires_grad=True)
    transform = LearnedStepSize(n_bits=3).bind(value)
    with torch.no_grad():
        transform.step.fill_(1.0)
    transform(value).backward(torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0]))
    ratio = value.detach()
    inside = torch.round(ratio) - ratio
    expected = torch.where(ratio <= -3, -3.0, torch.where(ratio >= 3, 3.0, inside))
    weighted = (expected * torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0])).sum() / (5 * 3) ** 0.5
    torch.testing.assert_close(transform.step.grad, weighted)
    assert value.grad.tolist() == [0.0, 10.0, 100.0, 1000.0, 0.0]


def test_steps_per_target_and_of_constant_parameters():
    value = torch.tensor([[1.0, 100.0, 0.0], [-2.0, 50.0, 0.0]])
    transform = LearnedStepSize(8, per_channel=True).bind(value)
    assert transform.step.shape == (3,)
    assert ((transform(value) - value).abs() <= transform.step / 2).all()
    with pytest.raises(ShapeError, match="weight matrix"):
        LearnedStepSize(8, per_channel=True).bind(torch.ones(3))


def test_steps_are_trained_with_the_network_and_lower_the_error():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8))
    target = net[0].weight.detach().clone()
    tnet = make_param_T_network(net, make_param_T_config(net, LearnedStepSize(3), "weights"))
    state = transform_state(tnet)["0.weight.0.step"].clone()
    steps = [p for name, p in tnet.named_parameters() if name.endswith("step")]
    assert len(steps) == 1
    optimiser = torch.optim.Adam(steps, lr=1e-2)
    errors = []
    for _ in range(100):
        optimiser.zero_grad()
        error = (tnet[0].transformed_values()["weight"] - target).square().sum()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.9 * errors[0]
    assert transform_state(tnet)["0.weight.0.step"] != state


def test_learned_steps_are_in_the_parameter_tree():
    tnet = patched(LearnedStepSize(8), "weight")
    tree = tnet.parameters()["0_LinearTorch"]
    assert tree["_T_weight"]["step"] is tnet[0].T_config["weight"][0].step
    assert sum(parameter is tree["_T_weight"]["step"] for parameter in tnet.parameters().astorch()) == 1
    assert "_T_weight" not in tnet.parameters("weights")["0_LinearTorch"]
    assert make_param_T_config(tnet, torch.neg)["0_LinearTorch"] == {"_mod": {"weight": torch.neg}}


# --- Mismatch ---------------------------------------------------------------------------------------


def test_mismatch_has_the_spread_asked_for_and_stays_within_it():
    value = torch.full((20000,), 2.0, requires_grad=True)
    noisy = mismatch_noise(value, 0.3, 3.0, generator=torch.Generator().manual_seed(0))
    relative = noisy.detach() / 2 - 1
    assert relative.abs().max() <= 0.3 + 1e-6
    assert relative.std().item() == pytest.approx(0.1, rel=0.05)
    noisy.sum().backward()
    torch.testing.assert_close(value.grad, noisy.detach() / 2)
    with deterministic_transforms():
        assert torch.equal(mismatch_noise(value), value)


def test_a_mismatch_generator_draws_devices_of_a_whole_network():
    net = network()
    parameters = net.parameters()
    prototype = make_prototype_tree(parameters, net.parameters("taus"))
    regenerate = mismatch_generator(prototype, 0.3, 3.0)
    first, second, again = (regenerate(parameters, torch.Generator().manual_seed(seed)) for seed in (0, 1, 0))
    tau = [device["1_LIFTorch"]["tau_mem"] for device in (first, second, again)]
    assert torch.equal(tau[0], tau[2])
    assert (tau[0] != tau[1]).all()
    assert first["0_LinearTorch"]["weight"] is parameters["0_LinearTorch"]["weight"]
    net.set_attributes(first)
    assert torch.equal(net[1].tau_mem, tau[0])


@pytest.mark.parametrize(("deviation", "sigma"), [(-0.1, 3.0), (0.3, 0.0)])
def test_impossible_mismatch_is_refused(deviation, sigma):
    with pytest.raises(ParameterError, match="deviation"):
        mismatch_noise(torch.ones(1), deviation, sigma)
