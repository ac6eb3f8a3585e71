"""From a trained network to a program: scales, shifts, report."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from snnkit.dag import DagModule
from snnkit.hw.xylo import MappingError, deploy, lower, quantise
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet, WaveSenseNet
from snnkit.transforms.chip import for_chip, scales_of
from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, DataError, ShapeError

IMU = get_chip("imu")


def small_net(seed: int = 0, gain: float = 0.5, **hidden: object) -> nn.Module:
    torch.manual_seed(seed)
    leaks = {"tau_mem": 7.5e-3, "tau_syn": 7.5e-3}
    net = Sequential(
        LinearTorch((6, 16)), LIFTorch(16, max_spikes_per_dt=31, **leaks, **hidden),
        LinearTorch((16, 3)), LIFTorch(3, max_spikes_per_dt=1, **leaks),
    )  # fmt: skip
    with torch.no_grad():
        for index in (0, 2):
            net[index].weight.mul_(gain)
    return net


def events(samples: int = 12, steps: int = 80, channels: int = 6, rate: float = 0.15) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    rates = rate * torch.rand(samples, 1, channels, generator=generator) * 2
    return (torch.rand(samples, steps, channels, generator=generator) < rates).float()


def test_the_program_does_what_the_network_does():
    net, data = small_net(), events()
    deployment = deploy(net, "imu", data)
    report = deployment.report
    assert report.saturations == 0
    assert report.agreement > 0.95
    assert report.same_class >= 0.9
    with torch.no_grad():
        expected = net.eval()(data)[0]
    found = deployment.run(data)
    assert found.shape == expected.shape
    assert found.sum() > 100
    difference = (found.sum(1) - expected.sum(1)).abs().sum() / (found.sum() + expected.sum())
    assert 1 - float(difference) == pytest.approx(report.agreement)
    assert deployment.specification.violations() == ()


def test_network_its_states_and_its_mode_are_left_as_they_were():
    net, data = small_net().train(), events()
    net(data)
    before = copy.deepcopy(net.state_dict())
    deploy(net, "imu", data)
    after = net.state_dict()
    assert net.training
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_deployment_is_deterministic():
    data = events()
    one, other = (deploy(small_net(), "imu", data) for _ in range(2))
    assert one.specification == other.specification
    assert one.report == other.report


def test_a_graph_deploys_like_its_network():
    data = events()
    net = small_net()
    assert deploy(net.as_graph(), "imu", data).specification == deploy(net, "imu", data).specification


def test_scales_keep_every_limit_and_reach_one_of_them():
    net, data = small_net(bias=torch.linspace(-0.05, 0.05, 16)), events()
    deployment = deploy(net, "imu", data)
    spec, plan = deployment.specification, deployment.plan
    scale = deployment.scales["1_LIFTorch"]
    peak = plan.peaks["1_LIFTorch"].numpy() * plan.headroom * scale
    weight = np.abs(net[0].weight.detach().double().numpy()).max(0) * scale / 2**spec.weight_shift_in
    threshold = net[1].threshold.detach().double().numpy() * scale
    bias = np.abs(net[1].bias.detach().double().numpy()) * scale
    used = np.stack(
        [peak / IMU.max_state, weight / IMU.max_weight, threshold / IMU.max_threshold, bias / IMU.max_bias]
    )
    assert np.allclose(used.max(0), 1.0)
    assert np.array_equal(spec.threshold, np.maximum(1, np.round(threshold)))
    assert np.abs(spec.weights_in).max() <= 127
    assert np.abs(spec.bias).max() <= 127


def test_states_in_the_simulator_stay_within_the_observed_peaks():
    net, data = small_net(), events()
    deployment = deploy(net, "imu", data)
    sim = deployment.simulator()
    _, _, record = sim(data, record=True)
    scale = deployment.scales["1_LIFTorch"]
    limit = deployment.plan.peaks["1_LIFTorch"].numpy() * scale * deployment.plan.headroom
    assert (np.abs(record["Vmem"].numpy()) <= limit + 32).all()
    assert sim.counters.total_saturations == 0


def test_linear_biases_become_the_current_at_which_a_synapse_settles():
    net = small_net()
    net_bias = torch.linspace(-0.02, 0.02, 16)
    biased = Sequential(LinearTorch((6, 16), weight=net[0].weight.detach(), bias=net_bias), *list(net)[1:])
    deployment = deploy(biased, "imu", events())
    spec, scale = deployment.specification, deployment.scales["1_LIFTorch"]
    expected = net_bias.double().numpy() * (2.0**spec.dash_syn - 1) * scale
    assert np.array_equal(spec.bias, np.round(expected))
    assert spec.bias.any()
    quiet = torch.zeros(1, 400, 6)
    with torch.no_grad():
        float_rate = biased.eval()[1](biased[0](quiet)[0], record=True)[2]["spikes"].sum((0, 1))
    chip_rate = deployment.simulator()(quiet, record=True)[2]["Spikes"].sum((0, 1))
    assert float_rate.sum() > 10
    assert ((chip_rate - float_rate).abs() <= 2 + 0.2 * float_rate).all()


def test_short_time_constants_do_not_silence_the_network():
    """With tau_syn = 65 ms and dt = 50 ms, log2(tau / dt) rounds to 0, which would clear every synapse."""
    torch.manual_seed(3)
    leaks = {"tau_mem": 0.2, "tau_syn": 65e-3, "dt": 50e-3}
    net = Sequential(
        LinearTorch((6, 16)), LIFTorch(16, max_spikes_per_dt=31, **leaks),
        LinearTorch((16, 3)), LIFTorch(3, max_spikes_per_dt=1, **leaks),
    )  # fmt: skip
    data = events(steps=200, rate=0.5)
    deployment = deploy(net, "a2", data)
    assert (deployment.specification.dash_syn == 1).all()
    layer = deployment.report.layers[0]
    assert layer.tau_syn == pytest.approx((1.4427 * 50e-3, 1.4427 * 50e-3), rel=1e-3)
    assert layer.tau_syn_error == pytest.approx(1.4427 * 50 / 65 - 1, rel=1e-3)
    with torch.no_grad():
        expected = net.eval()(data)[0].sum()
    assert deployment.run(data).sum() > 0.5 * expected > 50


def test_chosen_shifts_are_the_best_of_the_curve_or_better():
    net, data = small_net(), events()
    labels = torch.randint(0, 3, (12,), generator=torch.Generator().manual_seed(1))
    report = deploy(net, "imu", data, labels).report
    assert [point.shift for point in report.shift_curve] == list(range(8))
    clean = [point for point in report.shift_curve if point.saturations == 0]
    assert report.saturations == 0
    assert report.chip_accuracy >= max(point.accuracy for point in clean)
    assert report.float_accuracy is not None
    assert all(point.accuracy is None for point in deploy(net, "imu", data).report.shift_curve)


def test_a_readout_of_the_users_decides_the_classes():
    net, data = small_net(), events()

    def first_to_fire(output: np.ndarray) -> np.ndarray:
        return output.argmax(axis=1).argmin(axis=1)

    with torch.no_grad():
        labels = first_to_fire(net.eval()(data)[0].numpy())
    report = deploy(net, "imu", data, labels, readout=first_to_fire).report
    assert report.float_accuracy == 1.0


def test_network_trained_for_the_chip_keeps_its_very_integers():
    net, data = small_net(bias=0.03), events()
    qat = for_chip(net, "imu", calibration=data)
    deployment = deploy(qat, "imu", data)
    spec = deployment.specification
    for path, scale in scales_of(qat).items():
        assert np.allclose(deployment.scales[path], scale.numpy())
    copied = {
        vertex.name.removesuffix("._mod"): vertex.module for vertex in qat.as_graph().flatten().inner_vertices
    }
    hidden, output = deployment.scales["1_LIFTorch"], deployment.scales["3_LIFTorch"]
    for weights, layer, scale in (
        (spec.weights_in[:, :, 0], "0_LinearTorch", hidden),
        (spec.weights_out, "2_LinearTorch", output),
    ):
        values = copied[layer].weight.double().numpy() * scale
        assert np.allclose(values, weights, atol=1e-3)
    assert np.allclose(copied["1_LIFTorch"].threshold.double().numpy() * hidden, spec.threshold, rtol=1e-6)
    assert np.allclose(copied["1_LIFTorch"].bias.double().numpy() * hidden, spec.bias, atol=1e-3)
    report = deployment.report
    assert max(layer.weight_error for layer in report.layers) < 1e-6
    assert max(layer.tau_mem_error for layer in report.layers) < 1e-5
    assert report.agreement > 0.97


@pytest.mark.parametrize("chip", ["a2", "a3", "imu"])
def test_training_with_a_deployments_plan_gives_the_deployments_program(chip):
    torch.manual_seed(5)
    net = Sequential(
        LinearTorch((6, 12), has_bias=True), LIFTorch(12),
        Residual(LinearTorch((12, 12)), LIFTorch(12, has_rec=True)),
        LinearTorch((12, 3), has_bias=True), LIFTorch(3, bias=0.01),
    )  # fmt: skip
    with torch.no_grad():
        for weight in net.parameters("weights").astorch():
            weight.mul_(0.2)
    data = events()
    deployment = deploy(net, chip, data)
    again = deploy(for_chip(net, chip, plan=deployment.plan), chip)
    assert again.specification == deployment.specification
    assert again.report.weight_shifts == deployment.report.weight_shifts


@pytest.mark.parametrize("chip", ["a1", "a2", "a3", "imu"])
def test_synnets_deploy_to_every_chip(chip):
    torch.manual_seed(0)
    sizes = {"size_hidden_layers": [24, 24], "time_constants_per_layer": [2, 4]}
    net = SynNet(n_classes=4, n_channels=16, **sizes, p_dropout=0.1)
    data = events(4, 60, 16, 0.3)
    deployment = deploy(net, chip, data)
    assert [layer.path for layer in deployment.report.layers][:2] == ["seq.0_neurons", "seq.1_neurons"]
    assert deployment.report.saturations == 0
    assert set(np.unique(deployment.specification.dash_syn)) == {1, 2, 3, 4}
    assert max(layer.tau_syn_error for layer in deployment.report.layers) < 1e-5


def test_wavesense_skip_paths_are_aliases():
    torch.manual_seed(0)
    net = WaveSenseNet(
        dilations=[2, 4], n_classes=3, n_channels_in=6, n_channels_res=8, n_channels_skip=10, n_hidden=12
    )
    deployment = deploy(net, "a3", events(4, 40))
    places = {p.path: (p.start, p.stop) for p in deployment.specification.populations}
    aliases = deployment.specification.aliases
    first, block = places["spk1"], places["wave0.spk2_res"]
    assert aliases[first[0] : first[1]] == tuple((neuron,) for neuron in range(*block))
    skips = places["wave0.spk2_skip"], places["wave1.spk2_skip"]
    assert aliases[slice(*skips[0])] == tuple((neuron,) for neuron in range(*skips[1]))
    assert "wave1.spk2_res" not in places


def test_membrane_readouts_keep_their_scale():
    torch.manual_seed(0)
    net = SynNet(n_classes=3, n_channels=6, size_hidden_layers=[20], output="vmem")
    data = events(6, 100, 6, 0.3)
    deployment = deploy(net, "imu", data)
    assert (deployment.specification.threshold_out == 32767).all()
    assert np.abs(deployment.specification.weights_out).max() > 30
    with torch.no_grad():
        expected = net.eval()(data)[0].double().numpy()
    found = deployment.run(data.numpy(), output_mode="Vmem") / deployment.scales["seq.out_neurons"]
    assert np.abs(found - expected).mean() < 0.02 * np.abs(expected).max()
    assert deployment.report.agreement > 0.9


def test_report_counts_what_the_simulator_lost():
    net = small_net(gain=3.0)
    data = 20.0 * events(4, 30)
    deployment = deploy(net, "imu", data)
    report = deployment.report
    assert report.clipped_inputs == int((data - data.clamp(max=15)).sum())
    sim = deployment.simulator()
    sim(deployment.padded(data))
    assert [layer.clipped_events for layer in report.layers] == [
        int(sim.counters.capped.sum()),
        int(sim.counters.capped_out.sum()),
    ]
    assert report.layers[1].clipped_events > 0


def test_states_that_saturate_are_reported_by_layer():
    net, data = small_net(), events()
    plan = ScalePlan(weight_shift_in=7, weight_shift_rec=7, weight_shift_out=7)
    report = deploy(net, "imu", data, plan=plan).report
    assert report.saturations > 0
    assert sum(layer.saturations for layer in report.layers) == report.saturations
    assert any("saturate" in note for note in report.notes)


def test_lost_weights_and_errors_are_counted():
    net = small_net()
    with torch.no_grad():
        net[0].weight[0, :] = 1e-6
    layer = deploy(net, "imu", events()).report.layers[0]
    assert layer.lost_weights == 16
    assert 0 < layer.weight_error < 0.01
    assert layer.neurons == 16
    assert 0 < layer.scale[0] <= layer.scale[1]


def test_report_prints_every_layer_and_the_curve():
    text = str(deploy(small_net(), "imu", events(), torch.zeros(12, dtype=torch.long)).report)
    for part in ("1_LIFTorch", "3_LIFTorch", "weight shifts", "saturations", "accuracy: network", "tau_syn"):
        assert part in text


def test_without_calibration_the_report_says_what_is_not_known():
    deployment = deploy(small_net(), "imu")
    assert deployment.report.agreement is None
    assert deployment.report.shift_curve == ()
    assert any("No calibration data" in note for note in deployment.report.notes)


def test_silent_networks_are_pointed_out():
    report = deploy(small_net(), "imu", torch.zeros(2, 20, 6)).report
    assert any("silent" in note for note in report.notes)


def test_running_keeps_the_callers_kind_and_rank():
    deployment, data = deploy(small_net(), "imu", events()), events(2, 30)
    batch = deployment.run(data)
    assert isinstance(batch, torch.Tensor)
    assert batch.shape == (2, 30, 3)
    single = deployment.run(data[1].numpy())
    assert isinstance(single, np.ndarray)
    assert np.array_equal(single, batch[1].numpy())


def test_networks_that_do_not_fit_raise_every_violation():
    net = Sequential(LinearTorch((17, 130)), LIFTorch(130), LinearTorch((130, 20)), LIFTorch(20))
    with pytest.raises(MappingError) as caught:
        deploy(net, "imu")
    assert {violation.rule for violation in caught.value.violations} == {
        "input channels", "output neurons", "neurons that take input", "neurons that drive outputs",
    }  # fmt: skip


def test_contradictory_or_impossible_arguments_are_refused():
    net, data = small_net(), events()
    qat = for_chip(net, "imu", calibration=data)
    with pytest.raises(ConfigurationError, match="patched for Xylo-IMU"):
        deploy(qat, "a3", data)
    with pytest.raises(ConfigurationError, match="brings its own plan"):
        deploy(qat, "imu", data, plan=ScalePlan())
    with pytest.raises(ConfigurationError, match="headroom"):
        deploy(net, "imu", data, plan=ScalePlan(), headroom=2.0)
    with pytest.raises(DataError, match="event counts"):
        deploy(net, "imu", data * 0.5)
    with pytest.raises(DataError, match="12 calibration samples need 12 labels"):
        deploy(net, "imu", data, torch.zeros(5))
    with pytest.raises(ShapeError, match="batch, time, channels"):
        deploy(net, "imu", data[0, 0])
    with pytest.raises(ConfigurationError, match="Did you mean '1_LIFTorch'"):
        quantise(lower(net, "imu"), ScalePlan(peaks={"1_LIFTorc": torch.ones(16)}))


def test_peaks_find_their_modules_whatever_a_graph_calls_them():
    class Renamed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_net()

        def forward(self, data: torch.Tensor) -> torch.Tensor:
            return self.inner(data)[0]

        def as_graph(self) -> DagModule:
            graph = DagModule("Renamed")
            value = graph.add_input_vertex("input")
            for name, module in zip(("w", "hidden", "v", "out"), self.inner, strict=True):
                value = graph.add_vertex(name, module, [value])
            graph.mark_as_output(value)
            return graph

    data = events()
    renamed, plain = deploy(Renamed(), "imu", data), deploy(small_net(), "imu", data)
    assert set(renamed.plan.peaks) == {"hidden", "out"}
    assert np.array_equal(renamed.specification.weights_in, plain.specification.weights_in)
    assert np.array_equal(renamed.specification.threshold, plain.specification.threshold)


def test_noise_of_training_does_not_reach_the_program():
    data = events()
    state = torch.get_rng_state()
    noisy, quiet = deploy(small_net(noise_std=2.0), "imu", data), deploy(small_net(), "imu", data)
    assert noisy.specification == quiet.specification
    torch.set_rng_state(state)
    net = small_net(noise_std=2.0)
    before = torch.get_rng_state()
    deploy(net, "imu", data)
    assert torch.equal(torch.get_rng_state(), before)


def test_large_calibration_sets_are_run_in_shares(monkeypatch):
    data = events()
    whole = deploy(small_net(), "imu", data)
    monkeypatch.setattr("snnkit.hw.xylo.deployment.float_run._RECORDED_VALUES", 1)
    assert deploy(small_net(), "imu", data).specification == whole.specification
