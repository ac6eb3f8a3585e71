"""``snnkit doctor`` and the look-up behind it: nothing optional is ever imported."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from snnkit.utilities import backends

STUB = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'open(\"imported\", \"w\")'])\n"


def doctor(*arguments, cwd, path=None, **environment):
    environment = {**os.environ, "COLUMNS": "200", **environment}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-m", "snnkit", "doctor", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def install(folder, name, files, version=None):
    """Lay files out as an installed package, with metadata when a version is given."""
    for relative, content in files.items():
        target = folder / name / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    if version:
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


@pytest.fixture
def elsewhere(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


def samna_of(tmp_path, elsewhere, files, version=None):
    done = doctor("--json", cwd=elsewhere, path=install(tmp_path / "site", "samna", files, version))
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == [], "samna was imported"
    return json.loads(done.stdout)["samna"]


def test_the_stub_is_recognised_and_never_imported(tmp_path, elsewhere):
    found = samna_of(tmp_path, elsewhere, {"__init__.py": STUB}, "0.21.0.0")
    assert found["state"] == "stub"
    assert found["version"] == "0.21.0.0"
    assert not found["usable"]
    assert "pip uninstall samna" in found["advice"]


def test_the_real_one_is_recognised_by_its_compiled_libraries(tmp_path, elsewhere):
    files = {"__init__.py": STUB, "lib/_samna.cpython-311-x86_64-linux-gnu.so": ""}
    found = samna_of(tmp_path, elsewhere, files, "0.48.6")
    assert (found["state"], found["usable"], found["old"]) == ("real", True, False)
    assert found["advice"] == ""


def test_an_old_real_one_is_not_usable(tmp_path, elsewhere):
    found = samna_of(tmp_path, elsewhere, {"__init__.py": "", "samna.so.1": ""}, "0.40.1")
    assert (found["state"], found["usable"], found["old"]) == ("real", False, True)
    assert "0.48.6" in found["advice"]


def test_a_folder_left_by_an_uninstall_is_told_apart(tmp_path, elsewhere):
    found = samna_of(tmp_path, elsewhere, {"__pycache__/__init__.cpython-311.pyc": ""})
    assert found["state"] == "leftover"
    assert str(tmp_path / "site" / "samna") in found["advice"]


def test_absence_is_no_fault(elsewhere, tmp_path):
    done = doctor("--json", cwd=elsewhere, path=tmp_path)
    found = json.loads(done.stdout)
    if found["samna"]["state"] != "absent":
        pytest.skip("samna is installed here")
    assert done.returncode == 0
    assert found["ok"]


def test_the_text_tells_all_parts_and_what_to_do(elsewhere, tmp_path):
    done = doctor(cwd=elsewhere, path=install(tmp_path / "site", "samna", {"__init__.py": STUB}, "0.1"))
    assert done.returncode == 0
    for name in ("torch", "numpy", "numba", "safetensors", "matplotlib", "aeon", "rockpool", "samna"):
        assert name in done.stdout
    assert "0.1 a stub." in done.stdout
    assert "Everything that the core needs works." in done.stdout
    assert "threads" in done.stdout
    assert list(elsewhere.iterdir()) == []


def test_a_core_package_that_does_not_start_is_an_error(elsewhere, tmp_path):
    broken = {"__init__.py": "raise ImportError('numpy is too new for this numba')"}
    done = doctor("--json", cwd=elsewhere, path=install(tmp_path / "site", "numba", broken))
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert not found["ok"]
    (numba,) = [part for part in found["core"] if part["name"] == "numba"]
    assert numba["state"] == "broken"
    assert "numpy is too new for this numba" in numba["advice"]
    text = doctor(cwd=elsewhere, path=tmp_path / "site")
    assert text.returncode == 1
    assert "The core does not work: numba." in text.stdout


def test_an_optional_package_that_is_broken_or_missing_is_only_told(elsewhere, tmp_path):
    boom = {"__init__.py": "raise SystemExit('imported')"}
    done = doctor("--json", cwd=elsewhere, path=install(tmp_path / "site", "aeon", boom, "0.1"))
    assert done.returncode == 0
    (aeon,) = [part for part in json.loads(done.stdout)["optional"] if part["name"] == "aeon"]
    assert aeon["state"] == "old"
    assert 'pip install "snnkit[data]"' in aeon["advice"]


def test_the_kernel_cache_and_threads_are_told(elsewhere, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "kernel.nbi").write_bytes(b"12345")
    done = doctor("--json", cwd=elsewhere, NUMBA_CACHE_DIR=str(cache), OMP_NUM_THREADS="1")
    found = json.loads(done.stdout)
    assert found["cache"] == {
        "folder": str(cache), "reason": "NUMBA_CACHE_DIR", "writable": True, "files": 1, "bytes": 5,
    }  # fmt: skip
    assert found["threads"]["torch"] == 1
    assert found["threads"]["OMP_NUM_THREADS"] == "1"


def test_the_core_is_what_the_package_declares():
    names = [part.name for part in backends.core_parts()]
    declared = [line.split(">")[0] for line in metadata.requires("snnkit") if ";" not in line]
    assert names == declared
    assert {"matplotlib", "jinja2", "aeon", "rockpool"} <= {part.name for part in backends.optional_parts()}


def test_a_missing_package_names_the_extra():
    part = backends.find_part("surely_not_installed_anywhere", "2.0", "report")
    assert part.state == "missing"
    assert part.advice == 'pip install "snnkit[report]"'


@pytest.mark.parametrize(
    ("version", "minimum", "older"),
    [
        ("1.6.0", "1.6", False),
        ("1.6", "1.6.0", False),
        ("1.10", "1.9", False),
        ("1.9", "1.10", True),
        ("2.13.0+cpu", "2.6", False),
        ("0.48.6rc1", "0.48.6", False),
        ("nonsense", "0.1", True),
    ],
)
def test_versions_compare_by_number(version, minimum, older):
    assert backends.is_older(version, minimum) is older


def test_compiled_kernels_go_to_the_users_cache_when_the_code_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = tmp_path / "code"
    code.mkdir()
    assert backends.numba_cache([code]).folder == str(code)
    monkeypatch.setattr(backends.os, "access", lambda path, _: Path(path) != code)
    assert backends.numba_cache([code]).reason.startswith("the user's cache")
