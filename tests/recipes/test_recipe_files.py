import math

import pytest

from snnkit.recipes.recipe import Recipe
from snnkit.recipes.schema import RecipeError
from snnkit.recipes.stages import load_recipe, recipe_names
from snnkit.recipes.toml import read_recipe, to_toml
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError

MINIMAL = """
name = "mine"
title = "Mine"
chip = "imu"
[data]
source = "folder"
path = "somewhere"
[encoding]
kind = "graded"
steps = 20
[network]
hidden = [8]
"""


def test_the_recipes_are_there_and_valid():
    assert recipe_names() == ("basic-motions", "folder", "japanese-vowels", "sensors")
    chips = {name: load_recipe(name).chip for name in recipe_names()}
    assert chips == {"basic-motions": "imu", "folder": "a3", "japanese-vowels": "a3", "sensors": "imu"}


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_reads_back_equal(name):
    recipe = load_recipe(name, {"data.path": 'a "quoted" \\ path', "seed": 7})
    again = read_recipe(to_toml(recipe.as_table()), "again")
    assert again == recipe
    assert isinstance(again, Recipe)


@pytest.mark.parametrize("name", recipe_names())
def test_bundled_recipes_stay_within_their_chips_windows(name):
    recipe = load_recipe(name)
    chip = get_chip(recipe.chip)
    assert max(recipe.network.hidden) <= chip.max_input_expansion
    assert recipe.network.hidden[-1] <= chip.max_output_expansion


def test_overrides_replace_and_none_leaves():
    recipe = load_recipe(
        "folder", {"chip": "SYNS61201", "seed": 5, "data.path": "x", "training.epochs": None}
    )
    assert (recipe.chip, recipe.seed, recipe.data.path) == ("a2", 5, "x")
    assert recipe.training.epochs == load_recipe("folder").training.epochs


def test_a_file_of_ones_own_works(tmp_path):
    (tmp_path / "mine.toml").write_text(MINIMAL)
    recipe = load_recipe(tmp_path / "mine.toml")
    assert recipe.network.hidden == (8,)
    assert recipe.training.batch_size == 64


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigurationError, match="Did you mean 'basic-motions'"):
        load_recipe("basic-motion")


def problems(content=MINIMAL, **overrides):
    with pytest.raises(RecipeError) as caught:
        read_recipe(content, "Recipe mine", {key.replace("__", "."): v for key, v in overrides.items()})
    return caught.value.problems


def test_every_problem_is_listed_at_once():
    found = problems(
        chp="imu",
        chip="imi",
        data__source="foldr",
        training__epoch=3,
        training__epochs=0,
        encoding__stps=9,
        network__hidden=[8, "many"],
        network__dt=0,
        seed=-1,
    )
    expected = [
        "Unknown key 'chp'. Did you mean 'chip'?",
        "Unknown value of chip 'imi'. Did you mean 'imu'?",
        "Unknown value of data.source 'foldr'. Did you mean 'folder'?",
        "Unknown key 'training.epoch'. Did you mean 'training.epochs'?",
        "training.epochs is 0; it must be at least 1.",
        "Unknown key 'encoding.stps'. Did you mean 'encoding.steps'?",
        "network.hidden[1] must be a whole number, not 'many'.",
        "network.dt is 0.0 s; it must be more than 0.0 s.",
        "seed is -1; it must be at least 0.",
    ]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ({"training__dropout": 0.95}, "training.dropout is 0.95; it must be at most 0.9."),
        ({"training__learning_rate": math.nan}, "training.learning_rate must be a finite number, not nan."),
        ({"training__epochs": 2.0}, "training.epochs must be a whole number, not 2.0."),
        ({"training__epochs": True}, "training.epochs must be a whole number, not True."),
        ({"network__recurrent": 1}, "network.recurrent must be true or false, not 1."),
        ({"network__hidden": 8}, "network.hidden must be a list, not 8."),
        ({"network": 3}, "network must be a table, not 3."),
        ({"encoding": 3}, "encoding must be a table with a key kind: graded, filter-bank, delta."),
        ({"encoding__kind": "grade"}, "Unknown encoding.kind 'grade'. Did you mean 'graded'?"),
        ({"encoding__steps": 1}, "encoding: graded encoding: steps is 1; it must be at least 2."),
        ({"network__hidden": []}, "network: hidden must hold at least one number."),
        ({"data__split_by": "take"}, "data: Folder layout: Unknown field in split_by 'take'. Known: label."),
        ({"name": "a/b"}, "name is 'a/b'; it must be a word without slashes."),
    ],
)
def test_one_problem_is_said_in_words(override, problem):
    assert problems(**override) == (problem,)


def test_what_is_missing_is_named():
    assert problems("name = 'x'") == (
        "title is missing.",
        "chip is missing.",
        "data is missing.",
        "encoding is missing.",
        "network is missing.",
    )


def test_broken_toml_is_said():
    (problem,) = problems("name = ")
    assert "not valid TOML" in problem


def test_an_override_below_a_value_is_refused():
    with pytest.raises(RecipeError, match="name is not a table"):
        read_recipe(MINIMAL, "Recipe mine", {"name.first": 1})
