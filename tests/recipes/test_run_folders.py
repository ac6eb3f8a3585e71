import pytest

from snnkit.recipes.metrics_file import read_metrics, record_seconds, update_metrics
from snnkit.recipes.run_folder import RunFolder, new_run_folder
from snnkit.recipes.stages import load_recipe
from snnkit.utilities.errors import ConfigurationError, FileFormatError

RECIPE = load_recipe("basic-motions")


def test_a_run_keeps_its_resolved_recipe(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin(RECIPE, resume=False)
    assert folder.recipe() == RECIPE
    assert "learning_rate" in folder.recipe_file.read_text()


def test_a_second_run_needs_resume_and_the_same_recipe(tmp_path):
    folder = RunFolder(tmp_path)
    folder.begin(RECIPE, resume=False)
    with pytest.raises(ConfigurationError, match="--resume"):
        folder.begin(RECIPE, resume=False)
    folder.begin(RECIPE, resume=True)
    with pytest.raises(ConfigurationError, match="seed is 0 there and 4 now"):
        folder.begin(load_recipe("basic-motions", {"seed": 4}), resume=True)
    with pytest.raises(ConfigurationError, match="name is 'basic-motions' there and 'folder' now"):
        folder.begin(load_recipe("folder"), resume=True)


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigurationError, match="holds other files"):
        RunFolder(tmp_path).begin(RECIPE, resume=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError("Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ConfigurationError, match=r"cannot be written to \(Permission denied\)"):
        RunFolder(tmp_path / "a" / "run").refuse_unless_free(RECIPE, resume=False)


def test_new_folders_are_numbered(tmp_path):
    first = new_run_folder(RECIPE, tmp_path)
    assert first.path.name == "basic-motions-imu-seed0"
    first.begin(RECIPE, resume=False)
    assert new_run_folder(RECIPE, tmp_path).path.name == "basic-motions-imu-seed0-2"


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="is not a run folder"):
        RunFolder(tmp_path).recipe()


def test_metrics_add_up(tmp_path):
    folder = RunFolder(tmp_path)
    update_metrics(folder, RECIPE, accuracy={"float": 0.5})
    update_metrics(folder, RECIPE, accuracy={"chip": 0.25}, seconds=3.5)
    expected = {"recipe": "basic-motions", "chip": "imu", "seed": 0, "seconds": 3.5}
    assert read_metrics(folder) == expected | {"accuracy": {"float": 0.5, "chip": 0.25}}


def test_damaged_metrics_are_refused(tmp_path):
    (tmp_path / "metrics.json").write_text("[1]")
    with pytest.raises(FileFormatError, match="does not hold metrics"):
        read_metrics(RunFolder(tmp_path))


def test_a_recipe_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(FileFormatError, match="not a readable recipe"):
        RunFolder(tmp_path).recipe()
    with pytest.raises(FileFormatError, match="not a readable recipe"):
        load_recipe(tmp_path / "recipe.toml")


def test_times_of_stages_are_replaced_or_added_to(tmp_path):
    folder = RunFolder(tmp_path)
    assert record_seconds(folder, "train", 2.0) == 2.0
    assert record_seconds(folder, "train", 3.0, more=True) == 5.0
    assert record_seconds(folder, "deploy", 1.0) == 6.0
    assert record_seconds(folder, "deploy", 0.5) == 5.5
    assert read_metrics(folder)["stage_seconds"] == {"train": 5.0, "deploy": 0.5}
