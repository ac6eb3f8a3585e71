"""Made-up recordings, and finished runs on them, for all tests of the pipeline."""

import numpy as np
import pytest

from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder

RECIPE = """
name = "gestures"
title = "Made-up gestures"
chip = "imu"
[data]
source = "folder"
path = "{path}"
pattern = "{{label}}_{{take}}.csv"
split_by = "take"
test_values = ["8", "9"]
[encoding]
kind = "graded"
steps = 16
[network]
hidden = [12]
outputs_per_class = 2
dt = 0.01
[training]
epochs = 12
batch_size = 8
dropout = 0.1
checkpoint_seconds = 0.0
[finetuning]
epochs = 3
"""


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Two gestures: one channel moves early, or the other moves late."""
    root = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(0)
    for take in range(10):
        for label in ("tap", "turn"):
            signal = generator.normal(0, 0.2, (20 + take, 3))
            half = slice(0, 10) if label == "tap" else slice(10, None)
            signal[half, int(label == "turn")] += 4.0
            np.savetxt(root / f"{label}_{take}.csv", signal, delimiter=",")
    return root


@pytest.fixture(scope="session")
def recipe_file(recordings, tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "gestures.toml"
    path.write_text(RECIPE.format(path=recordings))
    return path


@pytest.fixture(scope="session")
def finished(recipe_file, tmp_path_factory):
    pytest.importorskip("matplotlib", reason="the report extra is not installed")
    pytest.importorskip("jinja2", reason="the report extra is not installed")
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "whole")
    data = stages.run(stages.load_recipe(recipe_file), folder)
    return folder, data


@pytest.fixture(scope="session")
def classic(recipe_file, finished, tmp_path_factory):
    """The same float net, fine-tuned by the classic route."""
    folder = stages.fork(
        finished[0], tmp_path_factory.mktemp("runs") / "classic", {"finetuning.method": "qat"}
    )
    return folder, stages.run(folder.recipe(), folder, resume=True)
