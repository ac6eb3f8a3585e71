"""Test vectors prove that a saved program still gives the same bits."""

import dataclasses

import numpy as np
import pytest

from snnkit.hw.xylo.specification.core import Specification
from snnkit.hw.xylo.validation.vectors import check_vectors, make_vectors
from snnkit.utilities.errors import DataError, FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays


def program() -> Specification:
    rng = np.random.default_rng(0)
    return Specification.create(
        chip="imu", weights_in=rng.integers(-60, 127, (3, 15)), weights_rec=rng.integers(-30, 30, (15, 15)),
        weights_out=rng.integers(-60, 127, (15, 2)), threshold=200, threshold_out=150, dash_mem=3, dash_syn=2,
    )  # fmt: skip


def raster() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 5, (5, 20, 3))


def test_vectors_of_a_saved_program_agree(tmp_path) -> None:
    spec = program()
    path = make_vectors(spec, raster(), tmp_path / "vectors.safetensors")
    spec.save(tmp_path / "program")
    check = check_vectors(Specification.load(tmp_path / "program"), path)
    assert check.passed
    assert (check.samples, check.referenced) == (5, 2)
    assert str(check) == "5 vectors agree bit for bit, 2 of them with the reference too."


def test_another_program_is_told_apart(tmp_path) -> None:
    path = make_vectors(program(), raster(), tmp_path / "vectors.safetensors")
    other = dataclasses.replace(program(), threshold=np.full(15, 201))
    check = check_vectors(other, path)
    assert not check.passed
    assert not check.same_program
    assert "stored" in str(check)


def test_one_changed_bit_is_found_by_simulator_and_reference(tmp_path) -> None:
    path = make_vectors(program(), raster(), tmp_path / "vectors.safetensors")
    arrays, metadata = read_arrays(path)
    arrays["Vmem_out"][1, 7, 0] ^= 1
    check = check_vectors(program(), write_arrays(path, arrays, metadata))
    assert check.same_program
    assert not check.passed
    assert len(check.differences) == 2
    assert check.differences[0].startswith("Vmem_out[1, 7, 0]")


def test_one_raster_without_batch_axis(tmp_path) -> None:
    path = make_vectors(program(), raster()[0], tmp_path / "vectors.safetensors")
    assert check_vectors(program(), path).samples == 1


def test_other_files_and_empty_rasters_are_refused(tmp_path) -> None:
    other = write_arrays(tmp_path / "other.safetensors", {"raster": np.zeros(3, np.uint8)}, {})
    with pytest.raises(FileFormatError, match="no Xylo test vectors"):
        check_vectors(program(), other)
    with pytest.raises(DataError, match="at least one sample"):
        make_vectors(program(), np.zeros((0, 4, 3), int), tmp_path / "none.safetensors")
