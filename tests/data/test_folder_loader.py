import numpy as np
import pytest

from snnkit.data import FolderLayout, load_folder
from snnkit.utilities.errors import ConfigurationError, DataError

PATTERN = "{label}_{speaker}_{take}.csv"


def write_recordings(root, names, value=1.0):
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value * i},0\n{value * i},1\n")


@pytest.fixture
def takes(tmp_path):
    names = [f"{label}_{who}_{take}.csv" for label in "ab" for who in ("x", "y") for take in (1, 2, 10)]
    write_recordings(tmp_path, names)
    return tmp_path


def test_named_values_of_a_field_are_tested(takes):
    split = load_folder(takes, FolderLayout(PATTERN, "take", ("10",)))
    assert split.train.classes == ("a", "b")
    assert sorted(split.test.names) == ["a_x_10.csv", "a_y_10.csv", "b_x_10.csv", "b_y_10.csv"]
    assert len(split.train) == 8
    assert all(
        split.train.classes[k] == n[0] for k, n in zip(split.train.labels, split.train.names, strict=True)
    )


def test_a_speaker_can_be_held_out(takes):
    split = load_folder(takes, FolderLayout(PATTERN, "speaker", ("y",)))
    assert {name.split("_")[1] for name in split.test.names} == {"y"}
    assert {name.split("_")[1] for name in split.train.names} == {"x"}


def test_a_fraction_of_a_fields_values_is_drawn_from_the_seed(takes):
    layout = FolderLayout(PATTERN, "take", test_fraction=0.34)
    first, again = (load_folder(takes, layout, seed=3).test.names for _ in range(2))
    assert first == again
    assert len({name.split("_")[2] for name in first}) == 1


def test_a_random_fraction_is_taken_of_every_class(takes):
    split = load_folder(takes, FolderLayout(PATTERN, test_fraction=0.5), seed=0)
    assert np.bincount(split.test.labels).tolist() == [3, 3]
    assert set(split.train.names).isdisjoint(split.test.names)


def test_subfolders_name_classes_without_a_pattern(tmp_path):
    write_recordings(tmp_path, [f"{label}/{i}.csv" for label in ("2", "10") for i in range(4)])
    split = load_folder(tmp_path, FolderLayout(test_fraction=0.25, sample_rate=50.0))
    assert split.train.classes == ("2", "10")
    assert (len(split.train), len(split.test), split.train.sample_rate) == (6, 2, 50.0)


def test_other_files_are_left_alone(takes):
    (takes / "README.md").write_text("hello")
    assert len(load_folder(takes, FolderLayout(PATTERN, "take", ("1",))).test) == 4


def test_names_that_do_not_match_are_listed(takes):
    write_recordings(takes, ["odd.csv"])
    with pytest.raises(DataError, match=r"1 of 13 recordings .* do not match .*odd\.csv"):
        load_folder(takes, FolderLayout(PATTERN))


def test_recordings_without_a_subfolder_are_listed(tmp_path):
    write_recordings(tmp_path, ["loose.csv"])
    with pytest.raises(DataError, match=r"have no label: loose\.csv"):
        load_folder(tmp_path, FolderLayout())


def test_values_that_no_recording_has_are_named(takes):
    with pytest.raises(DataError, match="take = 99"):
        load_folder(takes, FolderLayout(PATTERN, "take", ("1", "99")))


def test_a_split_that_leaves_a_class_untrained_is_refused(takes):
    with pytest.raises(DataError, match="No training recording of class b"):
        load_folder(takes, FolderLayout(PATTERN, "label", ("b",)))


@pytest.mark.parametrize("make", [lambda p: p / "nowhere", lambda p: p])
def test_no_folder_and_no_recordings_say_so(tmp_path, make):
    with pytest.raises(DataError, match=r"not a directory|holds no recordings"):
        load_folder(make(tmp_path), FolderLayout())


def test_all_contradictions_of_a_layout_are_listed():
    with pytest.raises(ConfigurationError) as caught:
        FolderLayout(pattern="{speaker}_{take}.wav", split_by="tak", test_fraction=1.5, sample_rate=-1)
    message = str(caught.value)
    for words in ("lacks the field {label}", "Did you mean 'take'", "test_fraction", "sample_rate"):
        assert words in message


def test_values_without_a_field_are_refused():
    with pytest.raises(ConfigurationError, match="test_values needs split_by"):
        FolderLayout(test_values=("1",))


def test_a_subfolder_without_recordings_is_named(tmp_path):
    write_recordings(tmp_path, ["walk/1.csv", "walk/2.csv", "run/1.csv", "run/2.csv"])
    (tmp_path / "rest").mkdir()
    (tmp_path / "rest" / "1.mp3").write_text("not readable")
    (tmp_path / ".cache").mkdir()
    with pytest.raises(DataError, match=r"subfolders without .*: rest\. Each"):
        load_folder(tmp_path, FolderLayout())


def test_one_class_alone_is_refused(tmp_path):
    write_recordings(tmp_path, ["walk/1.csv", "walk/2.csv", "walk/3.csv"])
    with pytest.raises(DataError, match=r"of one class \(walk\)"):
        load_folder(tmp_path, FolderLayout())
