"""The built wheel, installed on its own, works from any folder."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    # A copy: the build leaves a folder in the source tree, and stale files in it would get into later wheels.
    source = target / "source"
    for folder in ("snnkit", "hw", "transforms"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source, cwd=target)
    (built,) = target.glob("*.whl")
    return built


@pytest.mark.slow
def test_wheel_holds_every_package_and_nothing_at_top_level_but_snnkit(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"snnkit"}
    for needed in ("snnkit/py.typed", "snnkit/hw/__init__.py", "snnkit/transforms/__init__.py"):
        assert needed in names
    assert any(name.startswith("snnkit/recipes/") and name.endswith(".toml") for name in names)
    assert any(name.startswith("snnkit/report/templates/") for name in names)


@pytest.mark.slow
def test_wheel_runs_in_a_clean_environment_from_elsewhere(wheel: Path, tmp_path: Path):
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    run(scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)

    assert "0.1" in run(scripts / "snnkit", "--version", cwd=tmp_path)
    chips = json.loads(run(scripts / "snnkit", "chips", "--json", cwd=tmp_path))
    assert {"a1", "a2", "a3", "imu"} <= {chip["name"] for chip in chips}
    run(scripts / "snnkit", "doctor", cwd=tmp_path)
    where = run(
        scripts / "python",
        "-c",
        "import snnkit.hw, snnkit.transforms; print(snnkit.hw.__file__, snnkit.transforms.__file__)",
        cwd=tmp_path,
    )
    assert str(ROOT) not in where
    absent = run(
        scripts / "python",
        "-c",
        "import importlib.util as u; print([n for n in ('hw', 'transforms') if u.find_spec(n)])",
        cwd=tmp_path,
    )
    assert absent.strip() == "[]"
