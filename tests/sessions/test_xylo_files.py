"""A deployment in one file: it says what it is, and no byte of it can change unseen."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from sessions.session_programs import program, rasters

from snnkit.hw.xylo import deploy
from snnkit.hw.xylo.archive.container import write_container
from snnkit.hw.xylo.archive.xylo_file import XyloFile, load_deployment, save_deployment
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import DataError, FileFormatError


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_deployment(
        tmp_path_factory.mktemp("files") / "net.xylo", program("imu"), rasters(),
        encoder={"kind": "graded", "steps": 20, "low": [0.0, 1.5]}, about={"title": "a test"},
    )  # fmt: skip


def test_a_deployed_network_comes_back_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Sequential(LinearTorch((3, 8)), LIFTorch(8, dt=5e-3), LinearTorch((8, 2)), LIFTorch(2, dt=5e-3))
    deployment = deploy(net, "imu", calibration=rasters())
    path = save_deployment(tmp_path / "net.xylo", deployment, rasters(), weights=net)
    found = load_deployment(path)
    assert found.specification == deployment.specification
    assert found.delay == deployment.delay
    assert found.weights.keys() == net.state_dict().keys()
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(found.weights[name], value.detach().numpy())
    assert found.check().passed
    assert set(found.versions) == {"snnkit", "torch", "numpy"}
    assert "8 hidden neurons" in str(found)


def test_content_is_kept_and_equal_content_is_an_equal_file(written: Path, tmp_path: Path) -> None:
    found = XyloFile.load(written)
    assert found.encoder == {"kind": "graded", "steps": 20, "low": [0.0, 1.5]}
    assert found.about == {"title": "a test"}
    assert found.weights == {}
    np.testing.assert_array_equal(found.rasters(), rasters())
    assert found.save(tmp_path / "again.xylo").read_bytes() == written.read_bytes()


def test_every_changed_byte_is_found(written: Path, tmp_path: Path) -> None:
    content = written.read_bytes()
    places = {*range(0, len(content), 97), *range(60), *range(len(content) - 60, len(content))}
    other = tmp_path / "other.xylo"
    for place in sorted(places):
        altered = bytearray(content)
        altered[place] ^= 0x10
        other.write_bytes(altered)
        with pytest.raises(FileFormatError):
            load_deployment(other)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_cut_file_is_refused(written: Path, tmp_path: Path, share: float) -> None:
    content = written.read_bytes()
    cut = tmp_path / "cut.xylo"
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FileFormatError):
        load_deployment(cut)


def test_bytes_behind_the_end_are_found(written: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.xylo"
    longer.write_bytes(written.read_bytes() + b"x")
    with pytest.raises(FileFormatError):
        load_deployment(longer)


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    path.write_bytes(buffer.getvalue())
    return path


def test_hostile_zips_are_refused(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "hostile.xylo"
    for changed in (
        members | {"../../escape.txt": b"x"},
        members | {"/etc/passwd": b"x"},
        members | {"code.py": b"print('run')"},
        {"manifest.json": b"[]"},
        {"manifest.json": b"{"},
        {"manifest.json": b"{}"},
        {"manifest.json": b"[" * 100_000},
        {},
    ):
        with pytest.raises(FileFormatError):
            load_deployment(zipped(path, changed))
    bomb = members | {"weights.safetensors": bytes(10_000_000)}
    with pytest.raises(FileFormatError, match="compressed"):
        load_deployment(zipped(path, bomb, zipfile.ZIP_DEFLATED))
    with pytest.raises(FileFormatError, match="cannot be read"):
        load_deployment(tmp_path / "none.xylo")
    assert not (tmp_path.parent / "escape.txt").exists()


def test_files_of_other_kinds_and_versions_are_told(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop("manifest.json"))
    own = {name: value for name, value in header.items() if name not in ("files", "sha256")}
    path = tmp_path / "other.xylo"
    for changed, says in (
        ({"version": 2}, "version 2"),
        ({"format": "else"}, "'else'"),
        ({"specification": "0" * 64}, "not the one"),
        ({"delay": "soon"}, "no number of time steps"),
        ({"delay": -1}, "no number of time steps"),
        ({"delay": 1.5}, "no number of time steps"),
        ({"chip": "a2"}, "not the one"),
        ({"about": 3}, "cannot be used"),
    ):
        write_container(path, own | changed, members)
        with pytest.raises(FileFormatError, match=says):
            load_deployment(path)
    write_container(path, own, members | {"encoder.json": b"[1]"})
    with pytest.raises(FileFormatError, match="no table"):
        load_deployment(path)
    write_container(path, own, {n: c for n, c in members.items() if n != "vectors.safetensors"})
    with pytest.raises(FileFormatError, match="cannot be used"):
        load_deployment(path)


def test_vectors_are_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one sample"):
        save_deployment(tmp_path / "net.xylo", program("imu"), rasters()[:0])


def test_vectors_that_are_none_are_refused_when_the_file_is_read(written: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop("manifest.json"))
    own = {name: value for name, value in header.items() if name not in ("files", "sha256")}
    path = tmp_path / "other.xylo"
    for vectors in (b"junk", members["specification.safetensors"]):
        write_container(path, own, members | {"vectors.safetensors": vectors})
        with pytest.raises(FileFormatError, match=r"vectors\.safetensors"):
            load_deployment(path)
