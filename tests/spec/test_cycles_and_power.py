"""The cycle model against figures computed by hand, and the estimate of power built on it."""

import dataclasses

import numpy as np
import pytest
import torch

from snnkit.hw.xylo.cycles import count_cycles, cycles_model, est_clock_freq
from snnkit.hw.xylo.power import estimate_power, inference_cost
from snnkit.hw.xylo.specification.core import Specification
from snnkit.utilities.chips import CHIPS
from snnkit.utilities.errors import ParameterError


def program(chip="imu", n_synapses=1):
    """2 inputs reach 3 of 4 hidden neurons, mean fan-out 2, two aliases; 2 of the 4 drive 2 outputs."""
    recurrent = np.zeros((4, 4, n_synapses), int)
    recurrent[:, :2, 0] = 1
    return Specification.create(
        chip=chip,
        weights_in=np.pad(np.ones((2, 3, 1), int), ((0, 0), (0, 1), (0, n_synapses - 1))),
        weights_rec=recurrent,
        weights_out=[[0, 0], [0, 0], [1, 0], [1, 1]],
        threshold=[1, 1, 1, 1],
        aliases=[[1], [], [3], []],
    )


def test_parts_agree_with_the_formula_worked_out_by_hand():
    cycles = count_cycles(program(), 0.5, 0.25)
    assert cycles.input_weights == 2 * (0.5 * 3 * 3.5 + 1) == 12.5
    assert cycles.recurrent_weights == 4 * (2 * 7 * 0.25 + 3) == 26
    assert cycles.output_weights == 2 * 0.25 * 17 == 8.5
    assert cycles.hidden_neurons == 4 * (19 + 2 * 0.25 + 3 * 0.25 + 0.25 + 0.5 * 0.5) == 83
    assert cycles.output_neurons == 24
    assert cycles.second_synapse == 0
    assert cycles.total == cycles_model(program(), 0.5, 0.25) == 154


def test_chips_without_windows_go_through_all_neurons_and_report_synapse_two():
    assert cycles_model(program("a2", 2), 0.5, 0.25) == (16 + 26 + 17 + 83 + 24, 6 + 10 + 4)
    assert cycles_model(program("a1", 1), 0.5, 0.25) == (166, 0)
    assert cycles_model(program("a3", 2), 0.5, 0.25) == 154


def test_worst_case_is_the_default():
    # 2*(3*3.5+1) + 4*(14+3) + 2*17 + 4*(19 + 2 + 3*0.5 + 1 + 0.5) + 24
    assert cycles_model(program()) == 23 + 68 + 34 + 96 + 24
    assert est_clock_freq(program(), dt=1e-3) == pytest.approx(245 * 1.2 / 1e-3)
    assert est_clock_freq(program(), dt=2e-3, margin=0.5) == pytest.approx(245 * 1.5 / 2e-3)
    assert est_clock_freq(program()) == pytest.approx(245 * 1.2 / CHIPS["imu"].default_dt)


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, list])
def test_rasters_count_as_their_share_of_bins_with_events(kind):
    quarter = kind([[0, 3], [0, 0]])
    half = kind([[1, 0, 0, 15]])
    assert cycles_model(program(), half, quarter, quarter) == 154


def test_configurations_count_like_their_specification():
    for chip in CHIPS:
        spec = program(chip)
        assert cycles_model(spec.to_configuration(), 0.3, 0.2) == cycles_model(spec, 0.3, 0.2)
        assert est_clock_freq(spec.to_configuration(), 1e-3) == est_clock_freq(spec, 1e-3)


def test_more_activity_costs_more():
    rates = np.linspace(0, 1, 5)
    assert np.all(np.diff([cycles_model(program(), rate, 0) for rate in rates]) > 0)
    assert np.all(np.diff([cycles_model(program(), 0, rate) for rate in rates]) > 0)
    assert cycles_model(program(), 0.5, 0.5, 0) == cycles_model(program(), 0.5, 0.5, 1)


@pytest.mark.parametrize(
    "arguments", [(1.5,), (0.5, -0.1), (0.5, 0.5, 2.0), (float("nan"),), (np.zeros((0, 3)),)]
)
def test_impossible_probabilities_are_refused(arguments):
    with pytest.raises(ParameterError, match="_sp"):
        cycles_model(program(), *arguments)


@pytest.mark.parametrize("dt", [None, 0.0, -1.0, float("inf"), float("nan")])
def test_a_configuration_needs_a_time_step(dt):
    config = program().to_configuration()
    with pytest.raises(ParameterError, match="dt"):
        est_clock_freq(config, dt)
    with pytest.raises(ParameterError, match="dt"):
        estimate_power(config, dt)


def test_negative_margin_is_refused():
    with pytest.raises(ParameterError, match="margin"):
        est_clock_freq(program(), margin=-0.1)


@pytest.mark.parametrize("chip", CHIPS)
def test_power_is_an_estimate_with_a_range_and_its_sources(chip):
    power = estimate_power(program(chip), dt=1e-3, input_sp=0.1, hidden_sp=0.1)
    assert 0 < power.low < power.idle_watts < power.watts < power.high < 1e-2
    assert power.watts == pytest.approx(power.idle_watts + power.dynamic_watts)
    total = count_cycles(program(chip), 0.1, 0.1).total
    assert power.cycles_per_second == pytest.approx(total / 1e-3)
    assert power.dynamic_watts == pytest.approx(30e-12 * total / 1e-3)
    assert "no measurement" in power.explanation
    assert CHIPS[chip].title in power.explanation
    assert "estimate" in str(power)
    with pytest.raises(dataclasses.FrozenInstanceError):
        power.watts = 0


def test_range_covers_the_published_audio_network():
    """A SynNet of the published size, 10 % active: the paper gives 219 µW idle and 93 µW dynamic."""
    n = 72
    recurrent = np.zeros((n, n), int)
    recurrent[:24, 24:48] = recurrent[24:48, 48:] = 1
    weights_in = np.zeros((16, n), int)
    weights_in[:, :24] = 1
    spec = Specification.create(
        chip="a2", weights_in=weights_in, weights_rec=recurrent, weights_out=np.ones((n, 4), int), dt=1e-3
    )
    power = estimate_power(spec, input_sp=0.1, hidden_sp=0.1)
    assert power.low < 219e-6 + 93e-6 < power.high
    assert power.watts == pytest.approx(219e-6 + 93e-6, rel=0.1)


def test_power_falls_with_a_longer_time_step():
    assert estimate_power(program(), dt=5e-3).watts < estimate_power(program(), dt=1e-3).watts
    assert estimate_power(program()).watts == estimate_power(program(), dt=CHIPS["imu"].default_dt).watts


@pytest.mark.parametrize("chip", ["a1", "a2", "a3", "imu"])
def test_an_inference_costs_power_times_time(chip):
    spec = program(chip)
    cost = inference_cost(spec, 50, 2e-3, 0.5, 0.25)
    power = estimate_power(spec, 2e-3, 0.5, 0.25)
    assert cost.seconds == pytest.approx(0.1)
    assert cost.joules == pytest.approx(0.1 * power.watts)
    assert cost.low < cost.joules < cost.high
    assert cost.dynamic_joules == pytest.approx(0.1 * power.dynamic_watts)
    assert cost.cycles == pytest.approx(50 * cost.cycles_per_step)
    assert cost.cycles_per_step == count_cycles(spec, 0.5, 0.25).total
    assert cost.clock == pytest.approx(est_clock_freq(spec, 2e-3))
    assert "50 steps in 0.1 s" in str(cost)
    with pytest.raises(ParameterError, match="at least one time step"):
        inference_cost(spec, 0)
