"""Runs whose program comes from a search over the orbit of the float net."""

import json

import numpy as np
import pytest
import torch
from command_line import call_here

from snnkit.recipes import stages
from snnkit.recipes.finetune_stage import load_trained
from snnkit.recipes.run_folder import RunFolder
from snnkit.utilities.errors import ConfigurationError


@pytest.fixture(scope="module")
def searched(finished, tmp_path_factory):
    """The float net of another run, deployed by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "orbit"
    ended = call_here("deploy", finished[0].path, "--method", "orbit", "--out", folder, "--json")
    return RunFolder(folder), ended


def test_the_command_begins_a_run_of_the_float_net(searched, finished):
    folder, ended = searched
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["folder"] == str(folder.path)
    recipe = folder.recipe()
    assert (recipe.deploy.method, recipe.finetuning.method, recipe.finetuning.epochs) == ("orbit", "qat", 0)
    assert folder.float_net.read_bytes() == finished[0].float_net.read_bytes()
    found = json.loads(folder.deployment.read_text())["orbit"]
    assert found["after"]["hidden_forced"] <= found["before"]["hidden_forced"]
    assert found["certificate"]["differing"] == 0
    assert sorted(found["scales"]) == [layer["path"] for layer in found_layers(folder)]


def found_layers(folder):
    return sorted(json.loads(folder.deployment.read_text())["layers"], key=lambda layer: layer["path"])


def test_the_run_goes_on_to_its_report_with_the_float_net(searched):
    folder, _ = searched
    trained = load_trained(folder)
    events = torch.from_numpy(trained.prepared.test_events).float()
    with torch.no_grad():
        np.testing.assert_array_equal(trained.float_net(events)[0], trained.tuned_net(events)[0])
    assert stages.simulate(folder).accuracy >= 0.5
    assert stages.validate(folder).exactness is None
    assert stages.report(folder).is_file()


def test_deploying_again_needs_no_new_run(searched):
    folder, _ = searched
    before = folder.specification.read_bytes()
    assert call_here("deploy", folder.path, "--method", "orbit").returncode == 0
    assert folder.specification.read_bytes() == before


def test_what_fine_tuning_fixes_is_not_searched(finished, tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"fine-tuning .*chip-exact.* epochs = 3.* finetuning.epochs = 0"
    ):
        stages.fork(finished[0], tmp_path / "run", {"deploy.method": "orbit"})
    with pytest.raises(ConfigurationError, match="orbits"):
        stages.fork(finished[0], tmp_path / "run", {"deploy.method": "orbits"})
    assert call_here("deploy", finished[0].path, "--out", tmp_path / "run").returncode == 1
