"""Every limit of every chip is checked, alone and all together."""

import numpy as np
import pytest

from snnkit.hw.xylo.specification.core import Population, Specification
from snnkit.utilities.chips import CHIPS

CHIP_NAMES = list(CHIPS)


def legal(chip, **changes):
    values = {"weights_in": [[1, 2]], "weights_out": [[3], [4]], "threshold": [5, 6], "threshold_out": [7]}
    return Specification.create(chip=chip, **(values | changes))


def sized(chip, *, n_in=2, n_hidden=3, n_out=2, n_ien=2, n_oen=2, **changes):
    ones_in, ones_out = np.ones((n_in, n_ien), np.int8), np.ones((n_oen, n_out), np.int8)
    threshold = np.ones(n_hidden, np.int16)
    return legal(
        chip, weights_in=ones_in, weights_out=ones_out, threshold=threshold, threshold_out=1, **changes
    )


def only(spec):
    violations = spec.violations()
    assert len(violations) == 1, violations
    assert violations[0].fix
    assert "\n" not in str(violations[0])
    return violations[0]


@pytest.mark.parametrize("chip", CHIP_NAMES)
def test_a_program_at_every_limit_is_legal(chip):
    c = CHIPS[chip]
    n = c.max_hidden
    rng = np.random.default_rng(0)
    recurrent = np.zeros((n, n, c.hidden_synapses), np.int8)
    each = min(c.mean_fanout_per_synapse, c.max_fanout // c.hidden_synapses)
    for source in range(n):
        recurrent[source, rng.choice(n, each, replace=False)] = -128
    spec = sized(
        chip,
        n_in=c.max_inputs,
        n_hidden=n,
        n_out=c.max_outputs,
        n_ien=c.max_input_expansion,
        n_oen=c.max_output_expansion,
        weights_rec=recurrent,
        dash_mem=c.max_dash,
        dash_syn_2=c.min_dash,
        weight_shift_in=c.max_weight_shift,
        bias=c.max_bias * c.has_bias,
        bias_out=-(c.max_bias + 1) * c.has_bias,
        aliases=[[0]] * n,
    )
    assert spec.violations() == ()


@pytest.mark.parametrize("chip", CHIP_NAMES)
@pytest.mark.parametrize(
    ("rule", "limit", "argument"),
    [
        ("input channels", "max_inputs", "n_in"),
        ("hidden neurons", "max_hidden", "n_hidden"),
        ("output neurons", "max_outputs", "n_out"),
    ],
)
def test_one_neuron_or_channel_too_many(chip, rule, limit, argument):
    limit = getattr(CHIPS[chip], limit)
    found = only(sized(chip, **{argument: limit + 1}))
    assert (found.rule, found.value, found.limit) == (rule, limit + 1, limit)


@pytest.mark.parametrize("chip", ["a3", "imu"])
def test_windows_of_neurons_that_take_input_or_drive_outputs(chip):
    c = CHIPS[chip]
    found = only(sized(chip, n_hidden=200, n_ien=c.max_input_expansion + 1))
    assert (found.rule, found.value, found.limit) == ("neurons that take input", 129, 128)
    found = only(sized(chip, n_hidden=200, n_oen=c.max_output_expansion + 1))
    assert (found.rule, found.value, found.limit) == ("neurons that drive outputs", 129, 128)


def test_synapses():
    found = only(legal("imu", weights_in=np.ones((1, 2, 2))))
    assert (found.rule, found.value, found.limit) == ("synapses per hidden neuron", 2, 1)
    assert legal("a3", weights_in=np.ones((1, 2, 2))).violations() == ()


@pytest.mark.parametrize("chip", CHIP_NAMES)
def test_largest_fan_out_counts_both_synapses_and_names_the_neurons(chip):
    c = CHIPS[chip]
    n = c.max_hidden
    recurrent = np.zeros((n, n, c.hidden_synapses), np.int8)
    flat = recurrent[7].reshape(-1)
    flat[: min(c.max_fanout, flat.size)] = 1
    assert sized(chip, n_hidden=n, weights_rec=recurrent).violations() == ()
    if flat.size > c.max_fanout:
        flat[c.max_fanout] = 1
        found = only(
            sized(chip, n_hidden=n, weights_rec=recurrent, populations=(Population("2_LIF", "hidden", 5, 9),))
        )
        assert (found.rule, found.value, found.limit) == ("recurrent fan-out", c.max_fanout + 1, c.max_fanout)
        assert found.where == "hidden neurons 7 (2_LIF)"
    else:
        assert c.max_fanout >= c.max_hidden * c.hidden_synapses


@pytest.mark.parametrize("chip", CHIP_NAMES)
def test_average_fan_out_is_counted_for_each_synapse(chip):
    c = CHIPS[chip]
    n = c.max_hidden
    rows = c.max_recurrent_weights // n
    recurrent = np.zeros((n, n, c.hidden_synapses), np.int8)
    recurrent[:, :rows, -1] = 1
    assert sized(chip, n_hidden=n, weights_rec=recurrent).violations() == ()
    recurrent[0, rows, -1] = 1
    found = only(sized(chip, n_hidden=n, weights_rec=recurrent))
    assert found.rule == "recurrent weights in all"
    assert (found.value, found.limit) == (c.max_recurrent_weights + 1, c.max_recurrent_weights)
    assert f"synapse {c.hidden_synapses}" in found.where


@pytest.mark.parametrize("name", ["weight_shift_in", "weight_shift_rec", "weight_shift_out"])
def test_weight_shifts(name):
    found = only(legal("a2", **{name: 8}))
    assert (found.rule, found.where, found.value, found.limit) == ("weight shift", name, 8, 7)


@pytest.mark.parametrize("name", ["dash_mem", "dash_syn", "dash_syn_2", "dash_mem_out", "dash_syn_out"])
@pytest.mark.parametrize("value", [0, 16, 255])
def test_dashes(name, value):
    two = {"weights_in": np.ones((1, 2, 2))}
    found = only(legal("a2", **two, **{name: value}))
    assert (found.rule, found.value, found.limit) == ("dash", value, "1..15")
    assert found.where.startswith(f"{name} of ")


def test_dashes_too_small_and_too_large_are_two_violations():
    spec = legal("a2", dash_mem=[0, 16])
    assert [(v.where, v.value) for v in spec.violations()] == [
        ("dash_mem of hidden neurons 0", 0),
        ("dash_mem of hidden neurons 1", 16),
    ]


def test_dash_of_an_absent_synapse_does_not_matter():
    assert legal("imu", dash_syn_2=0).violations() == ()


@pytest.mark.parametrize("value", [0, -1, -32768])
def test_thresholds(value):
    found = only(legal("imu", threshold=[value, 1]))
    assert (found.rule, found.value, found.where) == ("threshold", value, "threshold of hidden neurons 0")
    found = only(legal("imu", threshold_out=[value]))
    assert found.where == "threshold_out of output neurons 0"
    assert legal("imu", threshold=[32767, 1]).violations() == ()


@pytest.mark.parametrize("name", ["bias", "bias_out"])
@pytest.mark.parametrize("value", [128, -129, -32768])
def test_biases(name, value):
    found = only(legal("a3", **{name: value}))
    assert (found.rule, found.value, found.limit) == ("bias", value, "-128..127")


@pytest.mark.parametrize("name", ["bias", "bias_out"])
def test_a_chip_without_bias_takes_none(name):
    found = only(legal("a1", **{name: 1}))
    assert (found.rule, found.value, found.limit) == ("bias", 1, "none")


def test_alias_targets():
    found = only(legal("imu", aliases=[[0, 1], []]))
    assert (found.rule, found.value, found.limit) == ("alias targets", 2, 1)
    assert found.where == "aliases of hidden neurons 0"


def test_everything_wrong_is_told_at_once():
    c = CHIPS["imu"]
    n = c.max_hidden + 104
    spec = Specification.create(
        chip="imu",
        weights_in=np.ones((c.max_inputs + 1, 129, 2)),
        weights_rec=np.ones((n, n, 2)),
        weights_out=np.ones((129, c.max_outputs + 1)),
        dash_mem=0,
        dash_syn=16,
        dash_syn_2=17,
        dash_mem_out=18,
        dash_syn_out=0,
        threshold=0,
        threshold_out=-5,
        bias=200,
        bias_out=-200,
        weight_shift_in=8,
        weight_shift_rec=9,
        weight_shift_out=10,
        aliases=[[0, 1, 2]] * n,
    )
    violations = spec.violations()
    assert [v.rule for v in violations] == [
        "input channels",
        "hidden neurons",
        "output neurons",
        "synapses per hidden neuron",
        "neurons that take input",
        "neurons that drive outputs",
        "recurrent fan-out",
        "recurrent weights in all",
        "recurrent weights in all",
        "weight shift",
        "weight shift",
        "weight shift",
        "dash",
        "dash",
        "dash",
        "dash",
        "dash",
        "threshold",
        "threshold",
        "bias",
        "bias",
        "alias targets",
    ]
    assert all(v.fix and v.where for v in violations)
    assert violations == spec.violations()


def test_places_are_ranges_with_the_modules_they_come_from():
    spec = sized(
        "imu",
        n_hidden=40,
        dash_mem=[0, 0, 0, 1, 0] + [1, 0] * 17 + [1],
        populations=(
            Population("1_LIF", "hidden", 0, 3),
            Population("3_LIF", "hidden", 3, 4),
            Population("5_LIF", "hidden", 4, 40),
            Population("7_LIF", "output", 0, 2),
        ),
    )
    assert only(spec).where == "dash_mem of hidden neurons 0-2, 4, 6, 8, 10, 12, ... (1_LIF, 5_LIF)"
