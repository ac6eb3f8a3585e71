"""The imitation refuses what bindings refuse: else a backend that works on it would fail on a board."""

import copy
import json

import numpy as np
import pytest
from sessions.session_programs import CHIPS, program

from snnkit.hw.fake_samna import Alteration, FakeSamna, Mismatch
from snnkit.hw.sessions.samna_driver import SamnaDriver
from snnkit.hw.xylo import Specification
from snnkit.hw.xylo.configuration.conversion import configuration_from_specification
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError


def part(chip):
    return getattr(FakeSamna([chip]), get_chip(chip).samna_module)


def test_unknown_names_do_not_exist() -> None:
    samna = FakeSamna(["imu"])
    for make in (
        lambda: samna.xyloIMU,
        lambda: samna.graph.Sink,
        lambda: samna.device.open,
        lambda: samna.xyloImu.configuration.ReservoirConfig,
        lambda: samna.xyloImu.event.Spikes,
        lambda: samna.xyloAudio3.configuration.NeuronRange,
        lambda: samna.xyloImu.configuration.XyloConfiguration().reservoir,
        lambda: samna.xyloImu.OperationMode.Fast,
        lambda: samna.xyloImu.NeuronStateSinkNode,
    ):
        with pytest.raises(AttributeError):
            make()
    config = samna.xyloImu.configuration.XyloConfiguration()
    with pytest.raises(AttributeError):
        config.hiden = 1
    with pytest.raises(AttributeError):
        samna.xyloImu.event.Spike(neuron_id=0, timestep=1).timestamp = 3
    with pytest.raises(AttributeError):
        samna.device = None


@pytest.mark.parametrize("chip", CHIPS)
def test_wrong_types_are_refused(chip: str) -> None:
    names = part(chip)
    step = "timestamp" if chip == "a2" else "timestep"
    other = "timestep" if chip == "a2" else "timestamp"
    config = names.configuration.XyloConfiguration()
    refused = (
        lambda: names.event.Spike(neuron_id=0.0, **{step: 1}),
        lambda: names.event.Spike(neuron_id=0, **{other: 1}),
        lambda: names.event.Spike(neuron_id="0", **{step: 1}),
        names.event.Spike,
        lambda: names.event.Spike(neuron_id=-1, **{step: 1}),
        lambda: setattr(config, "operation_mode", 1),
        lambda: names.OperationMode["Manual"],
        lambda: list(names.OperationMode),
        lambda: setattr(config, "bias_enable", 1),
        lambda: setattr(config.input, "weight_bit_shift", 1.0),
        lambda: setattr(config.readout, "neurons", [3]),
        lambda: names.validate_configuration(3),
    )
    for make in refused:
        with pytest.raises(TypeError):
            make()
    if chip != "a3":
        with pytest.raises(TypeError):
            config.debug.monitor_neuron_v_mem = (0, 3)
        config.debug.monitor_neuron_v_mem = names.configuration.NeuronRange(0, 3)
        assert copy.deepcopy(config) == config


@pytest.mark.parametrize("chip", CHIPS)
def test_neurons_and_matrices_that_were_read_are_copies(chip: str) -> None:
    names = part(chip)
    config = names.configuration.XyloConfiguration()
    config.readout.neurons = [names.configuration.OutputNeuron()]
    config.readout.neurons[0].threshold = 7
    assert config.readout.neurons[0].threshold == 0
    config.readout.weight_bit_shift = 3  # structs are views
    assert config.readout.weight_bit_shift == 3
    config.readout.weights = [[1, 2]]
    config.readout.weights[0, 0] = 9
    assert config.readout.weights[0, 0] == 1


@pytest.mark.parametrize("chip", CHIPS)
def test_json_is_the_vendors_dialect_and_comes_back(chip: str) -> None:
    board = SamnaDriver(FakeSamna([chip]))
    spec = program(chip)
    ours = configuration_from_specification(spec)
    opened = board.open(board.boards()[0])
    config = opened.configuration(ours, "AcceleratedTime", "SpikeEvents" if chip == "a3" else None)
    content = json.loads(config.to_json())["value0"]
    assert ("reservoir" in content) == (chip == "a2")
    assert content["operationMode"] == 1
    other = part(chip).configuration.XyloConfiguration()
    other.from_json(config.to_json())
    assert other.to_json() == config.to_json()
    back = Specification.from_configuration(other, spec.dt)
    weights = np.pad(spec.weights_out, ((back.weights_out.shape[0] - 8, 0), (0, 0)))
    np.testing.assert_array_equal(back.weights_out, weights)
    event = part(chip).event.TriggerReadout()
    assert json.loads(event.to_json()) == {"value0": {}}


def test_boards_open_once_and_closed_ones_are_dead() -> None:
    samna = FakeSamna(["imu", "imu"])
    first, second = samna.device.get_all_devices()
    board = samna.device.open_device(first)
    assert samna.device.open_device(first) is board
    other = samna.device.open_device("XyloImuTestBoard")
    assert other is not board
    assert samna.device.get_unopened_devices() == []
    with pytest.raises(RuntimeError, match="no free"):
        samna.device.open_device("XyloImuTestBoard")
    model = board.get_model()
    samna.device.close_device(board)
    assert samna.device.get_unopened_devices() == [first]
    for call in (board.get_model, model.get_configuration, board.get_power_monitor):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    with pytest.raises(RuntimeError, match="closed already"):
        samna.device.close_device(board)
    assert second.serial_number != first.serial_number


def imu_board(samna: FakeSamna):
    board = samna.device.open_device("XyloImuTestBoard")
    model = board.get_model()
    buffer = samna.graph.sink_from(model.get_source_node())
    return board, model, samna.graph.source_to(model.get_sink_node()), buffer


def test_a_configuration_is_in_force_only_after_a_register_was_read() -> None:
    samna = FakeSamna(["imu"])
    _, model, writer, buffer = imu_board(samna)
    config = samna.xyloImu.configuration.XyloConfiguration()
    config.bias_enable = True
    model.apply_configuration(config)
    assert model.get_configuration().bias_enable is False
    writer.write([samna.xyloImu.event.ReadRegisterValue(address=0)])
    assert [type(event).__name__ for event in buffer.get_events()] == ["RegisterValue"]
    assert model.get_configuration().bias_enable is True


def test_wrong_orders_of_calls_fail() -> None:
    samna = FakeSamna(["imu"])
    board, model, writer, buffer = imu_board(samna)
    event = samna.xyloImu.event
    writer.write([event.Spike(neuron_id=0, timestep=0)])
    with pytest.raises(RuntimeError, match="before a configuration"):
        buffer.get_events()
    ours = configuration_from_specification(program("imu"))
    driver = SamnaDriver(samna)
    made = driver.open(driver.boards()[0]).configuration(ours, "AcceleratedTime")
    model.apply_configuration(made)
    buffer.get_events()
    writer.write([event.ReadMembranePotential(neuron_id=0)])
    with pytest.raises(RuntimeError, match="access to it is off"):
        buffer.get_events()
    writer.write([event.Spike(neuron_id=0, timestep=5), event.Spike(neuron_id=0, timestep=2)])
    with pytest.raises(RuntimeError, match="came after"):
        buffer.get_events()
    with pytest.raises(TypeError, match="no input event"):
        writer.write([event.Readout()])
    with pytest.raises(TypeError, match="a list is needed"):
        writer.write((event.TriggerReadout(),))
    with pytest.raises(RuntimeError, match="above 0"):
        board.get_power_monitor().start_auto_power_measurement(0)


def test_filters_die_with_their_graph() -> None:
    samna = FakeSamna(["imu"])
    _, model, writer, _ = imu_board(samna)
    graph = samna.graph.EventFilterGraph()
    nodes = graph.sequential([model.get_source_node(), "XyloImuOutputEventTypeFilter", samna.graph.JitSink()])
    nodes[1].set_desired_type("xyloImu::event::RegisterValue")
    ask = [samna.xyloImu.event.ReadRegisterValue(address=0)]
    writer.write(ask)
    assert nodes[2].get_events() == []  # not started
    graph.start()
    writer.write(ask)
    assert len(nodes[2].get_events()) == 1
    nodes[1].set_desired_type("xyloImu::event::Readout")
    writer.write(ask)
    assert nodes[2].get_events() == []
    with pytest.raises(RuntimeError, match="no filter"):
        graph.sequential([model.get_source_node(), "EventFilter", samna.graph.JitSink()])
    del graph
    nodes[1].set_desired_type("xyloImu::event::RegisterValue")
    writer.write(ask)
    assert nodes[2].get_events() == []


def test_the_first_word_of_a_series_of_memory_reads_is_junk() -> None:
    samna = FakeSamna(["a2"])
    driver = SamnaDriver(samna)
    board = driver.open(driver.boards()[0])
    board.apply(board.configuration(configuration_from_specification(program("a2")), "AcceleratedTime"))
    board.write([board.event("ReadRegisterValue", address=0)])
    board.received(0)
    board.write([board.event("ReadMemoryValue", address=a) for a in (0x7E00, 0x7E00, 0x7E01)])
    words = [event.data for event in board.received(0)]
    assert words[0] != 0
    assert words[1:] == [0, 0]


def test_alterations_and_mismatch_are_seeded_and_checked() -> None:
    spec = program("imu")
    changed = Alteration("weights_rec", (2, 3, 0), 55)(spec)
    assert changed.weights_rec[2, 3, 0] == 55
    assert Alteration("aliases", (1,), (4,))(spec).aliases[1] == (4,)
    with pytest.raises(ConfigurationError, match="Did you mean 'threshold'"):
        Alteration("thresholds", (0,), 3)
    one, same, other = (Mismatch(0.1, 0.1, seed)(spec) for seed in (1, 1, 2))
    assert one == same != other
    relative = (one.threshold / spec.threshold).std()
    assert 0.02 < relative < 0.3
    assert Mismatch()(spec) == spec
