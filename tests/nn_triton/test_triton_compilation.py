"""The kernels can be compiled for CUDA devices, wherever the tests run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
pytestmark = pytest.mark.triton

PROGRAM = Path(__file__).parents[1] / "triton_compile.py"


@pytest.mark.parametrize("capability", [90])
def test_all_kernels_compile_and_round_as_torch_does(capability, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, PROGRAM, str(capability)],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert set(found) == {"feed-forward", "recurrent", "everything", "no synapses"}
    # A multiplication fused with an addition is rounded once, and would differ from torch's operations.
    assert all(counts["fused forward"] == 0 for counts in found.values())
    # What one thread writes for the next step is read by others: never without a barrier.
    for name in ("recurrent", "everything"):
        assert min(found[name]["barriers forward"], found[name]["barriers backward"]) >= 1
