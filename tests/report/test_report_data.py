import json
import math
from dataclasses import replace

import numpy as np
import pytest
from report_examples import example_report

from snnkit.report import EpochRecord, Histogram, ReportData, SampleTrace
from snnkit.utilities.errors import FileFormatError, ShapeError
from snnkit.utilities.files import read_arrays, write_arrays


@pytest.fixture
def saved(tmp_path):
    example_report().save(tmp_path)
    return tmp_path


def change_json(folder, change):
    path = folder / "report-data.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_load_returns_what_was_saved(tmp_path):
    data = example_report()
    path = data.save(tmp_path)
    assert path == tmp_path / "report-data.json"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report-data.json", "report-data.safetensors"]
    assert ReportData.load(tmp_path) == data


def test_equality_sees_every_array_and_every_number(tmp_path):
    data = example_report()
    labels = data.labels.copy()
    labels[0] = 3
    assert replace(data, labels=labels) != data
    assert replace(data, seconds=1.0) != data
    events = data.sample.chip_hidden.copy()
    events[5, 5] += 1
    assert replace(data, sample=replace(data.sample, chip_hidden=events)) != data


def test_equal_data_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        example_report().save(tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_array_files_with_much_metadata_are_the_same_in_every_process(tmp_path):
    metadata = {f"key {i}": f"värde {i}" for i in range(20)}
    arrays = {"b": np.arange(3), "a": np.ones((2, 2), dtype=np.int8), "empty": np.zeros((0, 4))}
    first = write_arrays(tmp_path / "first", arrays, metadata).read_bytes()
    for _ in range(5):
        assert (
            write_arrays(tmp_path / "again", arrays, dict(reversed(metadata.items()))).read_bytes() == first
        )
    found, told = read_arrays(tmp_path / "first")
    assert told == metadata
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    assert (8 + int.from_bytes(first[:8], "little")) % 8 == 0


def test_optional_parts_may_be_missing(tmp_path):
    data = replace(
        example_report(), divergence=None, history=(), shift_curve=(), shift_chosen=None, versions={}
    )
    data.save(tmp_path)
    assert ReportData.load(tmp_path) == data


def test_a_loss_that_is_not_a_number_survives_the_file(tmp_path):
    history = (EpochRecord("float", 0, math.nan, 0.5), EpochRecord("float", 1, math.inf, 0.5))
    replace(example_report(), history=history).save(tmp_path)
    loaded = ReportData.load(tmp_path).history
    assert math.isnan(loaded[0].loss)
    assert loaded[1].loss == math.inf


def test_arrays_cannot_be_changed_afterwards():
    data = example_report()
    for array in (data.labels, data.predictions["chip"], data.sample.input, data.weight_histograms[0].counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "is not a file of"),
        (lambda d: d.update(version=99), "has version 99; this release reads version 2"),
        (lambda d: d["content"].update(sedd=1), "Did you mean 'seed'"),
        (lambda d: d["content"].pop("timing"), "lacks timing"),
        (lambda d: d["content"].update(seed="three"), "report-data.seed has an impossible value 'three'"),
        (lambda d: d["content"].update(seed=True), "impossible value True"),
        (lambda d: d["content"].update(labels="elsewhere"), "array report-data.labels is missing"),
        (lambda d: d["content"].update(classes=["one"]), "names classes outside"),
        (lambda d: d.update(arrays="0" * 64), "does not belong to"),
    ],
)
def test_wrong_content_is_refused_and_named(saved, change, message):
    change_json(saved, change)
    with pytest.raises(FileFormatError, match=message):
        ReportData.load(saved)


def test_damaged_files_are_refused(saved):
    arrays = saved / "report-data.safetensors"
    content = arrays.read_bytes()
    arrays.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FileFormatError, match="does not belong to"):
        ReportData.load(saved)
    arrays.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        ReportData.load(saved)
    (saved / "report-data.json").write_text("{")
    with pytest.raises(FileFormatError, match="not a readable JSON file"):
        ReportData.load(saved)
    with pytest.raises(FileFormatError, match="does not exist"):
        ReportData.load(saved / "nowhere")


def test_shapes_are_checked_when_the_data_are_made():
    zeros = np.zeros
    with pytest.raises(ShapeError, match=r"chip_output must have shape \(time, neurons\)"):
        SampleTrace(0, 0, zeros((3, 2)), zeros((3, 2)), zeros((3, 2)), zeros((3, 2)), zeros(3))
    with pytest.raises(ShapeError, match="net has 2 hidden neurons and the chip 4"):
        SampleTrace(0, 0, zeros((3, 2)), zeros((3, 2)), zeros((3, 4)), zeros((3, 2)), zeros((3, 2)))
    with pytest.raises(ShapeError, match="one more edge than bins"):
        Histogram("w", [0, 1], [1, 2])
    with pytest.raises(ShapeError, match="edges must rise"):
        Histogram("w", [0, 1, 1], [1, 2])
    with pytest.raises(ShapeError, match=r"predictions\['chip'\] must have 40 entries"):
        replace(example_report(), predictions={"chip": [0, 1]})
