"""The vendor's driver is never imported unasked, and its placeholder never at all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from snnkit.hw import connect
from snnkit.hw.fake_samna import FakeSamna
from snnkit.hw.sessions import DriverMismatch, DriverMissing
from snnkit.hw.sessions import connect as connecting
from snnkit.hw.sessions.samna_driver import SamnaDriver

SESSIONS = Path(__file__).resolve().parents[2] / "hw" / "sessions"


def make_stub(folder: Path) -> None:
    """Like the public index's placeholder: source only, and dangerous to import."""
    (folder / "samna").mkdir()
    (folder / "samna" / "__init__.py").write_text("raise SystemExit('the placeholder was imported')\n")


@pytest.mark.parametrize("stub", [True, False])
def test_without_the_real_driver_a_board_is_refused_with_instructions(stub: bool, tmp_path: Path) -> None:
    if stub:
        make_stub(tmp_path)
    code = (
        "import sys\n"
        "from snnkit.hw import boards, connect\n"
        "from snnkit.hw.sessions import DriverMissing\n"
        "for make in (lambda: connect('samna:'), boards):\n"
        "    try:\n"
        "        make()\n"
        "    except DriverMissing as error:\n"
        "        print(error)\n"
        "with connect('sim:imu'), connect('fake:a3'):\n"
        "    pass\n"
        "assert 'samna' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fake:imu or sim:imu") == 2
    assert ("placeholder" in done.stdout) == stub


def test_importing_sessions_imports_no_numba_and_no_driver() -> None:
    code = (
        "import sys, snnkit.hw, snnkit.hw.sessions, snnkit.hw.fake_samna\n"
        "wrong = {'samna', 'numba', 'matplotlib', 'aeon', 'rockpool'} & set(sys.modules)\n"
        "assert not wrong, wrong\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_names_of_the_driver_stand_in_one_module() -> None:
    """Methods that only the driver has may be called in samna_driver.py and nowhere else."""
    own = re.compile(
        r"\.(get_\w*(model|node|monitor|module|watch|devices|configuration|events\w*|versions)|apply_configuration"
        r"|open_device|close_device|sink_from|source_to|EventFilterGraph|reset_board_soft|set_main_clk_rate)\b"
    )
    offenders = [
        f"{path.name}: {found.group()}"
        for path in sorted(SESSIONS.glob("*.py"))
        if path.name != "samna_driver.py"
        for found in own.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not offenders


def test_a_driver_that_lacks_a_name_is_told_apart_from_a_broken_board() -> None:
    class Other:
        def __getattr__(self, name: str) -> object:
            raise AttributeError(f"module 'samna' has no attribute {name!r}")

    with pytest.raises(DriverMismatch, match=r"written for samna 0\.48"):
        connect("samna:", driver=Other())
    assert issubclass(DriverMissing, ImportError)
    assert connecting is connect


def test_boards_that_are_no_xylo_are_passed_over() -> None:
    driver = SamnaDriver(FakeSamna(["imu", "imu"]))
    one, other = driver.boards()
    assert (str(one), other.index) == ("XyloImuTestBoard:0 (Xylo-IMU)", 1)
    driver.open(one)
    assert [board.free for board in driver.boards()] == [False, True]
    assert "in use" in str(driver.boards()[0])
    listed = driver.module.device.get_all_devices()
    listed[0].device_type_name = "Speck2fDevKit"
    assert [board.name for board in driver.boards()] == ["XyloImuTestBoard"]
