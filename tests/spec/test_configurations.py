"""Chip configurations in the vendor's shape: objects, JSON, and the way from and to specifications."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import specifications

from snnkit.hw.xylo.configuration.objects import (
    A2Configuration,
    ImuConfiguration,
    configuration_class,
)
from snnkit.hw.xylo.configuration.rockpool import (
    config_from_specification,
    load_config,
    save_config,
    validate_configuration,
)
from snnkit.hw.xylo.specification.core import Specification, SpecificationError
from snnkit.hw.xylo.violation import MappingError
from snnkit.utilities.chips import CHIPS
from snnkit.utilities.errors import ConfigurationError, FileFormatError

DUMP = Path(__file__).parent / "data" / "a2_configuration.json"
"""Written by samna's own ``to_json`` for a network of 3 inputs, 5 hidden and 2 output neurons."""


def dumped():
    return json.loads(DUMP.read_text())


def edited(change):
    content = dumped()
    change(content["value0"])
    return json.dumps(content)


def spec_for(chip, **changes):
    values = {"weights_in": [[1, 2, 3]], "weights_out": [[4], [5], [6]], "threshold": 10}
    return Specification.create(chip=chip, **(values | changes))


SMALL_JSON = spec_for("imu").to_configuration().to_json()


def test_the_vendors_dump_comes_back_byte_for_byte():
    config = A2Configuration()
    config.from_json(DUMP.read_text())
    assert config.to_json() == DUMP.read_text()


def test_the_vendors_dump_is_read_as_a_specification():
    spec = Specification.from_samna_json(DUMP.read_text(), dt=0.002)
    assert spec.shape == (3, 5, 2)
    assert spec.n_synapses == 2
    assert spec.weights_in[0, :, 0].tolist() == [98, 15, 89, -31, -117]
    assert spec.weights_in[0, :, 1].tolist() == [106, -86, -3, -104, 37]
    assert spec.weights_rec[4, :, 1].tolist() == [56, 91, 69, 68, 90]
    assert spec.weights_out.tolist()[0] == [16, 28]
    assert (spec.threshold[0], spec.threshold_out[0]) == (128, 256)
    assert (spec.dash_mem[0], spec.dash_syn[0], spec.dash_syn_2[0]) == (2, 4, 2)
    assert (spec.weight_shift_in, spec.weight_shift_rec, spec.weight_shift_out) == (1, 1, 1)
    assert spec.dt == 0.002
    assert spec.violations() == ()


def test_the_vendors_dump_survives_the_way_through_a_specification():
    spec = Specification.from_samna_json(DUMP.read_text())
    assert json.loads(spec.to_samna_json()) == dumped()


@pytest.mark.parametrize("chip", CHIPS)
def test_legal_specifications_survive_the_way_through_a_configuration(chip):
    @settings(max_examples=25, deadline=None)
    @given(specifications(chip, legal=True))
    def check(spec):
        config = spec.to_configuration()
        again = configuration_class(chip)()
        again.from_json(config.to_json())
        assert again == config
        assert validate_configuration(config) == (True, "")
        back = Specification.from_configuration(again, spec.dt)
        assert back.to_configuration() == config
        for name in ("weights_rec", "threshold", "bias_out", "dash_syn", "weight_shift_out"):
            assert np.array_equal(getattr(back, name), getattr(spec, name)), name
        assert back.aliases == spec.aliases
        assert np.array_equal(back.weights_in[:, : spec.weights_in.shape[1]], spec.weights_in)
        assert np.array_equal(back.weights_out[-spec.weights_out.shape[0] :], spec.weights_out)

    check()


def test_alias_to_neuron_zero_survives():
    spec = spec_for("imu", aliases=[[], [], [0]])
    config = spec.to_configuration()
    assert config.hidden.aliasing is True
    assert config.hidden.neurons[2].alias_target == 0
    assert json.loads(config.to_json())["value0"]["hidden"]["neurons"][2]["aliasTarget"] == {
        "nullopt": False,
        "data": 0,
    }
    assert Specification.from_configuration(config).aliases == ((), (), (0,))


def test_layers_carry_the_names_of_their_chip():
    assert hasattr(spec_for("a2").to_configuration(), "reservoir")
    assert not hasattr(spec_for("a2").to_configuration(), "hidden")
    for chip in ("a3", "imu"):
        config = spec_for(chip).to_configuration()
        assert hasattr(config, "hidden")
        assert not hasattr(config, "reservoir")
    assert not hasattr(spec_for("imu").to_configuration().input, "syn2_weights")


def test_narrow_weights_keep_their_neurons_on_each_chip():
    narrow = {"weights_in": [[1, 2]], "weights_out": [[5]], "threshold": [9, 9, 9]}
    wide = spec_for("a2", **narrow).to_configuration()
    assert wide.input.weights.tolist() == [[1, 2, 0]]
    assert wide.readout.weights.tolist() == [[0], [0], [5]]
    windowed = spec_for("imu", **narrow).to_configuration()
    assert windowed.input.weights.tolist() == [[1, 2]]
    assert windowed.readout.weights.tolist() == [[5]]


def test_rows_of_the_vendors_a2_readout_count_from_neuron_zero():
    config = spec_for("a2").to_configuration()
    config.readout.weights = [[7]]
    assert Specification.from_configuration(config).weights_out.tolist() == [[7], [0], [0]]


def test_switches_follow_what_the_program_uses():
    plain = spec_for("a2").to_configuration()
    assert not plain.bias_enable
    assert not plain.synapse2_enable
    assert not plain.reservoir.aliasing
    assert not plain.debug.bias_clock_enable
    assert plain.debug.isyn_clock_enable
    assert plain.debug.ram_power_enable
    biased = spec_for("a2", bias_out=[-3], weights_in=np.ones((1, 3, 2))).to_configuration()
    assert biased.bias_enable
    assert biased.synapse2_enable
    assert biased.debug.bias_clock_enable
    assert biased.debug.isyn2_clock_enable
    assert spec_for("imu").to_configuration().debug.always_update_omp_stat


def test_unknown_attributes_are_errors_with_the_nearest_name():
    config = ImuConfiguration()
    with pytest.raises(AttributeError, match=r"no attribute 'hiden'.* Did you mean 'hidden'"):
        config.hiden = 1
    with pytest.raises(AttributeError, match="Did you mean 'weight_bit_shift'"):
        _ = config.input.weight_shift
    with pytest.raises(AttributeError):
        type(config.hidden).neurons.kind(treshold=3)


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("bias_enable", 1, TypeError),
        ("time_resolution_wrap", 1.0, TypeError),
        ("time_resolution_wrap", True, TypeError),
        ("time_resolution_wrap", -1, ValueError),
        ("input.weights", [[128]], ValueError),
        ("input.weights", [[0.5]], ValueError),
        ("input.weights", [1, 2], ValueError),
        ("input.weight_bit_shift", 16, ValueError),
        ("hidden.neurons", [1], TypeError),
        ("hidden", 1, TypeError),
        ("debug.monitor_neuron_spike", (0, -1), ValueError),
    ],
)
def test_values_of_a_wrong_kind_are_refused(path, value, error):
    *parents, name = path.split(".")
    owner = ImuConfiguration()
    for parent in parents:
        owner = getattr(owner, parent)
    with pytest.raises(error, match=name):
        setattr(owner, name, value)


def test_objects_copy_pickle_compare_and_print():
    config = spec_for("a3", aliases=[[1], [], []]).to_configuration()
    config.debug.monitor_neuron_spike = [0, 2]
    config.time_resolution_wrap = np.int64(5)
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        twin.hidden.neurons[0].threshold += 1
        assert twin != config
    assert "time_resolution_wrap=5" in repr(config)
    assert config != spec_for("imu").to_configuration()


def test_optional_ranges_are_written_and_read():
    config = A2Configuration()
    config.debug.monitor_neuron_v_mem = (0, 5)
    again = A2Configuration()
    again.from_json(config.to_json())
    assert again.debug.monitor_neuron_v_mem == (0, 5)
    assert again.debug.monitor_neuron_spike is None


DAMAGES = {
    "no JSON": lambda: DUMP.read_text()[:-1],
    "deeply nested": lambda: "[" * 200_000,
    "empty": lambda: "",
    "a list": lambda: "[]",
    "other root": lambda: '{"value1": {}}',
    "missing key": lambda: edited(lambda c: c.pop("readout")),
    "extra key": lambda: edited(lambda c: c.update(exec="rm")),
    "flag as number": lambda: edited(lambda c: c.update(biasEnable=1)),
    "weight too large": lambda: edited(lambda c: c["input"]["weights"]["values"].__setitem__(0, 128)),
    "weight not whole": lambda: edited(lambda c: c["input"]["weights"]["values"].__setitem__(0, 1.0)),
    "weight missing": lambda: edited(lambda c: c["input"]["weights"]["values"].pop()),
    "huge dimensions": lambda: edited(lambda c: c["input"]["weights"]["dimensions"].update(value0=10**12)),
    "negative dimensions": lambda: edited(lambda c: c["input"]["weights"]["dimensions"].update(value0=-3)),
    "transposed": lambda: edited(lambda c: c["input"]["weights"]["offsets"].update(value0=1, value1=3)),
    "NaN threshold": lambda: edited(lambda c: c["reservoir"]["neurons"][0].update(threshold=float("nan"))),
    "threshold too large": lambda: edited(lambda c: c["reservoir"]["neurons"][0].update(threshold=2**15)),
    "neurons no list": lambda: edited(lambda c: c["reservoir"].update(neurons={})),
    "alias of no kind": lambda: edited(lambda c: c["reservoir"]["neurons"][0].update(aliasTarget={"x": 1})),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_json_is_refused_and_changes_nothing(damage):
    config = spec_for("a2").to_configuration()
    before = copy.deepcopy(config)
    with pytest.raises(FileFormatError):
        config.from_json(DAMAGES[damage]())
    assert config == before


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_json_is_refused_or_is_a_whole_configuration(data):
    text = SMALL_JSON
    place = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 3))
    inserted = data.draw(st.text(st.sampled_from('0123456789.-eE"{}[],: naN\n'), max_size=3))
    config = ImuConfiguration()
    try:
        config.from_json(text[:place] + inserted + text[place + length :])
    except FileFormatError:
        assert config == ImuConfiguration()
        return
    again = ImuConfiguration()
    again.from_json(config.to_json())
    assert again == config
    ok, message = validate_configuration(config)
    assert ok == (message == "")


def test_messages_lead_to_the_place():
    text = edited(lambda c: c["reservoir"]["neurons"][3].update(vMemDecay=999))
    with pytest.raises(FileFormatError, match=r"A2Configuration: TwoSynapseHidden.*v_mem_decay = 999"):
        A2Configuration().from_json(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(synapse2Enable=False), "`syn2_weights`, but `synapse2_enable` is False"),
        (lambda c: c["reservoir"]["neurons"][0].update(vMemBias=3), "bias, but `bias_enable` is False"),
        (
            lambda c: c["reservoir"]["neurons"][0].update(aliasTarget={"nullopt": False, "data": 0}),
            "alias targets, but `aliasing` is False",
        ),
    ],
)
def test_what_the_chip_would_ignore_is_refused(change, message):
    config = A2Configuration()
    config.from_json(edited(change))
    with pytest.raises(ConfigurationError, match=message):
        Specification.from_configuration(config)
    ok, text = validate_configuration(config)
    assert not ok
    assert message in text


def test_parts_that_do_not_fit_are_told_by_validation():
    config = spec_for("imu").to_configuration()
    config.hidden.neurons = config.hidden.neurons[:2]
    ok, text = validate_configuration(config)
    assert not ok
    assert "dash_mem has shape (2,), (3,) is needed" in text
    assert not validate_configuration(ImuConfiguration())[0]


def test_validation_names_every_limit():
    config = spec_for("imu").to_configuration()
    config.hidden.neurons[1].i_syn_decay = 16
    config.hidden.neurons[1].v_mem_bias = 300
    config.bias_enable = True
    config.readout.weight_bit_shift = 8
    ok, text = validate_configuration(config)
    assert not ok
    assert [line.split(" · ")[0] for line in text.splitlines()] == ["weight shift", "dash", "bias"]


def test_config_from_specification_takes_every_key_of_a_specification():
    spec = spec_for("imu", bias=[1, 2, 3]).to_rockpool_dict() | {"mapped_graph": object()}
    config, ok, message = config_from_specification(**spec, chip="imu")
    assert (ok, message) == (True, "")
    assert [n.v_mem_bias for n in config.hidden.neurons] == [1, 2, 3]
    spec["bias_hidden"] = spec.pop("bias")
    assert config_from_specification(**spec, chip="imu")[0] == config


def test_config_from_specification_refuses_other_keywords():
    with pytest.raises(TypeError, match="dash_memm"):
        config_from_specification([[1]], [[1]], dash_memm=[1], chip="imu")


def test_config_from_specification_has_rockpools_defaults_and_tells_that_they_are_not_legal():
    config, ok, message = config_from_specification([[1, 2]], [[1], [1]], chip="a3")
    assert config.hidden.neurons[0].v_mem_decay == 1
    assert config.hidden.neurons[0].threshold == 0
    assert not ok
    assert "threshold of hidden neurons 0-1" in message
    assert "threshold_out of output neurons 0" in message


def test_config_from_specification_refuses_what_it_would_have_to_change():
    with pytest.raises(SpecificationError, match="quantise first"):
        config_from_specification([[0.4]], [[1]], chip="imu")
    with pytest.raises(MappingError, match="alias targets") as caught:
        config_from_specification([[1, 1]], [[1], [1]], aliases=[[0, 1], []], chip="imu")
    assert [v.value for v in caught.value.violations] == [2]
    with pytest.raises(MappingError, match="synapses per hidden neuron"):
        config_from_specification(np.ones((1, 2, 2)), [[1], [1]], chip="imu")


@pytest.mark.parametrize("chip", CHIPS)
def test_configurations_are_saved_and_loaded(tmp_path, chip):
    config = spec_for(chip).to_configuration()
    path = save_config(config, tmp_path / "config.json")
    assert load_config(path, chip=chip) == config


def test_a_file_of_another_chip_is_refused(tmp_path):
    path = save_config(spec_for("imu").to_configuration(), tmp_path / "config.json")
    with pytest.raises(FileFormatError, match=r"config.json is not a configuration of Xylo-Audio 3.*missing"):
        load_config(path, chip="a3")
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_config(tmp_path / "none.json", chip="imu")


def test_vendor_json_of_unconfirmed_chips_is_not_offered():
    with pytest.raises(ConfigurationError, match="confirmed for Xylo-Audio 2 only"):
        spec_for("imu").to_samna_json()


def test_the_vendors_own_objects_are_read():
    spec = spec_for("a3", aliases=[[2], [], []], bias=[1, 0, 0])
    ours = spec.to_configuration()

    class Plain:
        def __init__(self, source):
            for name, value in source._values.items():
                setattr(self, name, plain(value))

    def plain(value):
        if isinstance(value, list):
            return [plain(entry) for entry in value]
        if isinstance(value, np.ndarray):
            return value.tolist()
        return Plain(value) if hasattr(value, "_values") else value

    theirs = Plain(ours)
    with pytest.raises(ConfigurationError, match="Plain is not the configuration of a known chip"):
        Specification.from_configuration(theirs)
    Plain.__module__ = "samna.xyloAudio3.configuration"
    assert Specification.from_configuration(theirs) == spec
