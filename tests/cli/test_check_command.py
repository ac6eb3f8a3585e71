"""``snnkit check`` on nets in Python files, on specifications and with mistakes."""

import json

import numpy as np
import pytest
from command_line import call, call_here, plain

from snnkit.hw.xylo import Specification

NETS = """
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch

good = Sequential(LinearTorch((3, 8)), LIFTorch(8), LinearTorch((8, 2)), LIFTorch(2))

def large():
    return Sequential(LinearTorch((20, 200)), LIFTorch(200), LinearTorch((200, 30)), LIFTorch(30))

three = 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    return tmp_path


def test_a_net_that_fits_exits_with_0_and_shows_its_resources(folder):
    done = call("check", "nets.py:good", "--chip", "imu", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "✓ The net fits Xylo-IMU (imu)." in done.stdout
    assert "8 of 496" in done.stdout
    assert "too much" not in done.stdout


def test_all_violations_are_told_with_their_fixes(folder):
    done = call_here("check", "nets.py:large", "--chip", "imu", cwd=folder)
    assert done.returncode == 1
    told = plain(done.stdout)
    assert "does not fit Xylo-IMU (imu)" in told
    for rule in (
        "input channels: 20, limit 16",
        "output neurons: 30, limit 16",
        "neurons that take input: 200",
    ):
        assert rule in told
    assert "1_LIFTorch" in told
    assert "too much" in told
    assert done.stderr == ""


def test_the_chip_decides(folder):
    assert call_here("check", "nets.py:good", "--chip", "a2", cwd=folder).returncode == 0
    found = json.loads(call_here("check", "nets.py:large", "--chip", "a3", "--json", cwd=folder).stdout)
    assert found["chip"] == "a3"
    assert not found["ok"]
    assert {"rule", "where", "value", "limit", "fix"} == set(found["violations"][0])
    assert {"name": "output neurons", "used": 30, "limit": 32} in found["resources"]
    assert not any(violation["rule"] == "output neurons" for violation in found["violations"])


def test_a_specification_file_is_checked_for_its_own_chip_or_another(folder):
    ones = np.ones((3, 10, 1)), np.zeros((10, 10, 1)), np.ones((10, 12))
    specification = Specification.create(
        chip="imu", weights_in=ones[0], weights_rec=ones[1], weights_out=ones[2], dt=5e-3
    )
    path = specification.save(folder / "program")
    assert call_here("check", path, cwd=folder).returncode == 0
    other = call_here("check", path, "--chip", "a2", cwd=folder)
    assert other.returncode == 1
    assert "output neurons: 12, limit 8" in plain(other.stdout)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets.py:god", "nets.py holds no 'god'. Did you mean 'good'?"),
        ("nets.py:three", "nets.py:three is of type int, not a net"),
        ("broken.py:net", "broken.py does not load: ZeroDivisionError: division by zero"),
        ("no_such_module:net", "no_such_module does not load: ModuleNotFoundError"),
    ],
)
def test_what_is_no_net_is_told(folder, target, message):
    done = call_here("check", target, "--chip", "imu", cwd=folder)
    assert done.returncode == 1
    assert message in plain(done.stderr)
    assert "Traceback" not in done.stderr
