"""The stages on small made-up recordings: everything that does not depend on real data."""

import json

import numpy as np
import pytest

from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Specification
from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.validation import SimulatorError
from snnkit.report.data import ReportData
from snnkit.training.checkpoint import Checkpoint
from snnkit.training.readout import Readout
from snnkit.utilities.errors import ConfigurationError, DataError, FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays


def read_all(folder, names):
    return {name: (folder.path / name).read_bytes() for name in names}


WEIGHTS = (
    "net-float.safetensors",
    "net-chip-exact.safetensors",
    "specification.safetensors",
    "vectors.safetensors",
)


def test_a_run_learns_and_writes_everything(finished):
    folder, data = finished
    assert data.accuracy["chip"] == 1.0
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["accuracy"] == data.accuracy
    assert metrics["accuracy"].keys() == {"float", "chip_exact", "chip"}
    assert metrics["accuracy"]["chip_exact"] == metrics["accuracy"]["chip"]
    found = metrics["exactness"]
    assert (found["differing_events"], found["differing_states"]) == (0, 0)
    assert found["events"] == 4 * 17 * (12 + 4)
    assert found["states"] == 2 * found["events"]
    assert (metrics["chip"], metrics["seed"], metrics["recipe"]) == ("imu", 0, "gestures")
    assert metrics["stage_seconds"].keys() == {
        "train",
        "finetune",
        "deploy",
        "simulate",
        "validate",
        "report",
    }
    assert metrics["seconds"] == pytest.approx(sum(metrics["stage_seconds"].values()))
    assert metrics["seconds"] == data.seconds > 0
    assert ReportData.load(folder.path) == data
    assert "<html" in folder.report.read_text()[:200].lower()
    assert folder.recipe() == stages.load_recipe(folder.recipe_file)


def test_the_report_has_both_trainings_and_a_whole_sample(finished):
    _, data = finished
    assert [e.stage for e in data.history] == ["float"] * 12 + ["chip_exact"] * 3
    sample = data.sample
    assert (sample.net_hidden.shape, sample.net_output.shape) == ((17, 12), (17, 4))
    assert np.array_equal(sample.net_hidden, sample.chip_hidden)
    assert np.array_equal(sample.net_output, sample.chip_output)
    assert {h.name for h in data.weight_histograms} == {
        "input weights",
        "recurrent weights",
        "output weights",
    }
    assert data.compared_samples == 4
    assert data.divergence is None
    assert data.exactness.exact
    assert data.timing.cycles_per_step > 0
    assert data.shift_chosen is None or data.shift_chosen in {point.shift for point in data.shift_curve}


def test_the_vectors_are_what_the_program_answers(finished):
    folder, data = finished
    arrays, about = read_arrays(folder.vectors)
    specification = Specification.load(folder.specification)
    assert about["digest"] == specification.digest
    delay = 1
    assert not arrays["raster"][:, -delay:].any()
    np.testing.assert_array_equal(XyloSim(specification)(arrays["raster"])[0], arrays["Spikes_out"])
    predictions = Readout(2, 2).predict(arrays["Spikes_out"][:, delay:])
    np.testing.assert_array_equal(predictions, data.predictions["chip"])
    assert specification.violations() == ()


def test_steps_alone_write_what_the_run_writes(finished, recipe_file, tmp_path):
    whole, data = finished
    folder = RunFolder(tmp_path / "steps")
    stages.train(stages.load_recipe(recipe_file), folder)
    stages.finetune(folder)
    stages.deploy(folder)
    simulation = stages.simulate(folder)
    validation = stages.validate(folder)
    stages.report(folder)
    assert read_all(folder, WEIGHTS) == read_all(whole, WEIGHTS)
    assert simulation.accuracy == data.accuracy["chip"]
    assert validation.exactness == data.exactness
    assert stages.check(folder).ok


class InterruptError(Exception):
    pass


class StopAt(stages.Silent):
    """Interrupts a stage after so many steps, as Ctrl-C would."""

    def __init__(self, stage, done):
        self.stage, self.done, self.present = stage, done, ""

    def start(self, stage, total=None):
        self.present = stage
        self.advance(0)

    def advance(self, done, note=""):
        if self.present.startswith(self.stage) and done == self.done:
            raise InterruptError


def train_and_finetune(recipe, folder, progress):
    stages.train(recipe, folder, progress=progress)
    return stages.finetune(folder, progress=progress)


@pytest.mark.parametrize(("stage", "done"), [("Training", 1), ("Training", 7), ("Fine-tuning", 2)])
def test_an_interrupted_training_goes_on_to_the_same_bits(finished, recipe_file, tmp_path, stage, done):
    whole, data = finished
    folder, recipe = RunFolder(tmp_path / "run"), stages.load_recipe(recipe_file)
    with pytest.raises(InterruptError):
        train_and_finetune(recipe, folder, StopAt(stage, done))
    stages.train(recipe, folder, resume=True)
    resumed = stages.finetune(folder, resume=True)
    assert read_all(folder, WEIGHTS[:2]) == read_all(whole, WEIGHTS[:2])
    assert [e.loss for e in resumed.history] == [e.loss for e in data.history]


def test_a_run_interrupted_after_training_goes_on_to_the_same_bits(finished, recipe_file, tmp_path):
    whole, data = finished
    folder, recipe = RunFolder(tmp_path / "run"), stages.load_recipe(recipe_file)
    with pytest.raises(InterruptError):
        stages.run(recipe, folder, progress=StopAt("Validating", 0))
    resumed = stages.run(recipe, folder, resume=True)
    assert read_all(folder, WEIGHTS) == read_all(whole, WEIGHTS)
    assert (resumed.history, resumed.accuracy) == (data.history, data.accuracy)
    assert resumed.sample == data.sample


def test_another_seed_gives_another_net(finished, recipe_file, tmp_path):
    whole, _ = finished
    stages.train(stages.load_recipe(recipe_file, {"seed": 1}), tmp_path / "run")
    other = Checkpoint.load(RunFolder(tmp_path / "run").float_net).part("parameter")
    first = Checkpoint.load(whole.float_net).part("parameter")
    assert all(not np.array_equal(first[name], other[name]) for name in first)


def test_a_recipe_is_checked_before_it_is_trained(recipe_file):
    recipe = stages.load_recipe(recipe_file)
    assert stages.check(recipe).ok
    report = stages.check(stages.load_recipe(recipe_file, {"network.hidden": [200]}))
    assert not report.ok
    assert any("128" in str(violation) for violation in report.violations)


@pytest.mark.parametrize("stage", [stages.deploy, stages.simulate, stages.validate, stages.report])
def test_a_stage_too_early_says_which_comes_first(recipe_file, tmp_path, stage):
    folder = RunFolder(tmp_path / "run")
    folder.begin(stages.load_recipe(recipe_file), resume=False)
    with pytest.raises(ConfigurationError, match=r"holds no trained net|not deployed yet|not validated yet"):
        stage(folder)


def test_other_recordings_than_those_trained_on_are_noticed(finished, recordings, tmp_path):
    whole, _ = finished
    for path in recordings.iterdir():
        (tmp_path / path.name).write_text("\n".join(path.read_text().splitlines()[:-3]))
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for path in whole.path.iterdir():
        (folder.path / path.name).write_bytes(path.read_bytes())
    moved = folder.recipe_file.read_text().replace(str(recordings), str(tmp_path))
    folder.recipe_file.write_text(moved)
    with pytest.raises(FileFormatError, match="trained on other recordings"):
        stages.deploy(folder)


def test_a_specification_of_another_run_is_noticed(finished, tmp_path):
    whole, _ = finished
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for path in whole.path.iterdir():
        (folder.path / path.name).write_bytes(path.read_bytes())
    table = json.loads(folder.deployment.read_text())
    folder.deployment.write_text(json.dumps(table | {"specification": "0" * 64}))
    with pytest.raises(FileFormatError, match="different programs"):
        stages.simulate(folder)


def test_vectors_that_do_not_come_again_are_noticed(finished, tmp_path):
    whole, _ = finished
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    for path in whole.path.iterdir():
        (folder.path / path.name).write_bytes(path.read_bytes())
    arrays, about = read_arrays(folder.vectors)
    arrays["Vmem_out"][1, 3, 2] += 1
    write_arrays(folder.vectors, arrays, about)
    with pytest.raises(SimulatorError, match=r"does not come again\. Vmem_out\[1, 3, 2\]"):
        stages.validate(folder)


def test_too_many_outputs_for_the_chip_say_what_fits(recipe_file, tmp_path):
    with pytest.raises(ConfigurationError, match=r"Set network\.outputs_per_class to 8"):
        stages.train(stages.load_recipe(recipe_file, {"network.outputs_per_class": 9}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_folder_recipe_without_a_folder_says_how_to_name_one(tmp_path):
    with pytest.raises(ConfigurationError, match="--data DIRECTORY"):
        stages.train(stages.load_recipe("folder"), tmp_path / "run")
    with pytest.raises(DataError, match="not a directory"):
        stages.train(stages.load_recipe("folder", {"data.path": str(tmp_path / "no")}), tmp_path / "run")


def test_a_taken_folder_is_refused_before_recordings_are_read(finished, tmp_path):
    whole, _ = finished
    nowhere = stages.load_recipe("folder", {"data.path": str(tmp_path / "nowhere")})
    with pytest.raises(ConfigurationError, match="holds a run already"):
        stages.train(nowhere, whole)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(ConfigurationError, match="is a file, not a folder"):
        stages.train(nowhere, tmp_path / "file" / "run")


def test_the_time_of_an_interrupted_part_counts(finished, recipe_file, tmp_path):
    class CtrlC(StopAt):
        def advance(self, done, note=""):
            if self.present == "Training" and done == 5:
                raise KeyboardInterrupt

    folder, recipe = RunFolder(tmp_path / "run"), stages.load_recipe(recipe_file)
    with pytest.raises(KeyboardInterrupt):
        stages.train(recipe, folder, progress=CtrlC("", 0))
    before = json.loads(folder.metrics.read_text())["seconds"]
    assert before > 0
    stages.train(recipe, folder, resume=True)
    assert json.loads(folder.metrics.read_text())["seconds"] > before


def test_damaged_metrics_are_refused_before_the_training(recipe_file, tmp_path):
    folder, recipe = RunFolder(tmp_path), stages.load_recipe(recipe_file)
    folder.begin(recipe, resume=False)
    folder.metrics.write_text('{"stage_seconds": {"train": "long"}}')
    with pytest.raises(FileFormatError, match="does not hold metrics"):
        stages.train(recipe, folder, resume=True)
    assert not folder.checkpoint.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("delay", None),
        ("delay", "x"),
        ("weight_shifts", [0, "1", 0]),
        ("layers", [{"path": "1_LIFTorch"}]),
        ("shift_curve", {}),
        ("resources", [{"name": 3, "used": 1, "limit": 2}]),
        ("notes", None),
    ],
)
def test_a_damaged_deployment_file_names_the_place(finished, tmp_path, key, value):
    whole, _ = finished
    for path in whole.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    folder = RunFolder(tmp_path)
    table = json.loads(folder.deployment.read_text())
    folder.deployment.write_text(json.dumps(table | {key: value}))
    with pytest.raises(FileFormatError, match=f"damaged at {key}"):
        stages.simulate(folder)


def test_csv_files_in_a_subfolder_for_each_class_run_as_they_are(recordings, tmp_path):
    for path in recordings.iterdir():
        label, take = path.stem.split("_")
        (tmp_path / "takes" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "takes" / label / f"{take}.csv").write_text("x,y,z\n" + path.read_text())
    settings = {"data.path": str(tmp_path / "takes"), "training.epochs": 10, "finetuning.epochs": 2}
    stages.train(stages.load_recipe("sensors", settings), tmp_path / "run")
    trained = stages.finetune(tmp_path / "run")
    assert trained.prepared.classes == ("tap", "turn")
    assert len(trained.prepared.test_labels) == 4
    assert trained.accuracy("chip_exact") >= 0.75


def test_a_damaged_checkpoint_says_how_to_begin_anew(finished, recipe_file, tmp_path):
    whole, _ = finished
    folder, recipe = RunFolder(tmp_path), stages.load_recipe(recipe_file)
    folder.begin(recipe, resume=False)
    folder.checkpoint.write_bytes(whole.checkpoint.read_bytes()[:2000])
    with pytest.raises(FileFormatError, match=r"Remove .*checkpoint\.safetensors to begin"):
        stages.train(recipe, folder, resume=True)
    folder.checkpoint.unlink()
    stages.train(recipe, folder, resume=True)
    assert read_all(folder, WEIGHTS[:1]) == read_all(whole, WEIGHTS[:1])
