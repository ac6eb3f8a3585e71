"""A run's program in one file and on a device: ``snnkit pack`` and ``snnkit validate --on``."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import call_here

from snnkit.hw import connect
from snnkit.hw.fake_samna import Alteration, FakeSamna
from snnkit.hw.sessions.validation import validate_on
from snnkit.hw.xylo import Specification, load_deployment
from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.xylo_files import device_run, read_device
from snnkit.report.data import ReportData
from snnkit.utilities.files import read_arrays, write_json


@pytest.fixture
def run(finished, tmp_path: Path) -> RunFolder:
    shutil.copytree(finished[0].path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_pack_writes_all_that_a_run_knows_of_its_program(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "gestures.xylo"
    done = call_here("pack", run.path, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "snnkit validate" in done.stdout
    found = load_deployment(out)
    assert found.specification == Specification.load(run.specification)
    assert found.delay == 1
    np.testing.assert_array_equal(found.rasters(), read_arrays(run.vectors)[0]["raster"])
    assert found.encoder["kind"] == "graded"
    assert set(found.encoder["fitted"]) == {"centre", "spread", "low", "middle", "high"}
    assert found.weights
    assert found.about["recipe"] == "gestures"
    assert float(found.about["accuracy chip"]) == 1.0
    checked = call_here("validate", out, "--json")
    assert json.loads(checked.stdout)["passed"] is True


def test_a_run_is_validated_on_a_device_and_its_report_tells(run: RunFolder, tmp_path: Path) -> None:
    assert read_device(run) is None
    recording = tmp_path / "lab.xrec"
    done = call_here("validate", run.path, "--on", "fake:imu", "--record", recording)
    assert done.returncode == 0, done.stderr
    assert "snnkit report" in done.stdout
    found = device_run(run)
    assert found is not None
    assert (found.uri, found.different, found.findings) == ("fake:imu", 0, ())
    assert set(found.measured_w) == {"io", "core"}
    assert call_here("validate", run.path, "--on", f"replay:{recording}").returncode == 0
    stages.report(run)
    assert "Zero difference" in run.report.read_text()
    assert 'id="device"' in run.report.read_text()
    assert ReportData.load(run.path).device == device_run(run)


def test_the_report_names_what_is_wrong_with_a_device(run: RunFolder) -> None:
    specification = Specification.load(run.specification)
    altered = Alteration("threshold", (3,), int(specification.threshold[3]) // 3)
    with connect("samna:", driver=FakeSamna(["imu"], alter=altered)) as session:
        found = validate_on(session, specification, read_arrays(run.vectors)[0]["raster"])
    write_json(run.path / "validation-device.json", found.to_json())
    stages.report(run)
    told = device_run(run)
    assert told is not None
    assert told.different > 0
    assert any("threshold" in finding for finding in told.findings)


def test_a_run_that_is_not_simulated_is_refused(run: RunFolder) -> None:
    run.vectors.unlink()
    for command in (("pack", run.path), ("validate", run.path, "--on", "fake:imu")):
        done = call_here(*command)
        assert done.returncode == 1
        assert "snnkit simulate" in done.stderr
