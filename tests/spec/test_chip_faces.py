"""The per-chip modules for people who come from Rockpool."""

import inspect
import pickle
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

import snnkit.hw.xylo
from snnkit.hw.xylo import Specification
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.chips import CHIPS

PARTS = {chip.part.lower(): name for name, chip in CHIPS.items()}
ROCKPOOL_NAMES = {
    "mapper",
    "config_from_specification",
    "XyloSim",
    "cycles_model",
    "est_clock_freq",
    "save_config",
    "load_config",
    "DRCError",
    "DRCWarning",
}


def face_of(part):
    return import_module(f"snnkit.hw.xylo.{part}")


@pytest.mark.parametrize("part", PARTS)
def test_a_face_has_rockpools_names(part):
    face = face_of(part)
    assert set(face.__all__) >= ROCKPOOL_NAMES
    for name in face.__all__:
        assert getattr(face, name) is not None
    assert getattr(snnkit.hw.xylo, part) is face


def test_every_name_of_the_package_exists():
    for name in snnkit.hw.xylo.__all__:
        assert getattr(snnkit.hw.xylo, name) is not None
    assert set(snnkit.hw.xylo.__all__) <= set(dir(snnkit.hw.xylo))
    with pytest.raises(AttributeError, match="no attribute 'syns99999'"):
        _ = snnkit.hw.xylo.syns99999


@pytest.mark.parametrize("part", PARTS)
def test_rockpools_sequence_runs_from_mapper_to_saved_configuration(part, tmp_path):
    face, chip = face_of(part), CHIPS[PARTS[part]]
    net = Sequential(
        LinearTorch((3, 5)),
        LIFTorch(5, tau_mem=0.02, tau_syn=0.02, dt=1e-3),
        LinearTorch((5, 2)),
        LIFTorch(2, tau_mem=0.02, tau_syn=0.02, dt=1e-3),
    )
    mapped = face.mapper(net.as_graph())
    integers = mapped | {
        name: np.round(np.asarray(value) * (50 if name.startswith("w") else 1)).astype(int)
        for name, value in mapped.items()
        if name.startswith(("weights_", "dash", "threshold", "bias"))
    }
    config, ok, message = face.config_from_specification(**integers)
    assert ok, message
    assert config.chip == chip.name
    assert isinstance(config, face.XyloConfiguration)
    path = tmp_path / "config.json"
    face.save_config(config, path)
    assert face.load_config(path) == config
    raster = np.random.default_rng(0).poisson(2, (40, 3))
    by_keys = face.XyloSim.from_specification(**{k: v for k, v in integers.items() if k != "mapped_graph"})
    by_config = face.XyloSim.from_config(config, dt=1e-3)
    assert np.array_equal(by_keys(raster)[0], by_config(raster)[0])
    cycles = face.cycles_model(config, 0.5, 0.5)
    assert isinstance(cycles, tuple if chip.name in ("a1", "a2") else float)
    assert face.est_clock_freq(config, 1e-3) > 0


@pytest.mark.parametrize("part", PARTS)
def test_a_faces_simulator_is_of_its_chip_and_can_be_pickled(part):
    spec = Specification.create(
        chip=PARTS[part], weights_in=[[90, 80]], weights_out=[[70], [60]], threshold=100, threshold_out=100
    )
    keys = spec.to_rockpool_dict()
    sim = face_of(part).XyloSim.from_specification(**keys)
    raster = np.full((20, 1), 3)
    expected = sim(raster)[0]
    assert expected.any()
    twin = pickle.loads(pickle.dumps(face_of(part).XyloSim.from_specification(**keys)))
    assert np.array_equal(twin(raster)[0], expected)
    assert isinstance(sim, snnkit.hw.xylo.XyloSim)


def test_errors_of_the_mapper_are_drc_errors():
    face = face_of("syns63300")
    with pytest.raises(face.DRCError):
        face.mapper(LinearTorch((3, 5)).as_graph())
    assert issubclass(face.DRCError, ValueError)
    assert issubclass(face.DRCWarning, Warning)


def test_faces_work_without_the_drivers_and_the_slow_imports():
    code = (
        "import sys\n"
        "from snnkit.hw.xylo import syns61201, syns61300, syns63300, syns65302\n"
        "made = syns63300.config_from_specification([[1]], [[1]], threshold=[1], threshold_out=[1])\n"
        "assert made[1:] == (True, ''), made\n"
        "wrong = {'samna', 'rockpool', 'xylosim', 'matplotlib', 'aeon', 'numba'} & set(sys.modules)\n"
        "assert not wrong, wrong\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("part", PARTS)
def test_signatures_show_nothing_that_is_still_missing(part):
    face = import_module(f"snnkit.hw.xylo.{part}")
    for function in (face.mapper, face.config_from_specification, face.load_config):
        assert inspect.signature(function).parameters["chip"].default == PARTS[part]
        assert function.__doc__
