"""Run in a process of its own: compare with Rockpool's Xylo modules where the vendor's driver is missing.

Rockpool's packages import the driver. The modules that hold plain arithmetic are therefore loaded from
empty package shells, with a stand-in for the driver. Prints one JSON object: check -> "" or traceback.
"""

import importlib
import json
import sys
import traceback
import types
import warnings
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np

from snnkit.hw.xylo.cycles import cycles_model, est_clock_freq
from snnkit.hw.xylo.specification.core import Specification

FACES = {"a2": "syns61201", "a3": "syns65302", "imu": "syns63300"}


def rockpool_module(chip, name):
    base = Path(find_spec("rockpool").submodule_search_locations[0]) / "devices" / "xylo"
    for package, path in {
        "rockpool.devices.xylo": base,
        f"rockpool.devices.xylo.{FACES[chip]}": base / FACES[chip],
    }.items():
        if package not in sys.modules:
            shell = types.ModuleType(package)
            shell.__path__ = [str(path)]
            sys.modules[package] = shell
    return importlib.import_module(f"rockpool.devices.xylo.{FACES[chip]}.{name}")


def rockpool_mapper(chip):
    # The other chips' graph modules take theirs from the package of Xylo-Audio 2.
    nodes = rockpool_module("a2", "xylo_graph_modules")
    vars(sys.modules["rockpool.devices.xylo.syns61201"]).setdefault("Xylo2Neurons", nodes.Xylo2Neurons)
    return rockpool_module(chip, "xylo_mapper").mapper


def random_specification(chip, rng):
    n, n_in, n_out = rng.integers(3, 20), rng.integers(1, 16), rng.integers(1, 8)
    n_syn = 1 if chip == "imu" else int(rng.integers(1, 3))
    reached = (rng.random(n) < 0.6)[None, :, None]
    return Specification.create(
        chip=chip,
        weights_in=rng.integers(-100, 128, (n_in, n, n_syn)) * reached,
        weights_rec=rng.integers(-40, 60, (n, n, n_syn)) * (rng.random((n, n, n_syn)) < 0.4),
        weights_out=rng.integers(-100, 128, (n, n_out)) * (rng.random(n) < 0.6)[:, None],
        dash_mem=rng.integers(1, 6, n),
        dash_syn=rng.integers(1, 6, n),
        dash_syn_2=rng.integers(1, 6, n) if n_syn == 2 else None,
        dash_mem_out=rng.integers(1, 6, n_out),
        dash_syn_out=rng.integers(1, 6, n_out),
        threshold=rng.integers(100, 2000, n),
        threshold_out=rng.integers(100, 2000, n_out),
        bias=rng.integers(-50, 100, n) * int(rng.integers(2)),
        aliases=[[int(rng.integers(1, n))] if rng.random() < 0.3 else [] for _ in range(n)],
    )


def cycles(chip):
    theirs = rockpool_module(chip, "power_cycles_model")
    rng = np.random.default_rng(1)
    for _ in range(30):
        spec = random_specification(chip, rng)
        config, rates = spec.to_configuration(), rng.random(2)
        expected = theirs.cycles_model(config, *rates)
        assert np.allclose(cycles_model(spec, *rates), expected, rtol=1e-12), (spec, rates)
        assert np.isclose(est_clock_freq(spec, 1e-3), theirs.est_clock_freq(config, 1e-3)), spec


def configuration_runs(chip):
    """Rockpool's simulator reads our configuration, and runs the same program from it as from our dict."""
    theirs = rockpool_module(chip, "xylo_sim").XyloSim
    rng = np.random.default_rng(2)
    events = 0
    for _ in range(10):
        spec = random_specification(chip, rng)
        keys = spec.to_rockpool_dict()
        raster = rng.poisson(0.5, (50, spec.n_in))
        by_config = theirs.from_config(spec.to_configuration(), dt=spec.dt)
        by_spec = theirs.from_specification(**keys)
        out, _, record = by_config(raster, record=True)
        expected, _, expected_record = by_spec(raster, record=True)
        assert np.array_equal(out, expected), spec
        for name, values in expected_record.items():
            assert np.array_equal(record[name], values), (name, spec)
        events += int(np.asarray(expected_record["Spikes"]).sum())
    assert events > 100


def mapped_network(chip):
    """What Rockpool's mapper and quantiser make of a network is read, and its own simulator agrees."""
    import torch
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules import LIFTorch, LinearTorch
    from rockpool.transform.quantize_methods import global_quantize

    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((4, 7)),
        LIFTorch(7, tau_mem=0.02, tau_syn=0.01, dt=1e-3, has_rec=True),
        LinearTorch((7, 5)),  # Rockpool's mapper for Xylo-IMU fails with one hidden layer
        LIFTorch(5, tau_mem=0.02, tau_syn=0.01, dt=1e-3),
        LinearTorch((5, 3)),
        LIFTorch(3, tau_mem=0.02, tau_syn=0.01, dt=1e-3),
    )
    keys = rockpool_mapper(chip)(net.as_graph())
    dt, graph = keys.pop("dt"), keys.pop("mapped_graph")
    keys.update(global_quantize(**keys))
    spec = Specification.from_rockpool_dict(keys | {"dt": dt, "mapped_graph": graph}, chip)
    assert spec.shape == (4, 12, 3)
    assert spec.violations() == ()
    assert np.array_equal(np.squeeze(spec.weights_in), np.squeeze(np.asarray(keys["weights_in"])))
    assert spec.weights_rec.any()
    theirs = rockpool_module("imu" if chip == "a3" else chip, "xylo_sim").XyloSim
    raster = np.random.default_rng(0).poisson(1.0, (60, 4))
    keys.pop("dash_syn_2") if chip != "a2" else None
    direct, _, _ = theirs.from_specification(**keys, dt=dt)(raster)
    ours, _, _ = theirs.from_specification(**spec.to_rockpool_dict())(raster)
    assert np.array_equal(direct, ours)


CHECKS = {
    "cycles a2": lambda: cycles("a2"),
    "cycles imu": lambda: cycles("imu"),
    "configuration a2": lambda: configuration_runs("a2"),
    "configuration imu": lambda: configuration_runs("imu"),
    "mapped a2": lambda: mapped_network("a2"),
    "mapped a3": lambda: mapped_network("a3"),
    "mapped imu": lambda: mapped_network("imu"),
}


def main():
    for name in ("", ".xyloCore2", ".xyloImu", ".xyloAudio3"):
        sys.modules[f"samna{name}"] = MagicMock()
        if name:
            sys.modules[f"samna{name}.configuration"] = MagicMock()
    warnings.simplefilter("ignore")
    results = {}
    for name, check in CHECKS.items():
        try:
            check()
            results[name] = ""
        except Exception:
            results[name] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
