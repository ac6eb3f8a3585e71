"""``snnkit run`` and its steps on real recordings, with a net and a training small enough for a test."""

import json
import signal
import subprocess
import sys
import time

import pytest
from command_line import call, call_here, plain, surroundings

from snnkit.report import ReportData
from snnkit.report.words import percent

pytest.importorskip("aeon", reason="the recordings come with the data extra")
pytest.importorskip("matplotlib", reason="the report extra is not installed")
pytest.importorskip("jinja2", reason="the report extra is not installed")

pytestmark = pytest.mark.slow

RECIPE = """
name = "tiny"
title = "A tiny net"
chip = "imu"

[data]
source = "basic-motions"

[encoding]
kind = "graded"
steps = 30
signed = true

[network]
hidden = [12]
recurrent = false
outputs_per_class = 1
dt = 0.1

[training]
epochs = {epochs}
batch_size = 40
checkpoint_seconds = 0.0

[finetuning]
epochs = 2
"""

PROGRAM = ("specification.json", "specification.safetensors", "vectors.safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with recipes, and one finished run of each."""
    place = tmp_path_factory.mktemp("place")
    (place / "tiny.toml").write_text(RECIPE.format(epochs=4))
    (place / "longer.toml").write_text(RECIPE.format(epochs=120))
    return place


@pytest.fixture(scope="module")
def finished(place):
    done = call("run", "tiny.toml", "--seed", 3, "--out", "whole", cwd=place)
    assert done.returncode == 0, done.stderr
    return done


def test_a_run_leaves_every_file_and_prints_its_summary(place, finished):
    run = place / "whole"
    names = {path.name for path in run.iterdir()}
    assert {"recipe.toml", "metrics.json", "report.html", "report-data.json", *PROGRAM} <= names
    assert not [name for name in names if name.startswith(".")]
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["accuracy"]) == {"float", "chip_exact", "chip"}
    assert (metrics["chip"], metrics["seed"]) == ("imu", 3)
    assert metrics["seconds"] > 0
    told = plain(finished.stdout)
    for key, name in (("float", "float"), ("chip_exact", "chip-exact"), ("chip", "chip")):
        assert f"{name} {percent(metrics['accuracy'][key])} " in told
    assert "12 of 496" in told
    assert "net and chip zero difference: all " in told
    assert "whole/report.html" in told
    assert "Training" in finished.stderr


def test_the_page_shows_what_the_metrics_say(place, finished):
    data = ReportData.load(place / "whole")
    metrics = json.loads((place / "whole" / "metrics.json").read_text())
    assert data.accuracy == pytest.approx(metrics["accuracy"])
    html = (place / "whole" / "report.html").read_text()
    assert "A tiny net" in html
    assert "snnkit run recipe.toml" in html


def test_the_recipe_in_the_folder_makes_the_same_run_again(place, finished):
    done = call_here("run", "whole/recipe.toml", "--out", "again", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    for name in PROGRAM:
        assert (place / "again" / name).read_bytes() == (place / "whole" / name).read_bytes(), name
    told = json.loads(done.stdout)
    assert told["accuracy"].keys() == {"float", "chip_exact", "chip"}
    assert told["timing"]["cycles_per_step"] > 0
    assert (told["exactness"]["differing_events"], told["exactness"]["differing_states"]) == (0, 0)
    assert (place / told["report"]).is_file()


def test_a_finished_run_is_not_written_over(place, finished):
    before = {path.name: path.read_bytes() for path in (place / "whole").iterdir()}
    done = call_here("run", "tiny.toml", "--seed", 3, "--out", "whole", cwd=place)
    assert done.returncode == 1
    assert "--resume" in done.stderr
    other = call_here("run", "tiny.toml", "--seed", 4, "--out", "whole", "--resume", cwd=place)
    assert other.returncode == 1
    assert "seed is 3 there and 4 now" in plain(other.stderr)
    assert {path.name: path.read_bytes() for path in (place / "whole").iterdir()} == before


def test_the_steps_one_by_one_give_the_same_program(place, finished):
    results = {}
    assert call_here("train", "tiny.toml", "--seed", 3, "--out", "steps", cwd=place).returncode == 0
    fits = call_here("check", "steps", "--json", cwd=place)
    assert json.loads(fits.stdout)["ok"]
    for step in ("finetune", "deploy", "simulate", "validate", "report"):
        done = call_here(step, "steps", "--json", cwd=place)
        assert done.returncode == 0, done.stderr
        results[step] = json.loads(done.stdout)
    for name in PROGRAM:
        assert (place / "steps" / name).read_bytes() == (place / "whole" / name).read_bytes(), name
    whole = json.loads((place / "whole" / "metrics.json").read_text())
    assert results["simulate"]["metrics"]["accuracy"] == whole["accuracy"]
    assert (place / results["report"]["files"][0]).is_file()


def test_a_float_net_is_fine_tuned_in_other_ways_in_other_folders(place, finished):
    again = call_here("finetune", "whole", cwd=place)
    assert again.returncode == 1
    assert "Continue it with --resume" in plain(again.stderr)
    assert call_here("finetune", "whole", "--resume", "--json", cwd=place).returncode == 0
    done = call_here(
        *("finetune", "whole", "--method", "qat", "--epochs", 1, "--bits", 4, "--out", "narrow", "--json"),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["files"] == ["narrow/net-qat.safetensors"]
    assert told["metrics"]["accuracy"].keys() == {"float", "qat"}
    net = "net-float.safetensors"
    assert (place / "narrow" / net).read_bytes() == (place / "whole" / net).read_bytes()
    told = plain(call_here("validate", "whole", cwd=place).stdout)
    assert "Zero difference: all" in told
    wrong = call_here("finetune", "whole", "--method", "chipexact", cwd=place)
    assert "Did you mean 'chip-exact'?" in plain(wrong.stderr)
    mixed = call_here("finetune", "whole", "--bits", 4, "--resume", cwd=place)
    assert "leave the other options out" in plain(mixed.stderr)


def test_steps_in_the_wrong_order_say_what_is_missing(place, finished):
    (place / "early").mkdir()
    (place / "early" / "recipe.toml").write_bytes((place / "whole" / "recipe.toml").read_bytes())
    for step in ("finetune", "deploy", "report"):
        done = call_here(step, "early", cwd=place)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "fault of snnkit" not in done.stderr
        assert "early" in done.stderr
    assert [path.name for path in (place / "early").iterdir()] == ["recipe.toml"]


def interrupt(arguments, place, checkpoint):
    """Start a run, wait for its first checkpoint, and press Ctrl-C."""
    # Where the tests run in the background Ctrl-C is ignored, and processes inherit that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from snnkit.cli import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=place,
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_an_interrupted_run_goes_on_to_the_same_bits(place):
    code, errors = interrupt(
        ["run", "longer.toml", "--out", "broken"], place, place / "broken" / "checkpoint.safetensors"
    )
    assert code == 130
    assert "Interrupted. Continue with: snnkit run --resume --out broken" in errors
    assert "Traceback" not in errors
    assert not (place / "broken" / "net-float.safetensors").exists()

    again = call("run", "--resume", "--out", "broken", cwd=place)
    assert again.returncode == 0, again.stderr
    assert call_here("run", "longer.toml", "--out", "unbroken", cwd=place).returncode == 0
    for name in PROGRAM:
        assert (place / "broken" / name).read_bytes() == (place / "unbroken" / name).read_bytes(), name
    accuracies = [
        json.loads((place / name / "metrics.json").read_text())["accuracy"] for name in ("broken", "unbroken")
    ]
    assert accuracies[0] == accuracies[1]


def test_resume_without_a_folder_takes_the_newest_run_of_the_recipe(place):
    first = call_here("train", "tiny.toml", "--seed", 8, "--json", cwd=place)
    assert first.returncode == 0, first.stderr
    folder = json.loads(first.stdout)["folder"]
    assert folder == "runs/tiny-imu-seed8"
    again = call_here("run", "tiny.toml", "--seed", 8, "--resume", "--json", cwd=place)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["folder"] == folder
