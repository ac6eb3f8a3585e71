"""What the recipes reach on real recordings, on the chip. Accuracy over seeds is in the documentation."""

import os
from pathlib import Path

import pytest

from snnkit.recipes import stages
from snnkit.recipes.prepare import prepare

SPOKEN_DIGITS = Path(
    os.environ.get("SNNKIT_SPOKEN_DIGITS", Path(__file__).parents[3] / "shared" / "data" / "spoken-digits")
)


def chip_accuracy(recipe, folder):
    stages.train(recipe, folder)
    trained = stages.finetune(folder)
    stages.deploy(folder)
    simulation = stages.simulate(folder)
    return trained.accuracy("float"), simulation.accuracy


@pytest.mark.slow
def test_motions_are_told_apart_on_the_chip(tmp_path):
    pytest.importorskip("aeon", reason="the data extra is not installed")
    float_net, chip = chip_accuracy(stages.load_recipe("basic-motions", {"seed": 3}), tmp_path / "run")
    assert float_net >= 0.975
    assert chip >= 0.975


@pytest.mark.slow
def test_speakers_are_told_apart_on_the_chip_after_a_short_training(tmp_path):
    pytest.importorskip("aeon", reason="the data extra is not installed")
    recipe = stages.load_recipe("japanese-vowels", {"training.epochs": 60, "finetuning.epochs": 40})
    float_net, chip = chip_accuracy(recipe, tmp_path / "run")
    assert chip >= 0.94
    assert abs(float_net - chip) <= 0.02


@pytest.mark.slow
def test_spoken_digits_are_told_apart_on_the_chip_after_a_short_training(tmp_path):
    if not SPOKEN_DIGITS.is_dir():
        pytest.skip(f"{SPOKEN_DIGITS} is absent; SNNKIT_SPOKEN_DIGITS names the folder of recordings")
    recipe = stages.load_recipe(
        "folder", {"data.path": str(SPOKEN_DIGITS), "training.epochs": 6, "finetuning.epochs": 4}
    )
    assert len(prepare(recipe).split.test) == 250
    float_net, chip = chip_accuracy(recipe, tmp_path / "run")
    assert chip >= 0.85
    assert abs(float_net - chip) <= 0.05
