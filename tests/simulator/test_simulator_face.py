"""How XyloSim is called: shapes, kinds, state, threads, copies, errors, counters."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from simulator.random_nets import random_specification

from snnkit.hw.xylo.configuration.conversion import configuration_from_specification
from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Population, Specification
from snnkit.utilities.errors import ConfigurationError, DataError, ParameterError, ShapeError


def net(seed: int = 0, version: int = 2, n_hidden: int = 20) -> Specification:
    return random_specification(np.random.default_rng(seed), version, n_hidden)


def rasters(spec: Specification, batch: int, steps: int = 15, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (batch, steps, spec.n_in))


def small_net() -> Specification:
    """One input, one neuron, one output: simple enough to work out by hand."""
    return Specification.create(
        chip="imu", weights_in=[[100]], weights_out=[[60]], threshold=60, threshold_out=50,
        dash_mem=1, dash_syn=1, populations=(Population("1_LIF", "hidden", 0, 1),),
    )  # fmt: skip


def assert_same(a: dict, b: dict) -> None:
    assert set(a) == set(b)
    for name, values in a.items():
        np.testing.assert_array_equal(np.asarray(values), np.asarray(b[name]), name)


def test_small_net_by_hand() -> None:
    output, state, record = XyloSim(small_net())(np.array([[1], [0], [0]]), record=True)
    # isyn 100 -> 50 -> 25 -> 13; vmem 50 | 25 + 25 = 50 | 25 + 13 = 38
    np.testing.assert_array_equal(record["Isyn"][:, 0], [50, 25, 13])
    np.testing.assert_array_equal(record["Vmem"][:, 0], [50, 50, 38])
    np.testing.assert_array_equal(record["Spikes"][:, 0], [0, 0, 0])
    np.testing.assert_array_equal(output[:, 0], [0, 0, 0])
    assert state["vmem"].tolist() == [38]


@pytest.mark.parametrize("kind", ["numpy", "torch", "float32 tensor", "bool"])
def test_output_has_the_kind_and_rank_of_the_input(kind: str) -> None:
    spec = net()
    raster = np.minimum(rasters(spec, 3), 1)
    expected, _, expected_record = XyloSim(spec)(raster, record=True)
    given = {
        "numpy": raster,
        "torch": torch.from_numpy(raster),
        "float32 tensor": torch.from_numpy(raster).float().requires_grad_(),
        "bool": raster.astype(bool),
    }[kind]
    output, state, record = XyloSim(spec)(given, record=True)
    wanted = torch.Tensor if "t" in kind and kind != "numpy" else np.ndarray
    for value in (output, *state.values(), *record.values()):
        assert isinstance(value, wanted)
    np.testing.assert_array_equal(np.asarray(output), expected)
    assert_same(record, expected_record)
    single, _, _ = XyloSim(spec)(given[0])
    np.testing.assert_array_equal(np.asarray(single), expected[0])


def test_record_holds_rockpools_names_and_only_if_asked_for() -> None:
    spec = net(version=2)
    sim = XyloSim(spec)
    _, _, nothing = sim(rasters(spec, 1)[0])
    assert nothing == {}
    _, _, record = sim.evolve(rasters(spec, 1)[0], record=True)
    names = {"Vmem", "Isyn", "Spikes", "Vmem_out", "Isyn_out", "Hibernation"}
    assert set(record) == names | ({"Isyn2"} if spec.n_synapses == 2 else set())
    assert record["Vmem"].shape == (15, 20)
    assert record["Vmem_out"].shape == (15, spec.n_out)
    assert record["Hibernation"].shape == (15,)


def test_batch_equals_single_rasters() -> None:
    spec = net(5)
    batch = rasters(spec, 40)
    output, state, record = XyloSim(spec)(batch, record=True)
    for sample in (0, 17, 39):
        one, one_state, one_record = XyloSim(spec)(batch[sample], record=True)
        np.testing.assert_array_equal(one, output[sample])
        assert_same(one_state, {name: values[sample] for name, values in state.items()})
        assert_same(one_record, {name: values[sample] for name, values in record.items()})


def test_number_of_threads_changes_nothing() -> None:
    spec = net(6, n_hidden=50)
    batch = rasters(spec, 70, steps=30)
    before = torch.get_num_threads()
    results, counters = [], []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            sim = XyloSim(spec)
            output, state, record = sim(batch, record=True)
            results.append({"output": output} | state | record)
            counters.append(str(sim.counters))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert_same(result, results[0])
    assert len(set(counters)) == 1


@pytest.mark.parametrize("batch", [1, 4, 12])
def test_state_is_kept_for_every_sample(batch: int) -> None:
    spec = net(7)
    whole = rasters(spec, batch, steps=20)
    expected, _, _ = XyloSim(spec)(whole)
    sim = XyloSim(spec)
    parts = [sim(whole[:, :7])[0], sim(whole[:, 7:8])[0], sim(whole[:, 8:])[0]]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)
    sim.reset_state()
    np.testing.assert_array_equal(sim(whole)[0], expected)


def test_state_of_one_raster_serves_a_batch() -> None:
    spec = net(8)
    head, tail = rasters(spec, 1)[0], rasters(spec, 5, seed=2)
    sim = XyloSim(spec)
    sim(head)
    output, _, _ = sim(tail)
    for sample in range(5):
        single = XyloSim(spec)
        single(head)
        np.testing.assert_array_equal(single(tail[sample])[0], output[sample])


def test_batch_of_another_size_asks_for_reset() -> None:
    spec = net()
    sim = XyloSim(spec)
    sim(rasters(spec, 3))
    with pytest.raises(ShapeError, match=r"3 samples.*4.*reset_state"):
        sim(rasters(spec, 4))


def test_zero_steps_and_zero_samples_are_allowed() -> None:
    spec = net()
    assert XyloSim(spec)(np.zeros((0, spec.n_in), int))[0].shape == (0, spec.n_out)
    output, _, record = XyloSim(spec)(np.zeros((4, 0, spec.n_in), int), record=True)
    assert output.shape == (4, 0, spec.n_out)
    assert record["Vmem"].shape == (4, 0, 20)
    assert XyloSim(spec)(np.zeros((0, 5, spec.n_in), int))[0].shape == (0, 5, spec.n_out)


def test_silent_steps_at_the_end_do_not_change_what_was_before() -> None:
    spec = net(9)
    raster = rasters(spec, 2)
    padded = np.pad(raster, ((0, 0), (0, 10), (0, 0)))
    _, _, record = XyloSim(spec)(raster, record=True)
    _, _, longer = XyloSim(spec)(padded, record=True)
    assert_same(record, {name: values[:, :15] for name, values in longer.items()})


def test_renumbering_neurons_renumbers_the_recordings() -> None:
    rng = np.random.default_rng(10)
    n = 30
    fields = {
        "weights_in": rng.integers(-90, 90, (4, n, 1)),
        "weights_rec": rng.integers(-20, 20, (n, n, 1)),
        "weights_out": rng.integers(-90, 90, (n, 3)),
    }
    constants = {"dash_mem": (1, 8), "dash_syn": (1, 8), "threshold": (50, 900), "bias": (-3, 3)}
    constants = {name: rng.integers(*limits, n) for name, limits in constants.items()}
    order = rng.permutation(n)
    renumbered = {
        "weights_in": fields["weights_in"][:, order],
        "weights_rec": fields["weights_rec"][order][:, order],
        "weights_out": fields["weights_out"][order],
    } | {name: values[order] for name, values in constants.items()}
    raster = rng.integers(0, 3, (25, 4))
    out, _, record = XyloSim(Specification.create(chip="a2", **fields, **constants))(raster, record=True)
    out_2, _, record_2 = XyloSim(Specification.create(chip="a2", **renumbered))(raster, record=True)
    assert record["Spikes"].any()
    np.testing.assert_array_equal(out, out_2)
    for name in ("Spikes", "Vmem", "Isyn"):
        np.testing.assert_array_equal(record[name][:, order], record_2[name], name)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda sim: pickle.loads(pickle.dumps(sim))])
def test_copies_go_on_with_the_same_state(duplicate) -> None:
    spec = net(11)
    sim = XyloSim(spec)
    sim(rasters(spec, 2))
    twin = duplicate(sim)
    more = rasters(spec, 2, seed=5)
    expected, state, _ = sim(more)
    output, twin_state, _ = twin(more)
    np.testing.assert_array_equal(output, expected)
    assert_same(state, twin_state)


def test_output_modes_give_the_output_neurons_states() -> None:
    spec = net(12)
    raster = rasters(spec, 2)
    _, _, record = XyloSim(spec)(raster, record=True)
    isyn, vmem = XyloSim(spec, output_mode="Isyn"), XyloSim.from_specification(spec, output_mode="Vmem")
    np.testing.assert_array_equal(isyn(raster)[0], record["Isyn_out"])
    np.testing.assert_array_equal(vmem(raster)[0], record["Vmem_out"])
    assert (isyn.output_mode, vmem.output_mode, XyloSim(spec).output_mode) == ("Isyn", "Vmem", "Spike")
    with pytest.raises(ConfigurationError, match="Did you mean 'Vmem'"):
        XyloSim(spec, output_mode="vmem")  # type: ignore[arg-type]


def test_face_tells_sizes_and_time_step() -> None:
    spec = small_net()
    sim = XyloSim.from_specification(spec, dt=2e-3)
    assert (sim.shape, sim.size_in, sim.size_out, sim.dt) == ((1, 1, 1), 1, 1, 2e-3)
    assert XyloSim(spec).dt == spec.dt
    assert repr(sim) == "XyloSim(imu: 1 inputs, 1 hidden neurons, 1 outputs, output_mode 'Spike', dt 0.002 s)"


def test_made_from_rockpools_keys_and_from_a_configuration() -> None:
    rng = np.random.default_rng(13)
    spec = Specification.create(
        chip="a2", weights_in=rng.integers(-90, 90, (3, 12)), weights_rec=rng.integers(-20, 20, (12, 12)),
        weights_out=rng.integers(-90, 90, (12, 2)), threshold=300, threshold_out=200, bias=3, dash_mem=3,
        dash_syn=2, aliases=[[0]] * 12,
    )  # fmt: skip
    raster = rasters(spec, 2)
    expected, _, _ = XyloSim(spec)(raster)
    assert expected.any()
    keys = spec.to_rockpool_dict()
    for sim in (
        XyloSim.from_specification(**keys),
        XyloSim.from_specification(keys),
        XyloSim.from_config(configuration_from_specification(spec)),
    ):
        np.testing.assert_array_equal(sim(raster)[0], expected)
    with pytest.raises(ConfigurationError, match="Did you mean 'threshold_out'"):
        XyloSim.from_specification(**keys, treshold_out=3)
    with pytest.raises(ConfigurationError, match="change the specification"):
        XyloSim.from_specification(spec, threshold=3)


@pytest.mark.parametrize(
    ("raster", "error", "message"),
    [
        (np.zeros(3), ShapeError, r"\(3,\)"),
        (np.zeros((5, 4), int), ShapeError, "4 channels, the program has 1"),
        (np.array([[0], [-1]]), DataError, r"-1 at \(sample, step, channel\) \(0, 1, 0\)"),
        (np.array([[256]]), DataError, "256 .* outside 0..255"),
        (np.array([[0.5]]), DataError, "whole"),
        (np.array([[np.nan]]), DataError, "nan"),
        (np.array([["x"]]), DataError, "whole numbers"),
        (np.array([[1j]]), DataError, "complex"),
    ],
)
def test_rasters_that_are_no_event_counts_are_refused(raster, error, message) -> None:
    sim = XyloSim(small_net())
    with pytest.raises(error, match=message):
        sim(raster)


def test_bias_on_a_core_without_bias_is_refused() -> None:
    spec = Specification.create(chip="a1", weights_in=[[1]], weights_out=[[1]], bias=3)
    with pytest.raises(ParameterError, match="biases"):
        XyloSim(spec)


def test_counters_tell_what_was_lost() -> None:
    spec = Specification.create(
        chip="imu", weights_in=[[127, 1]], weight_shift_in=7, weights_out=[[100], [0]],
        threshold=[10, 32767], threshold_out=10, dash_mem=1, dash_syn=1, aliases=[[1], []],
        populations=(Population("1_LIF", "hidden", 0, 2), Population("3_LIF", "output", 0, 1)),
    )  # fmt: skip
    sim = XyloSim(spec)
    assert sim.counters.time_steps == 0
    sim(np.array([[20], [0], [0]]))
    counters = sim.counters
    assert counters.clipped_events == {
        "input": 5, "alias": 0, "hidden": 3, "output": 2
    }  # fmt: skip
    assert counters.spikes.tolist() == [93, 93]
    # 15 events of 127 << 7 on one synapse: one clamped sum
    assert counters.saturations["1_LIF"]["Isyn"] == 1
    assert counters.synaptic_operations == {"input": 30, "hidden": 0, "output": 62}
    assert "saturations in 1_LIF: Isyn 1" in str(counters)
    sim.reset_state()
    sim(np.zeros((3, 1), int))
    assert sim.counters.total_synaptic_operations == 0
    assert sum(sim.counters.clipped_events.values()) == 0


def test_runs_without_any_writeable_cache_folder(tmp_path) -> None:
    script = (
        "import numba.core.caching as c\n"
        "c.CacheImpl._locator_classes = []\n"
        "from snnkit.hw.xylo.simulator.xylo_sim import XyloSim\n"
        "from snnkit.hw.xylo.specification.core import Specification\n"
        "import numpy as np\n"
        "s = Specification.create(chip='imu', weights_in=[[90]], weights_out=[[80]], threshold=60)\n"
        "_, _, r = XyloSim(s)(np.ones((4, 1), int), record=True)\n"
        "print(r['Spikes'][:, 0].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0, 1, 1, 1]"
    assert "Compiling the chip simulator" in done.stderr


def test_import_does_not_load_numba() -> None:
    script = "import sys, snnkit.hw.xylo.simulator.xylo_sim; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
