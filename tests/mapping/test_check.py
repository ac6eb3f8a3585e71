"""Every rule of a chip, broken one at a time and several at once."""

import itertools

import pytest
import torch
from torch import nn

from snnkit.hw.xylo.mapping.check import check
from snnkit.hw.xylo.mapping.lowering import lower
from snnkit.hw.xylo.violation import DRCError, MappingError
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import (
    ExpSynTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    RateTorch,
    UpDownTorch,
    aLIFTorch,
)
from snnkit.utilities.chips import CHIPS, get_chip


def layers(*sizes: int, **lif: object) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        modules += [LinearTorch((n_in, n_out)), LIFTorch(n_out, **lif)]
    return modules


def rules(net: nn.Module, chip: str = "imu") -> list[tuple[str, str]]:
    return [(violation.rule, violation.where) for violation in check(net, chip).violations]


def only_violation(net: nn.Module, chip: str = "imu"):
    violations = check(net, chip).violations
    assert len(violations) == 1, [str(violation) for violation in violations]
    assert violations[0].fix
    return violations[0]


@pytest.mark.parametrize("chip", list(CHIPS))
def test_a_network_that_fits_has_no_violations(chip):
    report = check(Sequential(*layers(4, 10, 3)), chip)
    assert report.ok
    assert report.violations == ()
    report.raise_for_violations()
    assert "The network fits" in str(report)


@pytest.mark.parametrize("chip", list(CHIPS))
def test_exactly_the_limits_fit_and_one_more_does_not(chip):
    limits = get_chip(chip)
    outside = limits.max_outputs + 1
    assert check(Sequential(*layers(limits.max_inputs, 20, limits.max_outputs)), chip).ok
    violation = only_violation(Sequential(*layers(limits.max_inputs + 1, 20, 2)), chip)
    assert (violation.rule, violation.value, violation.limit) == ("input channels", 17, 16)
    violation = only_violation(Sequential(*layers(3, 20, outside)), chip)
    assert (violation.rule, violation.value) == ("output neurons", outside)
    assert "3_LIFTorch" in violation.where


def test_too_many_hidden_neurons():
    net = Sequential(*layers(3, 100, 100, 96, 100, 104, 5))
    with torch.no_grad():
        for index in (4, 6):
            net[index].weight.zero_()
    violation = only_violation(net)
    assert (violation.rule, violation.value, violation.limit) == ("hidden neurons", 500, 496)
    assert "5_LIFTorch: 96" in violation.where


def test_networks_of_any_size_can_be_checked():
    net = Sequential(*layers(3, 100, 30_000, 5))
    report = check(net, "imu")
    assert {violation.rule for violation in report.violations} == {
        "hidden neurons", "neurons that drive outputs",
    }  # fmt: skip
    assert any("not counted" in note for note in report.notes)


def test_windows_of_128_neurons():
    wide_first = Sequential(*layers(3, 130, 20, 2))
    violation = only_violation(wide_first)
    assert (violation.rule, violation.value, violation.limit) == ("neurons that take input", 130, 128)
    assert violation.where == "1_LIFTorch"
    wide_last = Sequential(*layers(3, 20, 130, 2))
    violation = only_violation(wide_last)
    assert (violation.rule, violation.value) == ("neurons that drive outputs", 130)
    assert violation.where == "3_LIFTorch"
    assert check(Sequential(*layers(3, 128, 128, 2)), "imu").ok
    assert [rule for rule, _ in rules(Sequential(*layers(3, 130, 2)))] == [
        "neurons that take input",
        "neurons that drive outputs",
    ]
    assert check(Sequential(*layers(3, 60, 60, 2)), "a2").ok


def test_pruned_neurons_at_the_edge_of_a_window_do_not_count():
    net = Sequential(*layers(3, 130, 20, 2))
    with torch.no_grad():
        net[0].weight[:, 128:] = 0
    report = check(net, "imu")
    assert report.ok
    assert lower(net, "imu").weights_in.shape == (3, 128, 1)


def test_fan_out_of_single_neurons():
    net = Sequential(*layers(3, 10, 70, 2))
    violation = only_violation(net, "a2")
    assert (violation.rule, violation.value, violation.limit) == ("recurrent fan-out", 70, 64)
    assert violation.where == "1_LIFTorch (all of 10 neurons)"
    with torch.no_grad():
        net[2].weight[1:, 64:] = 0
    assert only_violation(net, "a2").where == "1_LIFTorch (1 of 10 neurons)"
    with torch.no_grad():
        net[2].weight[0, 64:] = 0
    assert check(net, "a2").ok


def test_recurrent_memory_in_all():
    net = Sequential(*layers(3, 128, 230, 100, 2))
    violation = only_violation(net)
    assert violation.rule == "recurrent weights in all"
    assert (violation.value, violation.limit) == (128 * 230 + 230 * 100, 31744)


def test_both_synapse_banks_are_counted():
    net = Sequential(
        LinearTorch((3, 64)), LIFTorch((64, 32)), LinearTorch((32, 400)), LIFTorch((400, 200)),
        LinearTorch((200, 800)), LIFTorch((800, 400)), LinearTorch((400, 20)), LIFTorch(20),
        LinearTorch((20, 2)), LIFTorch(2),
    )  # fmt: skip
    found = check(net, "a3").violations
    places = [violation.where for violation in found if violation.rule == "recurrent weights in all"]
    assert places == [f"weights between hidden neurons, synapse {synapse}" for synapse in (1, 2)]


def test_two_synapses_where_the_chip_has_one():
    net = Sequential(LinearTorch((3, 8)), LIFTorch((8, 4)), *layers(4, 2))
    violation = only_violation(net, "imu")
    assert (violation.rule, violation.where, violation.value) == (
        "synapses per hidden neuron", "1_LIFTorch", 2
    )  # fmt: skip
    assert "a2, a3" in violation.fix
    assert check(net, "a3").ok


def test_adaptive_neurons_need_a_second_synapse():
    net = Sequential(LinearTorch((3, 4)), aLIFTorch(4), *layers(4, 2))
    assert only_violation(net, "imu").rule == "synapses per hidden neuron"
    assert check(net, "a3").ok


def test_three_synapses_fit_no_chip():
    net = Sequential(LinearTorch((3, 12)), LIFTorch((12, 4)), *layers(4, 2))
    for chip in CHIPS:
        assert only_violation(net, chip).value == 3


def test_output_neurons_have_one_synapse():
    net = Sequential(*layers(3, 4), LinearTorch((4, 4)), LIFTorch((4, 2)))
    violation = only_violation(net, "a3")
    assert (violation.rule, violation.where) == ("synapses per output neuron", "3_LIFTorch")


@pytest.mark.parametrize(
    ("name", "tau", "text"),
    [("tau_mem", 0.3e-3, "0.0003 s"), ("tau_syn", 0.3e-3, "0.0003 s"), ("tau_mem", 64.0, "64 s")],
)
def test_time_constants_that_no_bit_shift_comes_near(name, tau, text):
    net = Sequential(*layers(3, 4), LinearTorch((4, 2)), LIFTorch(2, **{name: tau}))
    violation = only_violation(net)
    assert (violation.rule, violation.where) == ("dash", f"3_LIFTorch.{name}")
    assert violation.value == f"{text} in 2 of 2"
    assert "dash 1..15" in violation.limit


def test_short_time_constants_that_round_to_dash_one_are_not_refused():
    net = Sequential(*layers(3, 4, 2, tau_syn=65e-3, tau_mem=65e-3, dt=50e-3))
    assert check(net, "imu").ok


def test_time_steps_that_differ():
    net = Sequential(*layers(3, 4, dt=1e-3), *layers(4, 2, dt=2e-3))
    violation = only_violation(net)
    assert (violation.rule, violation.where) == ("time step", "3_LIFTorch")
    assert (violation.value, violation.limit) == ("0.002 s", "0.001 s")


def test_biases_on_a_chip_that_has_none():
    net = Sequential(*layers(3, 4, bias=0.5), *layers(4, 2))
    violation = only_violation(net, "a1")
    assert (violation.rule, violation.where, violation.value) == ("bias", "1_LIFTorch", "0.5")
    linear = Sequential(LinearTorch((3, 4), bias=torch.ones(4)), LIFTorch(4), *layers(4, 2))
    assert only_violation(linear, "a1").where == "1_LIFTorch"
    assert check(net, "a2").ok


def test_values_that_are_not_finite():
    net = Sequential(*layers(3, 4, 2))
    with torch.no_grad():
        net[2].weight[0, 0] = float("nan")
        net[1].bias.fill_(float("inf"))
    assert rules(net) == [("bias", "1_LIFTorch"), ("weights", "2_LinearTorch")]


def test_thresholds_that_training_moved_below_zero():
    net = Sequential(*layers(3, 4, 2))
    net[1].threshold.data.fill_(-0.5)
    violation = only_violation(net)
    assert (violation.rule, violation.where) == ("threshold", "1_LIFTorch")
    assert violation.value == "-0.5 in 4 of 4"


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        (LIFNeuronTorch(4), "LIFTorch"),
        (ExpSynTorch(4), "Isyn or Vmem"),
        (RateTorch(4), "LIFTorch"),
        (nn.ReLU(), "take this module out"),
    ],
)
def test_modules_that_are_no_chip_neurons(module, advice):
    net = Sequential(*layers(3, 4), LinearTorch((4, 4)), module, *layers(4, 2))
    violation = only_violation(net)
    assert violation.rule == "module"
    assert violation.where == f"3_{type(module).__name__}"
    assert advice in violation.fix


def test_encoders_are_outside_the_chip():
    net = Sequential(UpDownTorch(2), *layers(4, 4, 2))
    violation = only_violation(net)
    assert violation.where == "0_UpDownTorch"
    assert "Encode" in violation.fix


def test_all_violations_are_reported_at_once_with_the_resources():
    net = Sequential(
        LinearTorch((20, 600)), LIFTorch(600, tau_mem=1e-4), LIFNeuronTorch(600),
        LinearTorch((600, 5)), LinearTorch((5, 40)), LIFTorch(40, has_rec=True),
    )  # fmt: skip
    report = check(net, "imu")
    assert {violation.rule for violation in report.violations} == {
        "module", "consecutive weights", "recurrent outputs", "input channels", "hidden neurons",
        "output neurons", "neurons that take input", "dash",
    }  # fmt: skip
    with pytest.raises(MappingError) as caught:
        report.raise_for_violations()
    assert caught.value.violations == report.violations
    assert isinstance(caught.value, DRCError)
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).count("\n") == len(report.violations)
    with pytest.raises(MappingError) as lowered:
        lower(net, "imu")
    assert lowered.value.violations == report.violations


def test_resources_count_what_is_used():
    net = Sequential(
        *layers(3, 20), LinearTorch((20, 30)), LIFTorch(30, has_rec=True, bias=0.1), *layers(30, 4)
    )
    used = {resource.name: (resource.used, resource.limit) for resource in check(net, "imu").resources}
    assert used == {
        "input channels": (3, 16),
        "hidden neurons": (50, 496),
        "output neurons": (4, 16),
        "synapses per hidden neuron": (1, 1),
        "neurons that take input": (20, 128),
        "neurons that drive outputs": (30, 128),
        "largest recurrent fan-out": (30, 512),
        "recurrent weights, synapse 1": (1500, 31744),
        "mean fan-out over the chip": (round(1500 / 496, 2), 64),
        "alias targets per neuron": (0, 1),
        "neurons with a bias": (30, 54),
    }


def test_the_report_prints_violations_fixes_and_resources():
    text = str(check(Sequential(*layers(17, 20, 2)), "imu"))
    assert "does not fit Xylo-IMU (imu): 1 violation." in text
    assert "is 17, limit 16" in text
    assert "17 of 16 (106%)  TOO MUCH" in text
    assert "hidden neurons" in text


def test_networks_without_a_graph_are_refused_with_the_remedy():
    from snnkit.utilities.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="as_graph"):
        check(nn.ReLU(), "imu")
    with pytest.raises(ConfigurationError, match="Did you mean 'imu'"):
        check(Sequential(*layers(3, 4, 2)), "imuu")


@pytest.mark.parametrize(
    ("mode", "name", "value"),
    [("decays", "alpha", 1.2), ("decays", "beta", 0.0), ("bitshifts", "dash_mem", 0.0)],
)
def test_leaks_are_named_as_the_module_stores_them(mode, name, value):
    neurons = LIFTorch(10, leak_mode=mode, **{name: value})
    net = Sequential(LinearTorch((4, 10)), neurons, LinearTorch((10, 3)), LIFTorch(3))
    (violation,) = check(net, "a2").violations
    assert (violation.rule, violation.where) == ("dash", f"1_LIFTorch.{name}")


def test_noise_and_event_caps_may_differ_between_neurons():
    neurons = LIFTorch(
        3, max_spikes_per_dt=torch.tensor([1.0, 2.0, 7.0]), noise_std=torch.tensor([0.0, 0.1, 0.0])
    )
    net = Sequential(LinearTorch((4, 3)), neurons, LinearTorch((3, 2)), LIFTorch(2))
    report = check(net, "imu")
    assert report.violations == ()
    assert any("noise" in note for note in report.notes)
