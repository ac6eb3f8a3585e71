"""XyloSim against the vendor's compiled core, over thousands of random programs."""

import numpy as np
import pytest
from simulator.random_nets import random_raster, random_specification
from simulator.xylosim_oracle import XylosimOracle

from snnkit.hw.xylo.simulator.xylo_sim import XyloSim

pytest.importorskip("xylosim", reason="the oracle xylosim is not installed (extra `oracles`)")
pytestmark = pytest.mark.oracle

NETS = 3000
SHARES = 6


def assert_equals_xylosim(seed: int) -> int:
    """Two calls in a row on one to three rasters; return the number of arrays compared."""
    rng = np.random.default_rng(seed)
    spec = random_specification(rng, version=1 + seed % 2)
    batch = int(rng.choice([1, 2, 3, 9])) if seed % 10 == 0 else 1
    oracles = [XylosimOracle(spec) for _ in range(batch)]
    sim = XyloSim(spec)
    compared = 0
    for _ in range(2):
        n_steps = int(rng.integers(1, 25))
        raster = np.stack([random_raster(rng, n_steps, spec.n_in) for _ in range(batch)])
        output, _, record = sim(raster, record=True)
        record["Spikes_out"] = output
        for sample, oracle in enumerate(oracles):
            expected = oracle.run(raster[sample])
            assert set(record) == set(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(record[name][sample], values, f"seed {seed}: {name}")
                compared += 1
    return compared


@pytest.mark.parametrize("share", range(SHARES))
def test_equals_xylosim_on_random_nets(share: int, record_property) -> None:
    seeds = range(share, NETS, SHARES)
    arrays = sum(assert_equals_xylosim(seed) for seed in seeds)
    record_property("nets", len(seeds))
    record_property("arrays", arrays)
    assert arrays >= 2 * 6 * len(seeds)


@pytest.mark.parametrize("version", [1, 2])
def test_equals_xylosim_on_a_large_net_in_a_batch(version: int) -> None:
    rng = np.random.default_rng(version)
    spec = random_specification(rng, version, n_hidden=300)
    raster = np.stack([random_raster(rng, 20, spec.n_in) for _ in range(40)])
    output, _, record = XyloSim(spec)(raster, record=True)
    for sample in (0, 13, 39):
        expected = XylosimOracle(spec).run(raster[sample])
        np.testing.assert_array_equal(output[sample], expected.pop("Spikes_out"))
        for name, values in expected.items():
            np.testing.assert_array_equal(record[name][sample], values, name)
