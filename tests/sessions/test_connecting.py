"""`connect`: what it takes, and what it says to what it does not take."""

from pathlib import Path
from typing import Any

import pytest

from snnkit.hw import connect
from snnkit.hw.fake_samna import FakeSamna
from snnkit.utilities.errors import ConfigurationError


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sam:", "Did you mean 'samna'"),
        ("", "Say sim:imu"),
        ("sim", "not whole"),
        ("replay:", "not whole"),
        ("sim:imuu", "Did you mean 'imu'"),
        ("fake:imuu", "Did you mean 'imu'"),
        ("fake:a1", "chip with a board"),
        ("samna:imuu", "Did you mean 'imu'"),
        ("samna:XyloIMUTestBoard:0", "Did you mean 'XyloImuTestBoard'"),
        (Path("session.xrec"), "Say sim:imu"),
    ],
)
def test_a_text_that_names_nothing_is_refused_with_what_was_meant(uri: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        connect(uri)


@pytest.mark.parametrize("uri", ["sim:imu", "fake:imu", "fake:a3"])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mode", "single-stp"),
        ("retries", -1),
        ("retries", 0.5),
        ("read_timeout", 0),
        ("read_timeout", float("nan")),
        ("power_frequency", 0),
        ("main_clock", 0),
        ("main_clock", -5e6),
        ("record_to", "lab.xylo"),
    ],
)
def test_options_that_make_no_sense_are_refused_on_every_backend(uri: str, option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(ConfigurationError, match=option):
        connect(uri, **options)


def test_all_wrong_options_are_told_at_once_and_no_board_is_opened(tmp_path: Path) -> None:
    driver = FakeSamna(["imu"])
    folder = tmp_path / "folder.xrec"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match=r"folder\.xrec.*retries.*main_clock"):
        connect("samna:", driver=driver, record_to=folder, retries=-1, main_clock=0)
    assert len(driver.device.get_unopened_devices()) == 1


def test_what_has_no_sensor_says_so(tmp_path: Path) -> None:
    for uri, record_to in (("sim:imu", None), ("fake:imu", tmp_path / "lab.xrec")):
        with (
            connect(uri, record_to=record_to) as session,
            pytest.raises(ConfigurationError, match="no sensor to listen to"),
        ):
            session.listen(10)
