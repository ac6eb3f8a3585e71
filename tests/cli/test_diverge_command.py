"""``snnkit diverge`` on programs, nets, imitated boards and recordings of them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import call, call_here, plain

from snnkit.hw import Comparison, connect
from snnkit.hw.fake_samna import FakeSamna
from snnkit.hw.fake_samna.alterations import Alteration
from snnkit.hw.xylo import Specification, lower, quantise

NETS = """
import torch
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch

torch.manual_seed(0)
net = Sequential(
    LinearTorch((3, 8), has_bias=False), LIFTorch(8, dt=5e-3, max_spikes_per_dt=31),
    LinearTorch((8, 2), has_bias=False), LIFTorch(2, dt=5e-3, max_spikes_per_dt=1),
)
three = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net, its program, the same with another threshold, rasters, and a recorded run of a faulty board."""
    place = tmp_path_factory.mktemp("diverge")
    (place / "nets.py").write_text(NETS)
    names: dict = {}
    exec(NETS, names)
    spec: Specification = quantise(lower(names["net"], "imu")).specification
    spec.save(place / "program")
    threshold = spec.threshold.copy()
    threshold[:] //= 2
    dataclasses.replace(spec, threshold=threshold).save(place / "other")
    counts = np.random.default_rng(0).integers(0, 5, (4, 20, 3))
    np.save(place / "raster.npy", counts)
    driver = FakeSamna(["imu"], alter=Alteration("dash_mem", (2,), 1))
    with connect("samna:", driver=driver, record_to=place / "lab.xrec") as session:
        session.configure(spec)
        session.run(counts, record=True)
    return place


def test_two_programs_that_differ_exit_with_1(folder: Path) -> None:
    done = call("diverge", "program.json", "other.json", "--raster", "raster.npy", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "program.json and other.json: 4 samples of 20 steps" in done.stdout
    told = plain(done.stdout)
    assert "altered parameter: threshold of 1_LIFTorch neuron" in told
    assert "Error" not in done.stderr


def test_a_program_and_itself_exit_with_0(folder: Path) -> None:
    done = call_here("diverge", "program.json", "program.json", "--raster", "raster.npy", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "no difference"


def test_a_net_and_its_program_as_json(folder: Path) -> None:
    line = ("diverge", "nets.py:net", "program.json", "--raster", "raster.npy", "--samples", 2, "--json")
    found = Comparison.from_json(json.loads(call_here(*line, cwd=folder).stdout))
    assert (found.samples, found.a, found.b) == (2, "nets.py:net", "program.json")
    assert [layer.path for layer in found.layers] == ["1_LIFTorch", "3_LIFTorch"]


def test_a_recorded_run_brings_its_rasters(folder: Path) -> None:
    done = call_here("diverge", "program.json", "lab.xrec", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "dash_mem of 1_LIFTorch neuron 2" in plain(done.stdout)
    assert "lab.xrec" in done.stdout


def test_an_imitated_board(folder: Path) -> None:
    done = call_here("diverge", "program.json", "fake:imu", "--raster", "raster.npy", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_picture_is_written(folder: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    line = ("diverge", "program.json", "other.json", "--raster", "raster.npy", "--plot", "both.png")
    assert call_here(*line, cwd=folder).returncode == 1
    assert (folder / "both.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("program.json", "other.json"), "--raster"),
        (("program.json", "missing.json", "--raster", "raster.npy"), "missing.json is none of these"),
        (("program.json", "nets.py:three", "--raster", "raster.npy"), "not a net"),
        (("program.json", "nets.py:nets", "--raster", "raster.npy"), "Did you mean 'net'?"),
        (("program.json", "other.json", "--raster", "nets.py"), "not a readable .npy"),
        (("program.json", "other.json", "--raster", "raster.npy", "--plot", "x.foo"), "x.foo: Format 'foo'"),
        (("program.json", "fake:zzz", "--raster", "raster.npy"), "Unknown chip 'zzz'"),
    ],
)
def test_mistakes_are_explained(folder: Path, line: tuple[str, ...], words: str) -> None:
    done = call_here("diverge", *line, cwd=folder)
    assert done.returncode == 1
    assert words in plain(done.stderr)
    assert "fault of snnkit" not in done.stderr


RECIPE = """
name = "tiny"
title = "A tiny net"
chip = "imu"

[data]
source = "basic-motions"

[encoding]
kind = "graded"
steps = 20
signed = true

[network]
hidden = [8]
recurrent = false
outputs_per_class = 1
dt = 0.1

[training]
epochs = 1
batch_size = 40

[finetuning]
epochs = 1
"""


@pytest.mark.slow
def test_the_nets_and_the_program_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("aeon", reason="the recordings come with the data extra")
    (tmp_path / "tiny.toml").write_text(RECIPE)
    for line in (("train", "tiny.toml", "--out", "run"), ("finetune", "run"), ("deploy", "run")):
        assert call_here(*line, cwd=tmp_path).returncode == 0
    tuned = call_here("diverge", "run:tuned", "run", cwd=tmp_path)
    assert (tuned.returncode, tuned.stdout.splitlines()[-1]) == (0, "no difference")
    done = call_here("diverge", "run:float", "run", "--samples", 3, cwd=tmp_path)
    assert done.returncode == (done.stdout.splitlines()[-1] != "no difference")
    assert "run:float and run: 3 samples of 20 steps" in done.stdout
    assert "net of a run 'flat'" in plain(call_here("diverge", "run:flat", "run", cwd=tmp_path).stderr)
