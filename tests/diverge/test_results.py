"""What a comparison looks like: table, JSON, picture, and what is refused."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import snnkit.hw
from snnkit.hw import Comparison, Divergence, connect, diverge
from snnkit.hw.divergence.result import CAUSES
from snnkit.hw.fake_samna import FakeSamna
from snnkit.hw.fake_samna.alterations import Alteration as Fault
from snnkit.hw.xylo import Specification, XyloSim, chip_exact, lower, quantise, validate
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.hop_delays import with_hop_delays
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.utilities.errors import ConfigurationError, DataError, FileFormatError, ShapeError

LIF = {"dt": 5e-3, "max_spikes_per_dt": 31, "threshold": 1.0}


def chain(seed: int = 0, n: int = 8) -> TorchModule:
    torch.manual_seed(seed)
    return Sequential(
        LinearTorch((3, n), has_bias=False), LIFTorch(n, has_rec=True, **LIF),
        LinearTorch((n, n), has_bias=False), LIFTorch(n, **LIF),
        LinearTorch((n, 2), has_bias=False), LIFTorch(2, dt=5e-3, max_spikes_per_dt=1),
    )  # fmt: skip


def raster(samples: int = 4, steps: int = 25) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, (samples, steps, 3))


def program(net: TorchModule | None = None) -> Specification:
    return quantise(lower(net or chain(), "imu")).specification


def busiest(spec: Specification) -> int:
    """Return the hidden neuron with the most events."""
    return int(XyloSim(spec)(raster(2), record=True)[2]["Spikes"].sum(axis=(0, 1)).argmax())


def altered(spec: Specification) -> Specification:
    threshold = spec.threshold.copy()
    threshold[2] += threshold[2] // 3
    return dataclasses.replace(spec, threshold=threshold)


def test_the_table() -> None:
    net = chain()
    found = diverge(net, program(net), raster())
    lines = str(found).splitlines()
    assert lines[0] == "net and program: 4 samples of 25 steps"
    head = "layer neurons delay net program same rate error spike distance state error"
    assert lines[2].split() == head.split()
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["1_LIFTorch", "8", "0"], ["3_LIFTorch", "8", "1"], ["5_LIFTorch", "2", "2"],
    ]  # fmt: skip
    assert lines[-1].startswith("first difference: sample ")
    assert found.divergence is not None
    assert found.divergence.cause in CAUSES


def test_figures_of_known_records() -> None:
    spec, counts = program(), raster(2)
    events = XyloSim(spec)(counts, record=True)[2]["Spikes"].astype(int)
    more = events.copy()
    more[1, 7, 3] += 2
    found = diverge({"Spikes": events}, {"Spikes": more} | {}, counts, specification=spec)
    first = found.layers[0]
    assert (first.a_events, first.b_events) == (events[:, :, :8].sum(), events[:, :, :8].sum() + 2)
    assert first.same_events == pytest.approx(1 - 1 / (2 * 25 * 8))
    assert first.rate_error == pytest.approx(2 / more[:, :, :8].sum())
    assert first.first_step == 7
    assert first.error_over_time[7] == pytest.approx(1 / 16)
    assert sum(first.error_over_time) == first.error_over_time[7]
    assert 0 < first.spike_distance < 0.01
    assert (found.layers[1].same_events, found.layers[1].first_step) == (1.0, None)
    assert found.layers[2].a_events is None


def test_a_time_shift_costs_spike_distance_little_and_rate_nothing() -> None:
    spec, counts = program(), np.pad(raster(2), ((0, 0), (0, 5), (0, 0)))
    events = np.zeros((2, 30, 16), int)
    events[:, 4:20:4, 0] = 1
    later = np.roll(events, 1, axis=1)
    found = diverge({"Spikes": events}, {"Spikes": later}, counts, specification=spec).layers[0]
    assert found.rate_error == 0
    assert 0 < found.spike_distance < 0.2


def test_json_round_trip_through_text() -> None:
    net = chain()
    spec = program(net)
    for found in (
        diverge(net, spec, raster()),
        diverge(spec, altered(spec), raster()),
        diverge(spec, {"Vmem": XyloSim(altered(spec))(raster(), record=True)[2]["Vmem"]}, raster()),
        diverge(spec, spec, raster()),
    ):
        text = json.dumps(found.to_json(), allow_nan=False)
        again = Comparison.from_json(json.loads(text))
        assert again == found
        assert str(again) == str(found)
        if found.divergence is not None:
            assert (
                Divergence.from_json(json.loads(json.dumps(found.divergence.to_json()))) == found.divergence
            )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "no comparison"),
        ({"format": "snnkit comparison", "version": 9}, "version 9"),
        ({"format": "snnkit comparison", "version": 1, "layer": []}, "'layers'"),
        ({"format": "snnkit comparison", "version": 1, "layers": []}, "damaged"),
    ],
)
def test_other_json_is_refused(table: dict, words: str) -> None:
    with pytest.raises(FileFormatError, match=words):
        Comparison.from_json(table)


def test_the_picture() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    net = chain()
    found = diverge(net, program(net), raster())
    axes = found.plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert {"same events", "first difference"} <= set(labels)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [layer.path for layer in found.layers]
    assert len(axes.child_axes[0].lines) == len(found.layers)
    _, mine = pyplot.subplots()
    assert Comparison.from_json(found.to_json()).plot(mine) is mine
    same = diverge(net, net, raster()).plot()
    assert "no difference" in same.get_title()
    pyplot.close("all")


def test_chip_exact_networks() -> None:
    net = chain()
    exact = chip_exact(net, "imu", calibration=raster())
    for other in (exact.specification, exact):
        found = diverge(exact, other, raster())
        assert found.equal
        assert all(layer.state_error == 0 for layer in found.layers)
    found = diverge(net, exact, raster())
    assert [layer.delay for layer in found.layers] == [0, 1, 2]
    assert found.divergence is not None
    assert found.divergence.cause in {
        "dash rounding",
        "weight rounding",
        "threshold rounding",
        "integer states",
    }


def test_hop_delays_are_lined_up() -> None:
    net = chain()
    late = with_hop_delays(net)
    found = diverge(net, late, raster())
    assert [layer.delay for layer in found.layers] == [0, 1, 2]
    assert found.equal
    assert [layer.delay for layer in diverge(late, net, raster()).layers] == [0, -1, -2]
    assert [layer.delay for layer in diverge(late, program(net), raster()).layers] == [0, 0, 0]


def test_either_order_finds_the_same_place() -> None:
    torch.manual_seed(2)
    net = Sequential(
        LinearTorch((3, 6), has_bias=False), LIFTorch(6, **LIF),
        Residual(LinearTorch((6, 6), has_bias=False), LIFTorch(6, **LIF)),
        LinearTorch((6, 2), has_bias=False), LIFTorch(2, dt=5e-3, max_spikes_per_dt=1),
    )  # fmt: skip
    one, other = diverge(net, program(net), raster()), diverge(program(net), net, raster())
    assert one.divergence is not None
    assert other.divergence is not None
    place = ("time", "layer", "neuron", "sample", "cause")
    assert [getattr(one.divergence, k) for k in place] == [getattr(other.divergence, k) for k in place]
    assert one.divergence.a_value == other.divergence.b_value
    assert [layer.same_events for layer in one.layers] == [layer.same_events for layer in other.layers]


def test_sides_are_left_as_they_are() -> None:
    net = chain()
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    diverge(net, program(net), raster())
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    sim = XyloSim(program(net))
    sim(raster(1))
    state = sim._state.vmem.copy()
    assert diverge(sim, program(net), raster()).equal
    np.testing.assert_array_equal(sim._state.vmem, state)


@pytest.mark.parametrize("field", ["weights_rec", "dash_mem", "threshold", "bias", "aliases"])
def test_an_imitated_board_with_a_fault(field: str) -> None:
    spec = program()
    neuron = busiest(spec)
    index = (neuron, (neuron + 1) % 8, 0) if field == "weights_rec" else (neuron,)
    half = int(spec.threshold[neuron]) // 2
    value = {"weights_rec": 90, "dash_mem": 1, "threshold": half, "bias": 25, "aliases": (5,)}[field]
    driver = FakeSamna(["imu"], alter=Fault(field, index, value))
    with connect("samna:", driver=driver) as session:
        found = diverge(spec, session, raster(2)).divergence
    assert found is not None
    assert found.cause == "altered parameter"
    assert field in [candidate.parameter for candidate in found.candidates if candidate.explained == 1]
    assert found.candidates[0].layer in ("1_LIFTorch", "3_LIFTorch")


def test_a_recorded_session(tmp_path: Path) -> None:
    spec, counts = program(), raster(2)
    driver = FakeSamna(
        ["imu"], alter=Fault("threshold", (busiest(spec),), int(spec.threshold[busiest(spec)]) // 2)
    )
    with connect("samna:", driver=driver, record_to=tmp_path / "run.xrec") as session:
        session.configure(spec)
        session.run(counts, record=True)
    with connect(f"replay:{tmp_path / 'run.xrec'}") as session:
        found = diverge(spec, session, counts).divergence
    assert found is not None
    assert (found.cause, found.candidates[0].parameter) == ("altered parameter", "threshold")


def test_what_is_refused() -> None:
    net, spec, counts = chain(), program(), raster()
    with pytest.raises(ConfigurationError, match="str is no side"):
        diverge("net", spec, counts)
    with pytest.raises(ConfigurationError, match="which program"):
        diverge({"Spikes": counts}, net, counts)
    with pytest.raises(ConfigurationError, match="not one of this network"):
        diverge(chain(n=5), spec, counts)
    with pytest.raises(ConfigurationError, match="not programs of one network"):
        diverge(spec, program(chain(n=5)), counts)
    with pytest.raises(ConfigurationError, match="Unknown chip 'a9'"):
        diverge(net, net, counts, chip="a9")
    ruined = chain()
    ruined[0].weight.data[0, 0] = torch.nan
    with pytest.raises(DataError, match="1_LIFTorch of the network has states that are not finite"):
        diverge(ruined, spec, counts)
    with pytest.raises(ConfigurationError, match="share no neurons"):
        diverge(chain(), Sequential(LinearTorch((3, 2))), counts)
    with pytest.raises(ShapeError, match="channels"):
        diverge(net, spec, counts[:, :, :2])
    with pytest.raises(DataError, match="whole numbers"):
        diverge(net, spec, counts + 0.5)
    with pytest.raises(DataError, match="'Spikes'"):
        diverge(spec, {"spikes": counts}, counts)
    with pytest.raises(DataError, match="empty"):
        diverge(spec, {}, counts)
    with pytest.raises(ShapeError, match="neurons of the program"):
        diverge(spec, {"Spikes": np.zeros((4, 25, 3), int)}, counts)
    with pytest.raises(DataError, match="no whole numbers"):
        diverge(spec, {"Vmem": np.full((4, 25, 16), 0.5)}, counts)
    with pytest.raises(ShapeError, match="different numbers of steps"):
        diverge(spec, {"Vmem": np.zeros((4, 25, 16), int), "Spikes": np.zeros((4, 24, 16), int)}, counts)


def test_no_samples_and_no_steps() -> None:
    spec = program()
    assert diverge(spec, altered(spec), raster()[:0]).equal
    assert diverge(spec, altered(spec), raster()[:, :0]).equal
    assert diverge(chain(), spec, raster()[:0]).samples == 0


def test_validation_is_a_comparison_with_classes() -> None:
    net = chain()
    spec = program(net)
    found = validate(net, spec, raster(), labels=[0, 1, 0, 1])
    assert (found.comparison.a, found.comparison.b) == ("net", "chip")
    assert found.populations == found.comparison.layers == diverge(net, spec, raster()).layers
    assert str(found).startswith("same class in ")
    assert "diverge" in dir(snnkit.hw)
