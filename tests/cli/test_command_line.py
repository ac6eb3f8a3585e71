"""The command line as users meet it: real processes, real files."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call, plain

import snnkit
from snnkit.recipes.stages import load_recipe
from snnkit.utilities.chips import CHIPS


def test_version_by_module_and_by_script():
    wanted = f"snnkit {snnkit.__version__}\n"
    assert call("--version").stdout == wanted
    script = Path(sys.executable).with_name("snnkit")
    if not script.exists():
        pytest.skip("the console script is not installed beside this Python")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == wanted


def test_help_names_every_command():
    done = call("--help")
    assert done.returncode == 0
    for command in [
        "run",
        "train",
        "finetune",
        "check",
        "deploy",
        "simulate",
        "validate",
        "report",
        "doctor",
        "chips",
        "recipes",
    ]:
        assert re.search(rf"\b{command}\b", done.stdout)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"], ["chips"]])
def test_quick_commands_import_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from snnkit.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'torch', 'numpy', 'numba', 'matplotlib', 'jinja2', 'aeon', 'pandas', 'rockpool', 'samna'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_importing_snnkit_imports_nothing_heavy():
    code = (
        "import sys; before = set(sys.modules); import snnkit; new = set(sys.modules) - before\n"
        "print(sorted(name for name in new if not name.startswith('snnkit')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = json.loads(done.stdout.replace("'", '"'))
    assert not {"torch", "numpy", "numba", "matplotlib", "typer", "rich"} & set(brought)
    assert len(brought) < 30


def test_chips_prints_every_limit_as_text_and_as_json():
    text = call("chips").stdout
    for chip in CHIPS.values():
        assert chip.title in text
        assert chip.part in text
    table = {row["name"]: row for row in json.loads(call("chips", "--json").stdout)}
    assert list(table) == list(CHIPS)
    assert table["imu"]["max_hidden"] == CHIPS["imu"].max_hidden
    assert table["a3"]["max_recurrent_weights"] == CHIPS["a3"].max_recurrent_weights


def test_a_printed_recipe_is_one_to_start_from(tmp_path):
    told = call("recipes").stdout
    assert "sensors" in told
    assert "snnkit recipes NAME > mine.toml" in told
    (tmp_path / "mine.toml").write_text(call("recipes", "sensors").stdout)
    assert load_recipe(tmp_path / "mine.toml") == load_recipe("sensors")
    table = json.loads(call("recipes", "sensors", "--json").stdout)
    assert table["chip"] == "imu"
    wrong = call("recipes", "sensor")
    assert wrong.returncode == 1
    assert "Did you mean 'sensors'?" in wrong.stderr


def test_chips_can_be_named_by_part_number():
    (row,) = json.loads(call("chips", "SYNS65302", "--json").stdout)
    assert row["name"] == "a3"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["chips", "iuu"], 1, "Unknown chip 'iuu'. Did you mean 'imu'?"),
        (["run", "basic-motion"], 1, "Unknown recipe 'basic-motion'. Did you mean 'basic-motions'?"),
        (["run", "--chip", "imo"], 1, "Unknown chip 'imo'. Did you mean 'imu'?"),
        (["train", "--chip", "imo"], 1, "Did you mean 'imu'?"),
        (["run", "--data", "no/such/folder"], 2, "no/such/folder"),
        (["run", "--seed", "many"], 2, "Invalid value for '--seed'"),
        (["run", "--sed", "1"], 2, "--seed"),
        (["rnu"], 2, "Did you mean 'run'"),
        (["finetune", "no/such/run"], 1, "no/such/run is not a run folder"),
        (["finetune", "--net", "net.json"], 1, "give --recipe with it"),
        (["finetune", "--recipe", "folder"], 1, "a run has a recipe of its own"),
        (["deploy", "no/such/run"], 1, "no/such/run is not a run folder"),
        (["report"], 1, "There is no run in runs yet. Make one with: snnkit run"),
        (["run", "--resume"], 1, "Leave out --resume to begin one"),
        (["run", "--resume", "--out", "nowhere"], 1, "nowhere is not a run folder"),
        (["check", "nothing.json"], 1, "nothing.json is neither of these: a run folder"),
        (["check", "nothing.py:net", "--chip", "imu"], 1, "there is no file nothing.py"),
        (["check", "net.py:net"], 1, "Say so with --chip"),
    ],
)
def test_mistakes_get_one_message_and_no_traceback(tmp_path, arguments, code, message):
    done = call(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in plain(done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_json_too_when_asked_for():
    done = call("chips", "iuu", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["type"] == "ConfigurationError"
    assert "Did you mean 'imu'" in done.stderr


def test_debug_shows_the_traceback():
    done = call("chips", "iuu", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "get_chip" in done.stderr


def test_a_terminal_without_unicode_is_no_reason_to_fail():
    done = call("doctor", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_a_run_is_never_written_over(tmp_path, extra):
    folder = tmp_path / "earlier"
    folder.mkdir()
    (folder / "thesis.txt").write_text("three years of work")
    done = call("run", "--out", folder, *extra, cwd=tmp_path)
    assert done.returncode == 1
    assert "holds other files" in plain(done.stderr)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    assert (folder / "thesis.txt").read_text() == "three years of work"


def test_a_missing_report_package_is_told_before_anything_is_trained(tmp_path):
    code = (
        "import sys\n"
        "from snnkit.utilities import backends\n"
        "backends.find_part = lambda name: backends.Part(name, 'missing', None, None)\n"
        "sys.argv = ['snnkit', 'run']\n"
        "from snnkit.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert 'needs matplotlib and jinja2: pip install "snnkit[report]"' in plain(done.stderr)
    assert list(tmp_path.iterdir()) == []
