"""Specification files: exact round trips, and refusal of everything that is not one."""

import contextlib
import json
import pickle
import shutil
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from strategies import specifications

from snnkit.hw.xylo.specification.core import Population, Specification
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays


@pytest.fixture
def spec():
    rng = np.random.default_rng(1)
    return Specification.create(
        chip="a3",
        weights_in=rng.integers(-128, 128, (3, 4, 2)),
        weights_rec=rng.integers(-128, 128, (5, 5, 2)),
        weights_out=rng.integers(-128, 128, (2, 2)),
        threshold=[1, 2, 3, 400, 32767],
        bias=[-128, 0, 1, 2, 127],
        aliases=[[4], [], [0], [], []],
        weight_shift_rec=3,
        dt=1.024e-3,
        populations=(Population("0_LIFTorch", "hidden", 0, 5), Population("1_LIFTorch", "output", 0, 2)),
    )


@pytest.fixture
def saved(spec, tmp_path):
    return spec.save(tmp_path / "net")


def rewrite(path, **changes):
    header = json.loads(path.read_text())
    header.update(changes)
    path.write_text(json.dumps({k: v for k, v in header.items() if v is not None}))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specifications("a2"))
def test_any_specification_comes_back_equal(tmp_path, spec):
    assert Specification.load(spec.save(tmp_path / "net.json")) == spec


@pytest.mark.parametrize("name", ["net", "net.json", "net.safetensors"])
def test_any_of_the_pairs_names_will_do(spec, tmp_path, name):
    assert spec.save(tmp_path / name) == tmp_path / "net.json"
    assert Specification.load(tmp_path / name) == spec
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_a_dot_in_the_name_is_not_a_suffix(spec, tmp_path):
    assert spec.save(tmp_path / "net.v1.5").name == "net.v1.5.json"
    assert Specification.load(tmp_path / "net.v1.5") == spec


def test_files_are_the_same_bytes_each_time(spec, saved, tmp_path):
    again = spec.save(tmp_path / "again")
    assert again.read_bytes() == saved.read_bytes()
    assert again.with_suffix(".safetensors").read_bytes() == saved.with_suffix(".safetensors").read_bytes()


@pytest.mark.parametrize("missing", [".json", ".safetensors"])
def test_a_missing_half_is_told(saved, missing):
    saved.with_suffix(missing).unlink()
    with pytest.raises(FileFormatError, match=f"net{missing} does not exist"):
        Specification.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "pickle"}, "not a snnkit specification"),
        ({"version": 2}, "version 2; this release reads version 1"),
        ({"version": None}, "version None"),
        ({"version": True}, "not of type int"),
        ({"chip": "imo"}, "Did you mean 'imu'"),
        ({"chip": 3}, "not of type str"),
        ({"chip": None}, "key 'chip' is missing"),
        ({"weight_shift": 0}, "Unknown key 'weight_shift'"),
        ({"dt": float("nan")}, "dt = nan"),
        ({"dt": "1e-3"}, "not of type int or float"),
        ({"dt": 0.002}, "do not match the checksum"),
        ({"sha256": "0" * 64}, "do not match the checksum"),
        ({"weight_shift_in": 1}, "do not match the checksum"),
        ({"weight_shift_in": 99}, "outside 0..15"),
        ({"weight_shift_in": 0.0}, "not of type int"),
        ({"hidden_neurons": 4}, "aliases name hidden neuron 4|aliases has 4 entries"),
        ({"hidden_neurons": 10**15}, "is impossible"),
        ({"hidden_neurons": -1}, "aliases name hidden neuron"),
        ({"aliases": [{"source": 0, "targets": [9]}]}, "hidden neuron 9"),
        ({"aliases": [{"source": -1, "targets": [1]}]}, "hidden neuron -1"),
        ({"aliases": [{"source": 0, "targets": [1.5]}]}, "not of type int"),
        ({"aliases": [{"source": 0, "targets": [10**30]}]}, "aliases"),
        ({"aliases": [{"source": 0, "targets": [1]}] * 2}, "stands twice"),
        ({"aliases": [[0, 1]]}, "an object with source, targets"),
        ({"aliases": {"0": [1]}}, "not of type list"),
        ({"populations": [{"path": "x"}]}, "'layer' is missing"),
        ({"populations": [{"path": "x", "layer": "hidden", "start": 0, "stop": 99}]}, "covers 0..99"),
    ],
)
def test_a_header_that_lies_is_refused(saved, changes, message):
    rewrite(saved, **changes)
    with pytest.raises(FileFormatError, match=message):
        Specification.load(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 200_000, "\x00\x01", "NaN"])
def test_a_header_that_is_no_json_object_is_refused(saved, text):
    saved.write_text(text)
    with pytest.raises(FileFormatError):
        Specification.load(saved)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("weights_in", np.zeros((3, 4, 2), np.int16), "array weights_in is int16"),
        ("weights_in", np.zeros((3, 4, 2), np.float32), "array weights_in is float32"),
        ("weights_in", np.zeros((3, 9, 2), np.int8), "9 targets"),
        ("threshold", np.full(5, 7, np.int16), "do not match the checksum"),
        ("weights_extra", np.zeros(1, np.int8), "Unknown array 'weights_extra'"),
        ("weights_out", None, "array 'weights_out' is missing"),
        ("weights_in", np.zeros((2**40, 0, 2), np.int8), "no neurons that take input"),
    ],
)
def test_arrays_that_do_not_belong_are_refused(saved, name, array, message):
    path = saved.with_suffix(".safetensors")
    arrays, metadata = read_arrays(path)
    arrays = {k: v for k, v in (arrays | {name: array}).items() if v is not None}
    path.write_bytes(save(arrays, metadata=metadata))
    with pytest.raises(FileFormatError, match=message):
        Specification.load(saved)


def test_arrays_without_their_label_are_refused(saved):
    path = saved.with_suffix(".safetensors")
    path.write_bytes(save(read_arrays(path)[0]))
    with pytest.raises(FileFormatError, match="label"):
        Specification.load(saved)


def test_arrays_of_another_program_are_refused(spec, saved, tmp_path):
    import dataclasses

    other = dataclasses.replace(spec, threshold=[1, 1, 1, 1, 1]).save(tmp_path / "other")
    shutil.copy(other.with_suffix(".safetensors"), saved.with_suffix(".safetensors"))
    with pytest.raises(FileFormatError, match="do not match the checksum"):
        Specification.load(saved)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_truncation_at_any_place_is_refused(saved, suffix):
    path = saved.with_suffix(suffix)
    content = path.read_bytes()
    # The JSON file ends in a newline; without that one it is still whole.
    for size in range(0, len(content) - 1, 7):
        path.write_bytes(content[:size])
        with pytest.raises(FileFormatError):
            Specification.load(saved)


def test_every_flipped_byte_of_the_arrays_is_found(saved):
    path = saved.with_suffix(".safetensors")
    content = bytearray(path.read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    for place in range(start, len(content)):
        content[place] ^= 0x10
        path.write_bytes(content)
        with pytest.raises(FileFormatError):
            Specification.load(saved)
        content[place] ^= 0x10


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_header_is_refused_or_means_the_same(spec, saved, data):
    text = saved.read_text()
    place = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 3))
    inserted = data.draw(st.text(st.sampled_from('0123456789.-eE"{}[],: naN\n'), max_size=3))
    mutated = saved.with_name("mutated.json")
    mutated.write_text(text[:place] + inserted + text[place + length :])
    shutil.copy(saved.with_suffix(".safetensors"), mutated.with_suffix(".safetensors"))
    with contextlib.suppress(FileFormatError):
        assert Specification.load(mutated) == spec


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a file was executed",))


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_pickle_in_disguise_is_refused_and_not_run(saved, suffix):
    saved.with_suffix(suffix).write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileFormatError):
        Specification.load(saved)


def test_a_huge_declared_header_is_refused(saved):
    saved.with_suffix(".safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(FileFormatError):
        Specification.load(saved)


def test_a_type_that_numpy_lacks_is_refused(saved):
    header = json.dumps({"weights_in": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}).encode()
    content = struct.pack("<Q", len(header)) + header + b"\0\0"
    saved.with_suffix(".safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match="BF16"):
        Specification.load(saved)


def test_interrupted_writing_keeps_the_files_of_before(spec, saved, monkeypatch):
    import dataclasses

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        with pytest.raises(KeyboardInterrupt):
            dataclasses.replace(spec, dt=0.5).save(saved)
    assert Specification.load(saved) == spec
    assert len(list(saved.parent.iterdir())) == 2
