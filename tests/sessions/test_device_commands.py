"""`snnkit validate` on files, devices and recordings."""

from pathlib import Path

import pytest
from command_line import call_here
from sessions.session_programs import program, rasters

from snnkit.hw import connect
from snnkit.hw.fake_samna import Alteration, FakeSamna
from snnkit.hw.sessions.validation import validate_on
from snnkit.hw.xylo.archive.xylo_file import save_deployment
from snnkit.utilities.files import read_json


@pytest.fixture
def xylo_file(tmp_path: Path) -> Path:
    return save_deployment(tmp_path / "net.xylo", program("imu"), rasters())


def test_the_command_line_checks_a_file_anywhere(xylo_file: Path) -> None:
    done = call_here("validate", xylo_file)
    assert done.returncode == 0, done.stderr
    assert "3 vectors agree bit for bit" in done.stdout
    content = bytearray(xylo_file.read_bytes())
    content[len(content) // 2] ^= 1
    xylo_file.write_bytes(content)
    done = call_here("validate", xylo_file)
    assert done.returncode == 1
    assert "altered" in done.stderr or "damaged" in done.stderr


def test_the_command_line_validates_on_a_device_and_on_its_recording(xylo_file: Path, tmp_path: Path) -> None:
    recording = tmp_path / "lab.xrec"
    done = call_here("validate", xylo_file, "--on", "fake:imu", "--record", recording)
    assert done.returncode == 0, done.stderr
    assert "agree with the simulator" in done.stdout
    first = read_json(tmp_path / "net.device.json")
    done = call_here("validate", xylo_file, "--on", f"replay:{recording}")
    assert done.returncode == 0, done.stderr
    again = read_json(tmp_path / "net.device.json")
    assert first.pop("uri") == "fake:imu"
    assert again.pop("uri") == f"replay:{recording}"
    assert again == first
    done = call_here("validate", xylo_file, "--on", "fake:imu", "--samples", "1", "--json")
    assert '"samples": 1' in done.stdout
    done = call_here("validate", xylo_file, "--on", "samna:")
    assert done.returncode == 1
    assert "fake:imu or sim:imu" in done.stderr


def test_a_recording_of_a_faulty_device_fails_wherever_it_is_replayed(
    xylo_file: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "faulty.xrec"
    driver = FakeSamna(["imu"], alter=Alteration("threshold", (5,), 250))
    with connect("samna:", driver=driver, record_to=recording) as session:
        validate_on(session, program("imu"), rasters())
    done = call_here("validate", xylo_file, "--on", f"replay:{recording}")
    assert done.returncode == 1
    assert "threshold of hidden neuron 5" in done.stdout


def test_options_about_a_device_need_one(xylo_file: Path, tmp_path: Path) -> None:
    for option in (("--record", tmp_path / "lab.xrec"), ("--samples", "1")):
        for path in (xylo_file, tmp_path):
            done = call_here("validate", path, *option)
            assert done.returncode == 1
            assert "name one with --on" in done.stderr
    before = xylo_file.read_bytes()
    done = call_here("validate", xylo_file, "--on", "fake:imu", "--record", xylo_file)
    assert done.returncode == 1
    assert "ends in .xrec" in done.stderr
    assert xylo_file.read_bytes() == before
