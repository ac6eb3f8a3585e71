"""Every fault of a board, line by line: what a user sees, and that the next session works."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from sessions.session_programs import CHIPS, program, rasters

from snnkit.hw import connect
from snnkit.hw.fake_samna import FakeSamna, Faults
from snnkit.hw.sessions import (
    ConfigurationNotApplied,
    ConfigurationRejected,
    DeviceBusy,
    DeviceLost,
    DeviceNotFound,
    FirmwareTooOld,
    PowerUnavailable,
    ReadoutLost,
    ReadoutTimeout,
    Session,
    SessionError,
    StateNotReset,
    StateUnknown,
)
from snnkit.hw.xylo import XyloSim

PATIENCE = 0.02


@dataclass(frozen=True)
class Line:
    """One fault: the error that comes, or what is counted while the answer is right."""

    fault: str
    faults: Faults
    error: type[SessionError] | None = None
    says: str = ""
    counted: dict[str, int] = field(default_factory=dict)
    power: bool = False
    batch: bool = True
    chips: tuple[str, ...] = CHIPS


TABLE = (
    Line("no answer, once", Faults(silent_runs=1), counted={"retries": 1}),
    Line("no answer", Faults(silent_runs=9), ReadoutTimeout, "sent nothing for 0.02 s"),
    Line("a readout is dropped, once", Faults(dropped_readouts=1), counted={"retries": 1}),
    Line("readouts are dropped", Faults(dropped_readouts=9), ReadoutLost, r"missing: \d+"),
    Line("a readout comes twice, once", Faults(repeated_readouts=1), counted={"retries": 1}),
    Line("readouts come twice", Faults(repeated_readouts=9), ReadoutLost, r"double: \d+"),
    Line("readouts out of order", Faults(reordered_readouts=1), counted={"reordered": 2, "retries": 0}),
    Line(
        "configuration rejected",
        Faults(rejects="fan-out 65 of neuron 3"),
        ConfigurationRejected,
        "fan-out 65",
    ),
    Line("a write goes wrong, once", Faults(corrupted_writes=1), counted={"retries": 1}),
    Line("writes go wrong", Faults(corrupted_writes=99), ConfigurationNotApplied, r"input.weights\[0, 0\]: "),
    Line("device busy", Faults(busy=True), DeviceBusy, "opens once per machine"),
    Line("device lost in a run", Faults(lost_after=7), DeviceLost, "Check cable and power"),
    Line("old fxtree", Faults(firmware=("0.11.4", "1.9.0")), FirmwareTooOld, "fxtree 0.11.4"),
    Line("old unifirm", Faults(firmware=("0.13.0", "1.1.2")), FirmwareTooOld, "unifirm 1.1.2"),
    Line("power jitters", Faults(power_jitter=0.2), power=True),
    Line("bad power samples", Faults(bad_power_samples=2), power=True),
    Line("no power samples", Faults(no_power=True), PowerUnavailable, "no usable sample of io", power=True),
    # The first one is that of configure(), which finds nothing to clear.
    Line("reset fails once", Faults(stuck_resets=2), counted={"retries": 1}),
    Line("state does not reset", Faults(stuck_resets=99), StateNotReset, "states are not zero"),
    Line(
        "a readout is dropped when it matters",
        Faults(dropped_readouts=1),
        ReadoutLost,
        "missing",
        batch=False,
    ),
)


def try_it(session: Session, line: Line) -> tuple[Any, dict[str, int]]:
    """Leave a state behind, so that a reset has something to do, then run what the line says.

    Returns the output, and what was counted on the way.
    """
    session.configure(program(session.chip.name))
    retries = session.retries
    warm = line.fault.startswith(("reset", "state", "a readout is dropped when"))
    if warm:
        session.run(rasters(samples=1)[0][:1])
    raster = rasters(samples=2) if line.batch else rasters(samples=1)[0]
    output = session.run(raster, record=True, power=line.power)[0]
    counts = {"retries": retries + session.retries, "reordered": session.reordered}
    if line.power:
        session.power()
    return output, counts


@pytest.mark.parametrize("line", TABLE, ids=lambda line: line.fault)
@pytest.mark.parametrize("chip", CHIPS)
def test_fault(line: Line, chip: str) -> None:
    driver = FakeSamna([chip], faults=line.faults)
    if line.error is None:
        with connect("samna:", driver=driver, read_timeout=PATIENCE) as session:
            output, counts = try_it(session, line)
            np.testing.assert_array_equal(output, XyloSim(program(chip))(rasters(samples=2))[0])
            for name, count in line.counted.items():
                assert counts[name] == count, name
            assert (session.power().measured is not None) == line.power
        return
    session = None
    with pytest.raises(line.error, match=line.says):  # noqa: PT012 - it comes in one of the two
        session = connect("samna:", driver=driver, read_timeout=PATIENCE)
        try_it(session, line)
    if session is not None:
        session.close()
        assert session.closed
    if line.faults.busy or line.faults.firmware:
        assert session is None
        return
    with connect("samna:", driver=driver, read_timeout=PATIENCE):
        pass  # whatever happened, the board can be had again


def test_the_fault_table_covers_every_fault() -> None:
    none = vars(Faults())
    covered = {name for line in TABLE for name, value in vars(line.faults).items() if value != none[name]}
    assert covered == set(vars(Faults()))


@pytest.mark.parametrize("chip", CHIPS)
def test_after_a_lost_device_a_new_session_gives_right_answers(chip: str) -> None:
    driver = FakeSamna([chip], faults=Faults(lost_after=25))
    with connect("samna:", driver=driver, read_timeout=PATIENCE) as session:
        session.configure(program(chip))
        session.run(rasters(samples=1)[0])
        with pytest.raises(DeviceLost):
            session.run(rasters(samples=1)[0])
        with pytest.raises(StateUnknown, match="reset"):
            session.run(rasters(samples=1)[0])
        if chip != "a3":  # which is reset by opening it anew, and that finds it again
            with pytest.raises(DeviceLost):
                session.reset()
    with connect("samna:", driver=driver, read_timeout=PATIENCE) as session:
        session.configure(program(chip))
        np.testing.assert_array_equal(session.run(rasters())[0], XyloSim(program(chip))(rasters())[0])


def test_a_failed_run_needs_a_reset_and_works_after_it() -> None:
    driver = FakeSamna(["imu"], faults=Faults(dropped_readouts=1))
    raster = rasters(samples=1)[0]
    with connect("samna:", driver=driver, retries=0) as session:
        session.configure(program("imu"))
        with pytest.raises(ReadoutLost):
            session.run(raster)
        with pytest.raises(StateUnknown, match=r"reset\(\) first"):
            session.run(raster)
        session.reset()
        np.testing.assert_array_equal(session.run(raster)[0], XyloSim(program("imu"))(raster)[0])


@pytest.mark.parametrize("chip", CHIPS)
def test_an_interrupt_leaves_a_session_that_can_be_reset_and_closed(
    chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snnkit.hw.sessions import samna_driver

    driver = FakeSamna([chip])
    session = connect("samna:", driver=driver)
    session.configure(program(chip))
    real, calls = samna_driver.SamnaBoard.received, []

    def interrupted(board: Any, milliseconds: int) -> list[Any]:
        calls.append(milliseconds)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(board, milliseconds)

    monkeypatch.setattr(samna_driver.SamnaBoard, "received", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.run(rasters(samples=1)[0])
    assert max(calls) <= 100  # milliseconds: an interrupt is not kept waiting
    with pytest.raises(StateUnknown):
        session.run(rasters(samples=1)[0])
    np.testing.assert_array_equal(session.run(rasters())[0], XyloSim(program(chip))(rasters())[0])
    session.close()
    connect("samna:", driver=driver).close()


def test_boards_are_chosen_by_chip_name_and_number() -> None:
    driver = FakeSamna(["imu", "a3", "imu"])
    with connect("samna:XyloImuTestBoard:1", driver=driver) as second:
        assert second.chip.name == "imu"
        with pytest.raises(DeviceBusy, match="XyloImuTestBoard:1"):
            connect("samna:XyloImuTestBoard:1", driver=driver)
        with connect("samna:", driver=driver) as first, connect("samna:a3", driver=driver) as audio:
            assert (first.chip.name, audio.chip.name) == ("imu", "a3")
            with pytest.raises(DeviceBusy):
                connect("samna:", driver=driver)
    with pytest.raises(DeviceNotFound, match="Plugged in: XyloImuTestBoard:0"):
        connect("samna:a2", driver=driver)
    with pytest.raises(DeviceNotFound, match="Plugged in: none"):
        connect("samna:", driver=FakeSamna([]))


def test_sessions_have_no_silent_defaults_for_what_does_not_exist() -> None:
    makers: tuple[tuple[str, Callable[[], object]], ...] = (
        ("Did you mean 'samna'", lambda: connect("samnna:")),
        ("sim:imu, samna:", lambda: connect("sim")),
        ("Did you mean 'XyloImuTestBoard'", lambda: connect("samna:XyloImuBoard", driver=FakeSamna())),
        ("Unknown mode 'fast'", lambda: connect("fake:imu", mode="fast")),  # type: ignore[arg-type]
        ("chip with a board", lambda: connect("fake:a1")),
    )
    for says, make in makers:
        with pytest.raises(ValueError, match=says):
            make()


def test_a_batch_on_a_board_shows_a_bar_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (False, True):
        with connect("fake:imu", progress=wanted) as session:
            session.configure(program("imu"))
            session.run(rasters())
        shown = capsys.readouterr()
        assert ("Running on XyloImuTestBoard" in shown.err) == wanted
        assert shown.out == ""


@pytest.mark.parametrize(("chip", "real"), [("imu", 50e6 / 2), ("a2", 50e6 / 2), ("a3", 27e6)])
def test_clocks_are_set_and_the_real_frequency_is_told(chip: str, real: float) -> None:
    with connect(f"fake:{chip}", main_clock=27e6) as session:
        assert session.main_clock == pytest.approx(real)
        session.configure(program(chip))
        np.testing.assert_array_equal(session.run(rasters())[0], XyloSim(program(chip))(rasters())[0])
    with connect(f"fake:{chip}") as session:
        assert session.main_clock == 50e6
