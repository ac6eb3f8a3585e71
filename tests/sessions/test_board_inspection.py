"""``snnkit doctor`` on sessions and boards."""

import json

from command_line import call_here

from snnkit.hw.fake_samna import FakeSamna, Faults
from snnkit.hw.sessions.inspection import inspect_boards


def test_every_board_is_told_with_its_firmware_and_left_closed() -> None:
    faults = [Faults(), Faults(busy=True), Faults(firmware=("0.1.0", "0.1.0"))]
    driver = FakeSamna(["imu", "a3", "a2"], faults=faults)
    fine, busy, old = inspect_boards(driver)
    assert (fine.uri, fine.chip, fine.problem) == ("samna:XyloImuTestBoard:0", "Xylo-IMU", "")
    assert fine.firmware == ("0.11.5", "1.1.3")
    assert (busy.firmware, busy.problem) == (None, "in use by another program")
    assert "needs fxtree 0.11.5" in old.problem
    assert len(driver.device.get_unopened_devices()) == 2
    assert inspect_boards(FakeSamna([])) == []


def test_the_doctor_tells_about_sessions_and_imports_the_driver_only_for_boards() -> None:
    told = call_here("doctor")
    assert told.returncode == 0
    assert "replay:FILE.xrec" in told.stdout
    assert "once the vendor's samna is there" in told.stdout
    found = json.loads(call_here("doctor", "--json").stdout)
    assert found["boards"] is None
    assert "fake:imu" in found["sessions"]
    refused = call_here("doctor", "--boards")
    assert refused.returncode == 1
    assert "fake:imu or sim:imu" in refused.stderr
