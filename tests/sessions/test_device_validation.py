"""A program validated on a device: all agrees, or the one thing that is wrong is found and named."""

import pytest
from sessions.session_programs import CHIPS, program, rasters

from snnkit.hw import connect
from snnkit.hw.fake_samna import Alteration, FakeSamna, Faults
from snnkit.hw.sessions.validation import DeviceValidation, validate_on
from snnkit.utilities.errors import DataError, FileFormatError

ALTERED = {
    "weight": Alteration("weights_rec", (2, 3, 0), 100),
    "input weight": Alteration("weights_in", (1, 3, 0), -20),
    "dash": Alteration("dash_mem", (4,), 7),
    "threshold": Alteration("threshold", (5,), 250),
    "bias": Alteration("bias", (6,), 50),
    "alias": Alteration("aliases", (2,), (7,)),
    "output threshold": Alteration("threshold_out", (1,), 180),
}


@pytest.mark.parametrize("chip", CHIPS)
def test_an_unaltered_device_agrees_in_everything(chip: str) -> None:
    spec = program(chip)
    with connect(f"fake:{chip}") as session:
        found = validate_on(session, spec, rasters())
    assert found.passed
    assert found.comparison.equal
    assert {record.name for record in found.records} >= {"Spikes_out", "Spikes", "Vmem", "Isyn", "Vmem_out"}
    assert found.values == sum(record.values for record in found.records) > 2000
    assert found.measured is not None
    assert found.measured.watts["io"] > 0
    assert "agree with the simulator" in str(found)
    assert "measured io" in str(found)
    assert "estimated about" in str(found)


@pytest.mark.parametrize("what", ALTERED)
@pytest.mark.parametrize("chip", CHIPS)
def test_one_altered_value_is_found_and_named(chip: str, what: str) -> None:
    alteration = ALTERED[what]
    with connect("samna:", driver=FakeSamna([chip], alter=alteration)) as session:
        found = validate_on(session, program(chip), rasters(samples=6, steps=40))
    assert not found.passed
    divergence = found.comparison.divergence
    assert divergence is not None
    assert divergence.cause == "altered parameter"
    first = divergence.candidates[0]
    assert first.parameter == alteration.field
    assert first.neuron == (alteration.index[0] if len(alteration.index) == 1 else alteration.index[1])
    assert alteration.field in str(found)


def test_the_simulator_is_no_device_and_measures_nothing() -> None:
    with connect("sim:imu") as session:
        found = validate_on(session, program("imu"), rasters())
    assert found.passed
    assert found.measured is None
    assert "not measured" in str(found)


def test_a_validation_goes_to_json_and_back() -> None:
    with connect("fake:imu") as session:
        found = validate_on(session, program("imu"), rasters())
    table = found.to_json()
    assert table["passed"] is True
    back = DeviceValidation.from_json(table)
    assert str(back) == str(found)
    assert back.to_json() == table
    for damaged in ({}, [], {**table, "records": 3}, {**table, "version": 9}, {**table, "watt": 1}):
        with pytest.raises(FileFormatError):
            DeviceValidation.from_json(damaged)


def test_a_power_monitor_that_fails_takes_nothing_from_the_comparison() -> None:
    with connect("samna:", driver=FakeSamna(["imu"], faults=Faults(no_power=True))) as session:
        found = validate_on(session, program("imu"), rasters())
    assert found.passed
    assert found.values > 2000
    assert found.measured is None
    assert "gave no usable sample of io" in found.power_problem
    assert "not measured (The power monitor gave no usable sample" in str(found)
    assert DeviceValidation.from_json(found.to_json()) == found


def test_nothing_to_compare_is_no_agreement() -> None:
    with connect("sim:imu") as session, pytest.raises(DataError, match="at least one raster"):
        validate_on(session, program("imu"), rasters()[:0])
