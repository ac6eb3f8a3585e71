"""Straight-through functions and decays that are bit shifts."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, aLIFTorch
from snnkit.transforms import (
    apply_T,
    bitshift_tau,
    calc_q_decay,
    class_calc_q_decay,
    floor_passthrough,
    make_backward_passthrough,
    make_bitshift_T_config,
    make_param_T_config,
    make_param_T_network,
    round_dash,
    round_passthrough,
    straight_through,
    t_decay,
)
from snnkit.transforms.scaling import dash_for_decay, decay_for_dash
from snnkit.utilities.errors import ParameterError


def test_passthrough_functions_step_forward_and_pass_the_gradient_back():
    sign = make_backward_passthrough(torch.sign)
    cases = [(floor_passthrough, [-2.0, 0.0, 2.0]), (round_passthrough, [-2.0, 0.0, 2.0])]
    for function, expected in [*cases, (sign, [-1.0, 1.0, 1.0])]:
        value = torch.tensor([-1.5, 0.4, 2.5], requires_grad=True)
        result = function(value)
        result.backward(torch.tensor([1.0, 2.0, 3.0]))
        assert result.tolist() == expected
        assert value.grad.tolist() == [1.0, 2.0, 3.0]
    assert "sign" in repr(sign)
    assert pickle.loads(pickle.dumps(sign))(torch.tensor(-3.0)) == -1


def test_straight_through_is_exact():
    source = torch.tensor([1e8, 1e-8])
    assert straight_through(source, torch.tensor([0.1, 0.3])).tolist() == torch.tensor([0.1, 0.3]).tolist()


def test_passthrough_works_under_vmap_and_double_backward():
    value = torch.randn(3, 2)
    assert torch.equal(torch.func.vmap(round_passthrough)(value), value.round())
    assert torch.equal(torch.func.grad(lambda x: round_passthrough(x).sum())(value), torch.ones(3, 2))


def test_t_decay_examples():
    given_decays = torch.tensor([0.5, 0.6, 0.75, 0.875, 0.95, 0.999])
    expected = [0.5, 0.5, 0.75, 0.875, 0.9375, 1 - 2**-10]
    torch.testing.assert_close(t_decay(given_decays), torch.tensor(expected), rtol=0, atol=1e-7)
    assert torch.equal(calc_q_decay(given_decays), t_decay(given_decays))


def test_t_decay_takes_the_nearest_bit_shift_where_the_tau_rule_does_not():
    assert t_decay(torch.tensor(0.70)).item() == 0.75


def test_short_decays_never_become_zero_and_one_becomes_the_longest():
    assert t_decay(torch.tensor([0.0, 0.1, 0.49, -0.3])).tolist() == [0.5] * 4
    assert t_decay(torch.tensor([1.0, 1.2])).tolist() == [1 - 2**-15] * 2


def test_t_decay_gradient_is_the_identity_everywhere():
    decay = torch.tensor([0.0, 0.3, 0.97, 1.0], requires_grad=True)
    t_decay(decay).sum().backward()
    assert decay.grad.tolist() == [1.0] * 4


@settings(deadline=None)
@given(st.floats(0, 1))
def test_t_decay_is_idempotent(decay):
    once = t_decay(torch.tensor(decay, dtype=torch.float64))
    assert t_decay(once) == once


def test_the_callable_form_agrees_and_its_helper_has_no_gradient():
    quantise = class_calc_q_decay(1e-3)
    decay = torch.tensor([0.5, 0.7, 0.95], requires_grad=True)
    assert torch.equal(quantise(decay), t_decay(decay))
    assert not quantise.calc_bitshift_decay(decay).requires_grad
    assert pickle.loads(pickle.dumps(quantise)).dt == 1e-3


@pytest.mark.parametrize("dt", [0.0, -1e-3, float("nan")])
def test_a_time_step_must_be_positive(dt):
    for make in (class_calc_q_decay, bitshift_tau, lambda dt: t_decay(torch.tensor(0.5), dt)):
        with pytest.raises(ParameterError, match="time step"):
            make(dt)


@settings(deadline=None)
@given(st.integers(1, 15))
def test_dash_and_decay_are_inverse(dash):
    assert dash_for_decay(decay_for_dash(torch.tensor(float(dash)))) == dash
    assert dash_for_decay(decay_for_dash(torch.tensor(float(dash))).float()) == dash


def test_nan_decays_are_refused():
    with pytest.raises(ParameterError, match="NaN"):
        dash_for_decay(torch.tensor([0.5, float("nan")]))


def test_round_dash_keeps_within_the_chip():
    dash = torch.tensor([-1.0, 0.2, 1.5, 2.5, 3.7, 20.0], requires_grad=True)
    rounded = round_dash(dash)
    rounded.sum().backward()
    assert rounded.tolist() == [1.0, 1.0, 2.0, 2.0, 4.0, 15.0]
    assert dash.grad.eq(1).all()


def test_bitshift_tau_gives_exact_bit_shift_decays():
    dt = 1e-3
    tau = torch.tensor([0.2e-3, 1e-3, 2e-3, 20e-3, 1.0])
    decay = torch.exp(-dt / bitshift_tau(dt)(tau).double())
    dash = -torch.log2(1 - decay)
    torch.testing.assert_close(dash, dash.round(), rtol=0, atol=2e-3)
    assert dash.round().tolist() == [1, 1, 1, 4, 10]


def test_bitshift_tau_refuses_non_positive_time_constants():
    with pytest.raises(ParameterError, match="greater than 0"):
        bitshift_tau(1e-3)(torch.tensor([0.01, 0.0]))


def test_the_gradient_of_a_bit_shift_decay_reaches_tau_with_the_true_slope():
    dt, tau = 1e-3, torch.tensor([5e-3, 20e-3], requires_grad=True)
    snapped = bitshift_tau(dt)(tau)
    torch.exp(-dt / snapped).sum().backward()
    slope = torch.exp(-dt / snapped) * dt / snapped**2
    torch.testing.assert_close(tau.grad, slope.detach())
    assert (tau.grad > 0).all()


def test_one_configuration_makes_bit_shifts_of_all_leaks():
    net = Sequential(
        LIFTorch(2, tau_mem=23e-3, dt=5e-3),
        LIFTorch(2, leak_mode="decays", alpha=0.9),
        LIFTorch(2, leak_mode="bitshifts", dash_mem=0.3),
        aLIFTorch(2),
    )
    config = make_bitshift_T_config(net)
    assert set(config["3_aLIFTorch"]) == {"tau_mem", "tau_syn", "tau_ahp"}
    applied = apply_T(make_param_T_network(net, config))
    for module in applied:
        for dash in (module.dash_mem, module.dash_syn):
            torch.testing.assert_close(dash, dash.round(), rtol=0, atol=1e-3)
    assert [module.dash_mem.max().round().item() for module in applied] == [2, 3, 1, 4]


def test_a_network_trains_its_time_constants_through_bit_shifts():
    torch.manual_seed(0)
    net = Sequential(LinearTorch((2, 4)), LIFTorch(4, tau_mem=torch.full((4,), 4e-3)))
    qat = make_param_T_network(net, make_param_T_config(net, bitshift_tau(1e-3), "taus"))
    optimiser = torch.optim.SGD(qat.parameters("taus").astorch(), lr=1e-6)
    before = copy.deepcopy(qat[1].tau_mem.detach())
    events = torch.rand(3, 40, 2).round() * 3
    qat(events, record=True)[2]["1_LIFTorch"]["vmem"].square().mean().backward()
    optimiser.step()
    assert torch.isfinite(qat[1].tau_mem).all()
    assert (qat[1].tau_mem != before).any()
