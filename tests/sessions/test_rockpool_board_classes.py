"""Rockpool's classes for boards: its names and signatures, on the imitation."""

import inspect
from importlib import import_module

import numpy as np
import pytest
from sessions.session_programs import CHIPS, program, rasters

from snnkit.hw import connect
from snnkit.hw.fake_samna import FakeSamna
from snnkit.hw.sessions import StateUnknown
from snnkit.hw.xylo import XyloSim
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError

SIGNATURES = {
    "XyloSamna": ["device", "config", "dt", "output_mode", "power_frequency"],
    "XyloIMUMonitor": [
        "device", "config", "output_mode", "prerecorded_imu_input", "main_clk_rate", "hibernation_mode",
        "interface_params", "power_frequency",
    ],
}  # fmt: skip
A3_MONITOR = [
    "device", "config", "output_mode", "dt", "main_clk_rate", "hibernation_mode", "power_frequency",
    "dn_active",
]  # fmt: skip


def face(chip: str):
    return import_module(f"snnkit.hw.xylo.{get_chip(chip).part.lower()}")


@pytest.mark.parametrize("chip", CHIPS)
def test_names_and_signatures_are_rockpools(chip: str) -> None:
    names = ["XyloSamna", "XyloIMUMonitor" if chip == "imu" else "XyloMonitor"]
    for name in names:
        kind = getattr(face(chip), name)
        parameters = list(inspect.signature(kind).parameters)
        if name == "XyloMonitor":
            assert (
                parameters == A3_MONITOR
                if chip == "a3"
                else parameters[:3] == ["device", "config", "afe_config"]
            )
        else:
            assert parameters == SIGNATURES[name]
        assert kind.__module__ == face(chip).__name__
        assert name in face(chip).__all__
    with pytest.raises(AttributeError, match="XyloCamera"):
        _ = face(chip).XyloCamera


@pytest.mark.parametrize("chip", CHIPS)
def test_xylo_samna_runs_like_xylo_sim(chip: str) -> None:
    spec, raster = program(chip), rasters(samples=1, steps=30)[0]
    config = spec.to_configuration()
    board = face(chip).XyloSamna(f"fake:{chip}", config, dt=spec.dt)
    sim = XyloSim(spec)
    for part in (raster[:10], raster[10:]):
        output, state, record = board(part, record=True, record_power=True)
        expected, _, expected_record = sim(part, record=True)
        np.testing.assert_array_equal(output, expected)
        assert state == {}
        for name in ("Spikes", "Vmem", "Isyn", "Vmem_out"):
            np.testing.assert_array_equal(record[name], expected_record[name])
        np.testing.assert_allclose(record["times"], np.arange(len(part)) * spec.dt)
        assert (record["io_power"] > 0).all()
    board.reset_state()
    first = XyloSim(spec)(raster)[0]
    np.testing.assert_array_equal(board.evolve(raster, read_timeout=1.0)[0], first)
    board.reset_state()
    np.testing.assert_array_equal(board._evolve_manual(raster[:4], record=True)[0], first[:4])
    np.testing.assert_array_equal(board.evolve(raster[4:])[0], first[4:])
    board.config = config
    np.testing.assert_array_equal(board(raster)[0], first)
    board.close()


@pytest.mark.parametrize("mode", ["Vmem", "Isyn"])
def test_output_modes_are_states_of_the_outputs(mode: str) -> None:
    spec, raster = program("a3"), rasters(samples=1)[0]
    board = face("a3").XyloSamna("fake:a3", spec.to_configuration(), spec.dt, mode)
    output, _, record = board(raster)
    np.testing.assert_array_equal(output, XyloSim(spec, mode)(raster)[0])
    assert record == {}
    with pytest.raises(ConfigurationError, match="Did you mean 'Spike'"):
        face("a3").XyloSamna("fake:a3", output_mode="Spikes")


def test_boards_are_found_and_opened_by_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = FakeSamna(["imu", "a3"])
    devices, modules, versions = face("imu").find_xylo_hdks(driver)
    assert versions == ["syns63300", "syns65302"]
    assert modules == ["snnkit.hw.xylo.syns63300", "snnkit.hw.xylo.syns65302"]
    monkeypatch.setattr(import_module("snnkit.hw.sessions.connect"), "driver_module", lambda: driver)
    board = face("imu").XyloSamna(devices[0])
    assert board.session.uri == "samna:XyloImuTestBoard:0"
    with pytest.raises(ConfigurationError, match="for Xylo-IMU, the device is Xylo-Audio 3"):
        face("imu").XyloSamna(devices[1])
    board.close()


@pytest.mark.parametrize("chip", ["imu", "a3"])
@pytest.mark.parametrize("mode", ["Spike", "Vmem"])
def test_monitors_listen_in_real_time(chip: str, mode: str) -> None:
    spec = program(chip)
    ambient = rasters(samples=1, steps=16, seed=5)[0]
    session = connect("samna:", driver=FakeSamna([chip], ambient=ambient))
    kind = face(chip).XyloIMUMonitor if chip == "imu" else face(chip).XyloMonitor
    monitor = kind(session, spec.to_configuration(), output_mode=mode)
    output, state, record = monitor(np.zeros((12, 0)), record_power=True)
    assert output.shape == (12, 2)
    assert state == {}
    assert (record["io_power"] > 0).all()
    expected = XyloSim(spec, mode)(np.tile(ambient, (3, 1)))[0]
    starts = [i for i in range(20) if np.array_equal(expected[i : i + 12], output)]
    assert starts, "the answer is that of the simulator to the surroundings' events"
    with pytest.raises(ValueError, match="cannot be recorded in real time"):
        monitor(np.zeros((3, 0)), record=True)
    with pytest.raises(StateUnknown):
        session.run(rasters(samples=1)[0])
    session.reset()
    np.testing.assert_array_equal(session.run(rasters())[0], XyloSim(spec)(rasters())[0])
    monitor.close()


def test_what_is_not_offered_says_so() -> None:
    with pytest.raises(ConfigurationError, match="analog front end"):
        face("a2").XyloMonitor("fake:a2")
    with pytest.raises(ConfigurationError, match="analog front end"):
        connect("fake:a2").configure(program("a2")).listen(3)
    with pytest.raises(ConfigurationError, match="recorded motion"):
        face("imu").XyloIMUMonitor("fake:imu", prerecorded_imu_input=True)
    with pytest.raises(ConfigurationError, match="divisive"):
        face("a3").XyloMonitor("fake:a3", dn_active=False)
    with pytest.raises(ConfigurationError, match="no sensor"):
        face("imu").XyloIMUMonitor(connect("sim:imu"))
