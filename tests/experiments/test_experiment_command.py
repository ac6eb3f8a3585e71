"""``snnkit experiment``: from one command to findings, figures and a page."""

import json
from pathlib import Path

import pytest
import torch
from command_line import call_here, plain
from experiment_matrices import TOML, tiny_job

from snnkit.experiments import registry
from snnkit.experiments.experiment import Context, Experiment, seed_of
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.folder import ExperimentFolder
from snnkit.experiments.matrix import Record
from snnkit.experiments.running import Order, parse_settings, run_experiment, run_in_folder
from snnkit.experiments.training.experiment import TrainingSettings
from snnkit.experiments.training.matrix_file import experiment_of_file
from snnkit.experiments.training.theory import displacement_check, learning_rate_check
from snnkit.recipes.progress import Silent
from snnkit.utilities.errors import ConfigurationError, FileFormatError

pytest.importorskip("matplotlib", reason="the experiments extra is not installed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The tiny matrix, run; the process that is killed in the tests of jobs is a real one."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "tiny.toml").write_text(TOML)
    done = call_here("experiment", "tiny.toml", "--out", "out", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_a_matrix_becomes_findings_figures_and_a_page(finished):
    folder, told = finished
    assert told["passed"] is True
    assert Path(told["folder"]) == Path("out")
    out = folder / "out"
    assert len(list((out / "results").glob("*.json"))) == 8
    assert {path.name for path in (out / "figures").iterdir()} == {"boxes.svg", "learning-rates.svg"}
    page = (out / "findings.md").read_text()
    for word in ("# Matrix configuration tiny.toml", "figures/boxes.svg", "Against theory", "| holds |"):
        assert word in page
    checks = {check["name"].split(":")[0].split(",")[0]: check["measured"] for check in told["checks"]}
    assert checks["weights after 40 steps"] < 1e-12
    assert checks["change of the loss by a teleport"] < 1e-5


def test_a_finished_experiment_is_told_again_without_training(finished):
    folder, told = finished
    results = {p: p.stat().st_mtime_ns for p in (folder / "out" / "results").iterdir()}
    again = call_here("experiment", "tiny.toml", "--out", "out", "--json", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["tables"] == told["tables"]
    assert {p: p.stat().st_mtime_ns for p in results} == results


def test_people_get_reading_tables_and_checks(finished):
    folder, _ = finished
    done = call_here("experiment", "tiny.toml", "--out", "out", cwd=folder)
    assert done.returncode == 0
    for word in ("Each way at its best learning rate", "no teleport", "holds", "out/findings.md"):
        assert word in plain(done.stdout)


def test_results_are_plotted_by_any_fields(finished):
    folder, _ = finished
    done = call_here(
        *(
            "experiment",
            "plot",
            "out",
            "--metrics",
            "val_accuracy,lr",
            "--group-by",
            "teleport,optimizer.kwargs.lr",
        ),
        *("--panel-by", "dataset", "--out", "plots"),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (folder / "plots").iterdir()} == {
        "val_accuracy-curves.svg",
        "lr-curves.svg",
    }
    text = (folder / "plots" / "val_accuracy-curves.svg").read_text()
    assert "teleport · lr=0.01" in text
    done = call_here("experiment", "plot", "out", "--boxplot", "--box-epochs", "1,2", "--json", cwd=folder)
    assert json.loads(done.stdout)["files"] == ["out/plots/val_accuracy-boxes.svg"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--group-by", "optimiser"], "Did you mean 'optimizer'"),
        (["--metrics", "val_acuracy"], "Did you mean 'val_accuracy'"),
        (["--box-epochs", "7"], "beyond those of the runs, 0 to 2"),
        (["--box-epochs", "one"], "not whole numbers"),
    ],
)
def test_plots_that_cannot_be_drawn_are_told(finished, options, told):
    folder, _ = finished
    done = call_here("experiment", "plot", "out", *options, cwd=folder)
    assert done.returncode == 1
    assert told in plain(done.stderr)


def test_jobs_are_written_and_run_one_by_one(tmp_path):
    (tmp_path / "tiny.toml").write_text(TOML)
    done = call_here("experiment", "unroll", "tiny.toml", "--out", "jobs", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (len(told["jobs"]), told["unfinished"]) == (8, 8)
    done = call_here("experiment", "job", told["jobs"][3], "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert Path(result["file"]).is_file()
    again = call_here("experiment", "job", told["jobs"][3], "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == result
    done = call_here("experiment", "unroll", "tiny.toml", "--out", "jobs", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["unfinished"] == 7
    kept = Path(result["file"]).read_bytes()
    done = call_here("experiment", "tiny.toml", "--out", "jobs", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["passed"] is True
    assert (tmp_path / "jobs" / "findings.md").is_file()
    assert Path(result["file"]).read_bytes() == kept


def test_the_list_names_every_experiment():
    done = call_here("experiment", "list")
    assert done.returncode == 0
    for name in ("convergence-boost", "other-activations", "initialisations", "pseudo-teleport"):
        assert name in done.stdout
    assert call_here("experiment", "--list").stdout == done.stdout
    listed = json.loads(call_here("experiment", "list", "--json").stdout)
    assert [entry["name"] for entry in listed] == list(registry.experiment_names())
    for name in registry.experiment_names():
        experiment = registry.get_experiment(name)
        assert experiment.name == name
        assert type(experiment.quick) is type(experiment.full)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["convergence-bost"], "Did you mean 'convergence-boost'"),
        (["convergence-boost", "--set", "epoch=3"], "Did you mean 'epochs'"),
        (["convergence-boost", "--set", "epochs=-3"], "epochs is -3; it must be at least 0"),
        (["convergence-boost", "--set", "epochs"], "is not KEY=VALUE"),
        (
            ["convergence-boost", "--full", "--set", "runs=1"],
            "The files of cifar10 are yours: name",
        ),
        (["--full", "convergence-bost"], "Did you mean 'convergence-boost'"),
        (["lst"], "Did you mean 'list'"),
        (["nowhere.toml"], "nowhere.toml does not exist"),
        (["convergence-boost", "--out", "a-file"], "a-file is a file"),
        (["gradient-change", "--set", 'models=["MPL"]', "--set", "data=digts"], "Did you mean 'MLP'"),
        (["gradient-change", "--set", "data=digts"], "Did you mean 'digits'"),
        (["gradient-change", "--set", "ranges=[]"], "ranges has 0 entries; it must have at least 1"),
        (["micro-teleportation", "--set", "batch_sizes=[0]"], "batch_sizes[0] is 0; it must be at least 1"),
        (["sparse-baselines", "--set", "sparsities=[]"], "sparsities has 0 entries"),
        (["sparse-retraining", "--set", "networks=[]"], "networks has 0 entries"),
        (["sparse-memory", "--set", "model=VGG11bn"], "Did you mean 'VGG11_bn'"),
    ],
)
def test_wrong_orders_are_told(tmp_path, arguments, told):
    (tmp_path / "a-file").touch()
    done = call_here("experiment", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert told in plain(done.stderr)
    assert not list(tmp_path.rglob("jobs"))  # Nothing was begun.


def test_a_damaged_page_or_list_of_findings_is_made_anew(finished):
    folder, told = finished
    (folder / "out" / "findings.json").write_text('{"reading')
    done = call_here("experiment", "./tiny.toml", "--out", "out", "--json", cwd=folder)
    assert json.loads(done.stdout) == told


# What an experiment is made of


def measure(settings, context):
    draw = float(torch.randn((), generator=context.generator("draw")))
    check = Check("a number", float(settings.epochs), 3.0, relation="at most", law="it is small")
    table = Table("Numbers", ("name", "value"), (("draw", draw), ("nothing", None)))
    return Findings("Nothing follows from it.", {"draw": draw}, (table,), (check,))


MEASURED = Experiment(
    "measured",
    "A number",
    TrainingSettings("x", (1,), epochs=2),
    TrainingSettings("x", (1,), epochs=9),
    measure,
)


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(registry, "_MODULES", {"measured": "measured"})
    monkeypatch.setattr("snnkit.experiments.running.get_experiment", lambda name: MEASURED)
    monkeypatch.setattr("snnkit.commands.experiment.get_experiment", lambda name: MEASURED)


def test_a_broken_law_is_an_exit_code(known, tmp_path):
    assert call_here("experiment", "measured", "--out", tmp_path / "a").returncode == 0
    done = call_here("experiment", "measured", "--full", "--out", tmp_path / "b")
    assert done.returncode == 1
    assert "FAILS" in done.stdout
    assert "| FAILS |" in (tmp_path / "b" / "findings.md").read_text()


def test_a_folder_keeps_to_what_it_was_begun_with(known, tmp_path):
    order = Order("measured", out=tmp_path / "a")
    findings, folder = run_experiment(order)
    assert folder.findings() == findings
    assert run_experiment(order)[0] == findings
    for other in (
        Order("measured", seed=1, out=order.out),
        Order("measured", settings={"runs": 2}, out=order.out),
    ):
        with pytest.raises(ConfigurationError, match="holds an experiment with"):
            run_experiment(other)
    ExperimentFolder(tmp_path / "c").begin("measured", 0, {"epochs": 7})
    assert run_experiment(Order("measured", out=tmp_path / "c"))[0] == findings  # Nothing was found before.
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "file").touch()
    with pytest.raises(ConfigurationError, match="other files"):
        run_experiment(Order("measured", out=tmp_path / "b"))


def test_findings_come_back_from_their_file():
    check = Check("not a number", float("nan"), 1.0, 0.1)
    findings = Findings("Read.", {"a": [1, 2.5, None]}, (Table("T", ("x",), ((1,), ("b",))),), (check,))
    again = Findings.from_json(json.loads(json.dumps(findings.to_json(), allow_nan=False)))
    assert again.tables == findings.tables
    assert again.data == findings.data
    assert not again.passed
    with pytest.raises(FileFormatError):
        Findings.from_json({"reading": "x"})
    with pytest.raises(ConfigurationError, match="2 columns and a row of 1"):
        Table("T", ("a", "b"), ((1,),))


@pytest.mark.parametrize(
    ("relation", "measured", "passed"),
    [
        ("equals", 1.1, True),
        ("equals", 1.2, False),
        ("at most", 1.1, True),
        ("at most", -5.0, True),
        ("at most", 1.2, False),
        ("at least", 0.9, True),
        ("at least", 0.8, False),
        ("at least", float("inf"), False),
    ],
)
def test_checks_hold_within_their_tolerance(relation, measured, passed):
    assert Check("x", measured, 1.0, 0.1 + 1e-12, relation).passed is passed


def test_plain_values_are_what_json_holds():
    value = {"a": torch.ones(2), "b": (1, float("nan")), "c": torch.tensor(2.0).numpy()}
    assert to_plain(value) == {"a": [1.0, 1.0], "b": [1, None], "c": 2.0}
    with pytest.raises(ConfigurationError, match="cannot hold a set"):
        to_plain({"a": {1}})


def test_purposes_have_random_numbers_of_their_own(tmp_path):
    context = Context(seed=3, folder=tmp_path)
    assert torch.rand((), generator=context.generator("a")) == torch.rand(
        (), generator=context.generator("a")
    )
    seeds = {seed_of(seed, name, n) for seed in (3, 4) for name in ("a", "b") for n in (0, 1)}
    assert len(seeds) == 8


def test_settings_are_toml_or_text():
    assert parse_settings(["a=3", "b.c=[1, 2]", "d=some text", 'e="x"', "f=true"]) == {
        "a": 3,
        "b.c": [1, 2],
        "d": "some text",
        "e": "x",
        "f": True,
    }


def test_a_folder_of_something_else_is_told(tmp_path):
    (tmp_path / "experiment.json").write_text("[]")
    with pytest.raises(FileFormatError):
        ExperimentFolder(tmp_path).begun_with()


def test_teleported_descent_is_descent_with_other_learning_rates():
    check = learning_rate_check(torch.Generator().manual_seed(11))
    assert check.passed
    assert check.measured < 1e-12


def test_pseudo_teleports_are_held_against_the_teleport_of_the_same_range():
    def record(mode, cob_range, distance):
        way = {"mode": mode, "cob_range": cob_range, "teleport_only_once": True, "every_n_epochs": 0}
        done = {"epoch": 0, "mode": mode, "displacement": {"absolute_distance": distance}}
        return Record(tiny_job(teleportations={"teleport": way}), {"teleportations": [done]})

    pseudo, near, far = record("pseudo", 0.5, 1.0), record("random", 0.5, 1.0), record("random", 0.9, 7.0)
    check = displacement_check([near, far, pseudo])
    assert check.passed
    assert "worst of 1" in check.name
    assert displacement_check([far, pseudo]) is None


def test_what_differs_in_initial_weights_has_a_panel_of_its_own(tmp_path):
    text = TOML.replace("[[optimizers]]", 'initializers = ["none", "kaiming"]\n[[optimizers]]', 1)
    (tmp_path / "two.toml").write_text(text.replace("epochs = 2", "epochs = 1"))
    order = Order("two", settings={"runs": 2}, out=tmp_path / "out")
    run = {"data": None, "jobs": 1, "executor": None, "progress": Silent()}
    findings, _ = run_in_folder(experiment_of_file(tmp_path / "two.toml"), order, **run)
    assert [panel["title"] for panel in findings.data["panels"]] == ["none", "kaiming"]
    assert all(len(errors) == 2 for p in findings.data["panels"] for _, _, errors in p["rates"].values())


def test_a_file_of_a_matrix_is_an_experiment(tmp_path):
    (tmp_path / "mine.yml").write_text("{}")
    made = experiment_of_file(tmp_path / "mine.yml")
    assert (made.name, made.quick) == ("mine", made.full)
