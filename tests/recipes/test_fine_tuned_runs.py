"""Fine-tuning of runs: both methods, other bits and chips, and what earlier releases left."""

import json
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import load_float
from snnkit.recipes.validation import ExactnessError
from snnkit.training.checkpoint import Checkpoint
from snnkit.training.trainer import Epoch
from snnkit.utilities.errors import ConfigurationError, FileFormatError


def read_all(folder, names):
    return {name: (folder.path / name).read_bytes() for name in names}


def test_the_classic_route_is_compared_in_the_nets_time(finished, classic):
    folder, data = classic
    assert [e.stage for e in data.history] == ["float"] * 12 + ["qat"] * 3
    assert data.accuracy.keys() == {"float", "qat", "chip"}
    assert data.accuracy["float"] == finished[1].accuracy["float"]
    assert data.sample.delay == 1
    assert (data.sample.net_hidden.shape, data.sample.chip_hidden.shape) == ((16, 12), (16, 12))
    assert (data.sample.net_output.shape, data.sample.chip_output.shape) == ((16, 4), (17, 4))
    assert data.exactness is None
    assert "exactness" not in json.loads(folder.metrics.read_text())
    assert (folder.path / "net-qat.safetensors").is_file()


@pytest.mark.parametrize("method", ["chip-exact", "qat"])
def test_without_epochs_of_fine_tuning_the_float_net_is_deployed(finished, tmp_path, method):
    settings = {"finetuning.epochs": 0, "finetuning.method": method}
    folder = stages.fork(finished[0], tmp_path / "run", settings)
    assert {e.stage for e in stages.finetune(folder).history} == {"float"}
    float_net = Checkpoint.load(folder.float_net).part("parameter")
    tuned = Checkpoint.load(folder.tuned_net(method)).part("parameter")
    bare = {name.replace("._mod", "").removeprefix("net."): tensor for name, tensor in tuned.items()}
    assert bare.keys() == float_net.keys()
    assert all(np.array_equal(bare[name], float_net[name]) for name in float_net)
    assert stages.deploy(folder).specification.violations() == ()


def test_a_fork_keeps_the_float_net_and_says_what_differs(finished, tmp_path):
    whole, data = finished
    folder = stages.fork(whole, tmp_path / "narrow", {"network.weight_bits": 3, "chip": "a3"})
    assert read_all(folder, ["net-float.safetensors"]) == read_all(whole, ["net-float.safetensors"])
    trained = stages.finetune(folder)
    assert trained.accuracy("float") == data.accuracy["float"]
    specification = stages.deploy(folder).specification
    assert max(np.abs(getattr(specification, f"weights_{name}")).max() for name in ("in", "rec", "out")) == 3
    assert stages.simulate(folder).accuracy == trained.accuracy("chip_exact")
    assert stages.validate(folder).exactness.exact
    named = stages.fork(whole, None, {"finetuning.epochs": 1})
    assert named.path.parent == whole.path.parent
    with pytest.raises(ConfigurationError, match=r"training\.epochs would make it another float net"):
        stages.fork(whole, tmp_path / "other", {"training.epochs": 3})
    with pytest.raises(ConfigurationError, match="holds a run already"):
        stages.fork(whole, folder, {})


def test_fine_tuning_again_needs_resume(finished, recipe_file, tmp_path):
    finished_folder, data = finished
    whole = RunFolder(shutil.copytree(finished_folder.path, tmp_path / "whole"))
    with pytest.raises(ConfigurationError, match="Continue it with --resume"):
        stages.finetune(whole)
    assert stages.finetune(whole, resume=True).history == data_history(data)
    early = RunFolder(tmp_path / "early")
    early.begin(stages.load_recipe(recipe_file), resume=False)
    with pytest.raises(ConfigurationError, match="snnkit train --resume"):
        stages.finetune(early)
    with pytest.raises(ConfigurationError, match="holds no trained net"):
        stages.fork(early, tmp_path / "fork", {})


def data_history(data):
    return tuple(Epoch(e.stage, e.epoch, e.loss, e.train_accuracy) for e in data.history)


def test_a_program_that_is_not_the_trained_nets_is_an_error(finished, tmp_path):
    whole, _ = finished
    other = stages.fork(whole, tmp_path / "other", {"finetuning.epochs": 1})
    stages.finetune(other)
    for name in ("specification.json", "specification.safetensors", "deployment.json", "vectors.safetensors"):
        (other.path / name).write_bytes((whole.path / name).read_bytes())
    with pytest.raises(ExactnessError, match=r"differ in \d+ of \d+ events"):
        stages.validate(other)


def test_a_run_of_an_earlier_release_is_read_as_it_was(classic, tmp_path):
    whole, data = classic
    for path in whole.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    folder = RunFolder(tmp_path)
    text = folder.recipe_file.read_text()
    text = text.replace('[finetuning]\nmethod = "qat"', "[qat]").replace("weight_bits = 8\n", "")
    folder.recipe_file.write_text(text)
    saved = Checkpoint.load(folder.tuned_net("qat"))
    kept = {name: t for name, t in saved.tensors.items() if not name.startswith("peak.")}
    Checkpoint(kept, {"history": saved.about["history"]}).save(folder.tuned_net("qat"))
    assert folder.recipe() == whole.recipe()
    assert stages.finetune(folder, resume=True).accuracy("qat") == data.accuracy["qat"]
    stages.deploy(folder)
    assert read_all(folder, ["specification.safetensors"]) == read_all(whole, ["specification.safetensors"])


def test_every_layer_of_a_classic_sample_is_in_the_nets_time(recipe_file, tmp_path):
    settings = {"network.hidden": [8, 6], "training.epochs": 6}
    settings |= {"finetuning.epochs": 0, "finetuning.method": "qat"}
    data = stages.run(stages.load_recipe(recipe_file, settings), tmp_path / "run")
    sample = data.sample
    assert sample.delay == 2
    assert sample.net_hidden.shape == sample.chip_hidden.shape == (16, 14)
    second = slice(8, 14)
    assert sample.net_hidden[:, second].any()
    same = (sample.net_hidden == sample.chip_hidden)[:, second].mean()
    shifted = (sample.net_hidden[:-1] == sample.chip_hidden[1:])[:, second].mean()
    assert same > shifted


def test_a_net_trained_elsewhere_is_taken_up(finished, recipe_file, tmp_path):
    whole, data = finished
    load_float(whole).net.save(tmp_path / "net.json")
    recipe = stages.load_recipe(recipe_file)
    folder = stages.adopt(recipe, tmp_path / "net.json", tmp_path / "run")
    trained = stages.finetune(folder)
    assert {e.stage for e in trained.history} == {"chip_exact"}
    assert trained.accuracy("float") == data.accuracy["float"]
    names = ["net-chip-exact.safetensors"]
    parts = [Checkpoint.load(f.path / names[0]).part("parameter") for f in (folder, whole)]
    assert all(np.array_equal(parts[0][name], parts[1][name]) for name in parts[1])
    other = stages.load_recipe(recipe_file, {"network.hidden": [7]})
    with pytest.raises(FileFormatError, match="does not fit this module"):
        stages.adopt(other, tmp_path / "net.json", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def load_benchmark():
    path = Path(__file__).parents[2] / "benchmarks" / "accuracy.py"
    spec = spec_from_file_location("accuracy_benchmark", path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_compares_the_routes_and_goes_on_where_it_stopped(
    recordings, recipe_file, tmp_path, capsys
):
    text = recipe_file.read_text().replace("epochs = 12", "epochs = 3").replace("epochs = 3", "epochs = 2")
    (tmp_path / "short.toml").write_text(text)
    asked = ["--recipes", str(tmp_path / "short.toml"), "--seeds", "1", "--bits", "8", "3"]
    asked += ["--keep", str(tmp_path / "runs"), "--json", str(tmp_path / "found.json")]
    benchmark = load_benchmark()
    benchmark.main(asked)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(r["bits"], r["route"]) for r in found] == [
        (bits, route) for bits in (8, 3) for route in ("rounded", "classic", "chip-exact")
    ]
    assert all(r["differing"] == (0 if r["route"] == "chip-exact" else None) for r in found)
    assert all(r["trained"] == r["chip"] for r in found if r["route"] == "chip-exact")
    told = capsys.readouterr().out
    assert "| bits | float net | float, rounded | classic route | chip-exact | differing |" in told
    assert f"| 3 | **{found[3]['float_net']:.1%}**" in told
    benchmark.main(asked)
    again = json.loads((tmp_path / "found.json").read_text())
    assert [r["chip"] for r in again] == [r["chip"] for r in found]
