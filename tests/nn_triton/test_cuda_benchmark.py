"""The benchmark for CUDA devices says where there is none."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "training_cuda.py"


def test_without_a_device_nothing_is_measured_and_the_status_says_so():
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "No CUDA device" in done.stderr
    assert not done.stdout
