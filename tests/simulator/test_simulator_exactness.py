"""XyloSim against its plain reference and against golden vectors: needs no xylosim."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator.random_nets import random_raster, random_specification
from strategies import specifications

from snnkit.hw.xylo.simulator.reference import ReferenceCounters, reference_run
from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import ARRAYS, SHIFTS, Specification
from snnkit.utilities.chips import get_chip
from snnkit.utilities.files import read_arrays

GOLDEN = Path(__file__).parent / "data" / "golden.safetensors"
COUNTERS = (
    "clipped_input",
    "capped",
    "capped_out",
    "lost_alias_events",
    "saturated_vmem",
    "saturated_vmem_out",
    "saturated_isyn_out",
)


def assert_equals_reference(spec: Specification, rasters: list[np.ndarray]) -> None:
    """Run batches (samples, time, channels) in a row; compare recordings and counters."""
    sim, states = XyloSim(spec), [None] * len(rasters[0])
    for raster in rasters:
        runs = [reference_run(spec, r, state) for r, state in zip(raster, states, strict=True)]
        states = [state for _, state, _ in runs]
        output, _, record = sim(raster, record=True)
        record["Spikes_out"] = output
        for sample, (expected, _, _) in enumerate(runs):
            assert set(expected) == set(record)
            for name, values in expected.items():
                np.testing.assert_array_equal(record[name][sample], values, name)
        assert_counters_equal(sim, [counters for _, _, counters in runs])


def assert_counters_equal(sim: XyloSim, references: list[ReferenceCounters]) -> None:
    for name in COUNTERS:
        expected = sum(getattr(reference, name) for reference in references)
        np.testing.assert_array_equal(getattr(sim.counters, name), expected, name)
    saturated = sum(reference.saturated_isyn for reference in references)
    np.testing.assert_array_equal(sim.counters.saturated_isyn.T, saturated)
    for sender, count in sim.counters.synaptic_operations.items():
        assert count == sum(reference.synaptic_operations[sender] for reference in references)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_the_reference_on_any_program(data: st.DataObject) -> None:
    chip = data.draw(st.sampled_from(["a1", "a2", "a3", "imu"]))
    spec = data.draw(specifications(chip))
    if get_chip(chip).core_version == 1 and (spec.bias.any() or spec.bias_out.any()):
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    batch = data.draw(st.sampled_from([1, 2, 9]))
    rasters = [np.stack([random_raster(rng, n, spec.n_in) for _ in range(batch)]) for n in (6, 4)]
    assert_equals_reference(spec, rasters)


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_reference_on_random_nets(seed: int) -> None:
    rng = np.random.default_rng(50_000 + seed)
    spec = random_specification(rng, version=1 + seed % 2)
    batch = int(rng.choice([1, 3, 8, 35])) if seed % 6 == 0 else 1
    rasters = [np.stack([random_raster(rng, n, spec.n_in) for _ in range(batch)]) for n in (9, 5)]
    assert_equals_reference(spec, rasters)


def test_equals_the_golden_vectors() -> None:
    arrays, metadata = read_arrays(GOLDEN)
    nets = json.loads(metadata["nets"])
    assert len(nets) >= 40
    for net, header in enumerate(nets):
        fields = {name: arrays[f"{net}.{name}"] for name in ARRAYS} | {n: header[n] for n in SHIFTS}
        spec = Specification.create(chip=header["chip"], dt=header["dt"], aliases=header["aliases"], **fields)
        sim = XyloSim(spec)
        for call in range(2):
            output, _, record = sim(arrays[f"{net}.{call}.raster"], record=True)
            record["Spikes_out"] = output
            for name, values in record.items():
                np.testing.assert_array_equal(values, arrays[f"{net}.{call}.{name}"], f"net {net}: {name}")


def test_vectors_longer_than_one_register_and_blocks_that_are_not_full() -> None:
    rng = np.random.default_rng(3)
    spec = random_specification(rng, 2, n_hidden=70)
    assert_equals_reference(spec, [np.stack([random_raster(rng, 5, spec.n_in) for _ in range(37)])])


def test_dense_and_sparse_rows_agree() -> None:
    rng = np.random.default_rng(4)
    weights = rng.integers(-127, 128, (40, 40)) * (rng.random((40, 40)) < 0.5)
    spec = Specification.create(
        chip="a2", weights_in=rng.integers(-99, 99, (3, 40)), weights_rec=weights, weights_out=weights[:, :4],
        threshold=90, threshold_out=500, dash_mem=3, dash_syn=12, weight_shift_rec=6,
    )  # fmt: skip
    raster = rng.integers(0, 3, (1, 60, 3))
    assert_equals_reference(spec, [raster])
    sim = XyloSim(spec)
    sim(raster)
    assert sim.counters.total_saturations > 0


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("density", [0.03, 0.2, 1.0])
def test_sums_that_climb_to_the_limit_of_16_bits_and_beyond(density: float, batch: int) -> None:
    """The kernels look at single sums only where one might be clamped: both ways, and the change of ways."""
    rng = np.random.default_rng(5)
    present = rng.random((36, 36)) < density
    spec = Specification.create(
        chip="a2", weights_in=rng.integers(-20, 100, (6, 36)), weights_out=rng.integers(-30, 60, (36, 3)),
        weights_rec=rng.integers(-40, 60, (36, 36)) * present, threshold=3000, threshold_out=2000, dash_mem=3,
        dash_syn=9, dash_syn_out=9, weight_shift_in=4,
    )  # fmt: skip
    rasters = [(rng.random((batch, 4, 6)) < 0.4).astype(int) for _ in range(6)]
    assert_equals_reference(spec, rasters)
    sim, clamped = XyloSim(spec), []
    for raster in rasters:
        sim(raster)
        clamped.append(sim.counters.saturated_isyn.sum() > 0)
    assert not clamped[0]
    assert clamped[-1]


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("too_many", [0, 1])
@pytest.mark.parametrize("weights", [[127] * 258 + [1], [-128] * 256])
def test_a_sum_may_reach_the_last_number_of_16_bits(weights: list[int], too_many: int, batch: int) -> None:
    weights = weights + [int(np.sign(weights[0]))] * too_many
    spec = Specification.create(
        chip="a2", weights_in=np.array(weights)[:, None], weights_out=[[0]], dash_syn=15, threshold=32767
    )
    raster = np.ones((batch, 3, len(weights)), int)
    raster[:, [0, 2]] = 0
    assert_equals_reference(spec, [raster])
    sim = XyloSim(spec)
    _, _, record = sim(raster, record=True)
    assert sim.counters.saturated_isyn.sum() == too_many * batch
    # A positive state loses 1 in a step, a negative one -32768 >> 15.
    assert set(record["Isyn"][:, 1].reshape(-1).tolist()) == {32766 if weights[0] > 0 else -32767}
