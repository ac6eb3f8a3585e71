"""What Rockpool's own mapper, cycle model and simulator make of our specifications and configurations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.oracle

SCRIPT = Path(__file__).parent / "data" / "rockpool_without_driver.py"
CHECKS = [
    "cycles a2",
    "cycles imu",
    "configuration a2",
    "configuration imu",
    "mapped a2",
    "mapped a3",
    "mapped imu",
]


@pytest.fixture(scope="module")
def results():
    pytest.importorskip("rockpool", reason="needs the `oracles` extra")
    pytest.importorskip("xylosim", reason="needs the `oracles` extra")
    run = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize("check", CHECKS)
def test_rockpool_agrees(results, check):
    assert results[check] == "", results[check]
    assert sorted(results) == sorted(CHECKS)
