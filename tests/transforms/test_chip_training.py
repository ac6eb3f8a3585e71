"""``for_chip``: the network computes with the chip's integers, and trains."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from snnkit.hw.xylo import deploy
from snnkit.nn.combinators import FFwdStack, Residual, Sequential
from snnkit.nn.modules import ExpSynTorch, LIFTorch, LinearTorch, aLIFTorch
from snnkit.nn.networks import SynNet
from snnkit.transforms import (
    FanInPruning,
    ScalePlan,
    apply_T,
    chip_of,
    for_chip,
    make_param_T_config,
    make_param_T_network,
    observe_state_peaks,
    plan_of,
    recalibrate,
    remove_T_net,
    scales_of,
)
from snnkit.utilities.errors import ConfigurationError, DataError

CONTENT = (
    *("weights_in", "weights_rec", "weights_out", "threshold", "threshold_out", "bias", "bias_out"),
    *("dash_mem", "dash_syn", "dash_syn_2", "dash_mem_out", "dash_syn_out"),
)


def events(steps=30, batch=4, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 3, (batch, steps, channels), generator=generator).float()


def residual_net():
    return Sequential(
        LinearTorch((3, 5), has_bias=True),
        LIFTorch(5, tau_syn=0.01, bias=0.01),
        Residual(LinearTorch((5, 5)), LIFTorch(5, has_rec=True)),
        LinearTorch((5, 3)),
        LIFTorch(3),
    )


NETS = {
    "residual": ("imu", residual_net),
    "two synapses": (
        "a2",
        lambda: Sequential(
            LinearTorch((3, 10)),
            LIFTorch((10, 5), has_rec=True, tau_syn=torch.tensor([[0.003, 0.02]])),
            LinearTorch((5, 3)),
            LIFTorch(3),
        ),
    ),
    "adaptive": (
        "a2",
        lambda: Sequential(LinearTorch((3, 5)), aLIFTorch(5, tau_ahp=0.05), LinearTorch((5, 3)), LIFTorch(3)),
    ),
    "weights in a container": (
        "imu",
        lambda: Sequential(
            LinearTorch((3, 4)),
            FFwdStack(LIFTorch(4, leak_mode="decays", alpha=0.9), LIFTorch(3, leak_mode="bitshifts")),
        ),
    ),
    "SynNet": (
        "a3",
        lambda: SynNet(n_classes=2, n_channels=3, size_hidden_layers=[6, 6], time_constants_per_layer=[2, 3]),
    ),
    "membrane readout": (
        "a3",
        lambda: SynNet(
            n_classes=2, n_channels=3, size_hidden_layers=[6], time_constants_per_layer=[2], output="vmem"
        ),
    ),
    "plain torch weights": (
        "imu",
        lambda: Sequential(nn.Linear(3, 5), LIFTorch(5, threshold=0.7), LinearTorch((5, 2)), LIFTorch(2)),
    ),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shifts", [(0, 0, 0), (1, 2, 3)])
def test_trained_values_are_the_integers_that_deployment_makes(name, shifts):
    torch.manual_seed(0)
    chip, build = NETS[name]
    net = build()
    plan = ScalePlan(*shifts, peaks=observe_state_peaks(net, events()))
    qat = for_chip(net, chip, plan=plan)
    deployed = deploy(net, chip, plan=plan)
    from_graph = deploy(qat, chip)
    applied = deploy(remove_T_net(apply_T(qat)), chip, plan=plan)
    for content in CONTENT:
        expected = getattr(deployed.specification, content)
        for program in (from_graph, applied):
            np.testing.assert_array_equal(getattr(program.specification, content), expected, err_msg=content)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_train_with_the_integers_that_deployment_makes(seed):
    torch.manual_seed(seed)
    mode, leaks = [
        ("taus", {"tau_mem": 3e-3 + torch.rand(5) * 0.05, "tau_syn": 3e-3 + torch.rand(5, 1) * 0.05}),
        ("decays", {"alpha": 0.5 + torch.rand(5) * 0.49, "beta": 0.5 + torch.rand(5, 1) * 0.49}),
        ("bitshifts", {"dash_mem": 1 + torch.rand(5) * 6, "dash_syn": 1 + torch.rand(5, 1) * 6}),
    ][seed % 3]
    neurons = [
        LIFTorch(5, mode, **leaks, threshold=0.01 + torch.rand(5), bias=0.1 * torch.rand(5), has_rec=has_rec)
        for has_rec in (False, True, True)
    ]
    net = Sequential(
        LinearTorch((3, 5), has_bias=seed % 2 == 0),
        neurons[0],
        Residual(LinearTorch((5, 5)), neurons[1]),
        Residual(LinearTorch((5, 4)), LIFTorch(4), LinearTorch((4, 5)), neurons[2]),
        LinearTorch((5, 3)),
        LIFTorch(3),
    )
    with torch.no_grad():
        for weight in net.parameters("weights").astorch():
            weight.mul_(10 ** float(torch.rand(()) * 2 - 1.5))
            weight[torch.rand_like(weight) < 0.3] = 0
    plan = ScalePlan(seed % 3, seed % 4, seed % 5, observe_state_peaks(net, events()))
    expected = deploy(net, "imu", plan=plan).specification
    qat = for_chip(net, "imu", plan=plan)
    programs = (deploy(qat, "imu"), deploy(remove_T_net(apply_T(qat)), "imu", plan=plan))
    for content in CONTENT:
        for program in programs:
            found = getattr(program.specification, content)
            np.testing.assert_array_equal(found, getattr(expected, content), err_msg=content)


def test_values_in_use_are_whole_numbers_of_state_units():
    torch.manual_seed(0)
    net = residual_net()
    qat = for_chip(net, "imu", calibration=events()).eval()
    scale = scales_of(qat)["1_LIFTorch"]
    values = qat[1].transformed_values()
    for value in (qat[0].transformed_values()["weight"], values["threshold"], values["bias"]):
        units = value.detach().double() * scale
        torch.testing.assert_close(units, units.round(), rtol=0, atol=1e-3)
    # The bias of the linear layer is folded into that of the neurons.
    assert qat[0].transformed_values()["bias"].eq(0).all()
    decay = torch.exp(-net[1].dt / values["tau_syn"].double())
    torch.testing.assert_close(-torch.log2(1 - decay), torch.full_like(decay, 3.0), rtol=0, atol=1e-4)
    assert values["max_spikes_per_dt"] == 31
    assert qat[4].transformed_values()["max_spikes_per_dt"] == 1


def test_evaluation_is_that_of_the_network_with_the_applied_values():
    torch.manual_seed(0)
    qat = for_chip(residual_net(), "imu", calibration=events()).eval()
    applied = remove_T_net(apply_T(qat))
    assert [applied[1].max_spikes_per_dt, applied[4].max_spikes_per_dt] == [31, 1]
    output, _, record = qat(events(), record=True)
    expected, _, expected_record = applied(events(), record=True)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(record["1_LIFTorch"]["vmem"], expected_record["1_LIFTorch"]["vmem"])
    assert output.max() <= 1


def test_saturating_states_limit_the_scale():
    torch.manual_seed(0)
    net = residual_net()
    peaks = {path: peak * 100 for path, peak in observe_state_peaks(net, events()).items()}
    qat = for_chip(net, "imu", plan=ScalePlan(peaks=peaks))
    scale = scales_of(qat)["4_LIFTorch"]
    torch.testing.assert_close(
        scale * peaks["4_LIFTorch"] * 1.25, torch.full((3,), 32767.0, dtype=torch.float64)
    )


def test_peaks_count_the_states_before_they_leak_and_reset():
    net = Sequential(
        LinearTorch((1, 1), weight=torch.ones(1, 1)),
        LIFTorch(1, leak_mode="decays", alpha=0.5, beta=0.5, threshold=2.0),
    )
    peaks = observe_state_peaks(net, torch.tensor([[[8.0], [0.0]]]))
    # The synapse holds 8 before it leaks; the membrane gets 4, fires twice, and then gets 2.
    assert peaks["1_LIFTorch"].tolist() == [8.0]
    negative = observe_state_peaks(net, torch.tensor([[[0.0], [-6.0], [0.0]]]))
    assert negative["1_LIFTorch"].tolist() == [6.0]
    assert net[1].vmem.item() == 0


def test_observation_leaves_the_network_as_it_is_and_refuses_nonsense():
    torch.manual_seed(0)
    net = residual_net().train()
    net(events())
    before = copy.deepcopy(net.state_dict())
    observe_state_peaks(net, events(batch=2))
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    with pytest.raises(DataError, match="Calibration needs data"):
        observe_state_peaks(net, torch.zeros(0, 10, 3))
    with pytest.raises(DataError, match="not finite"):
        observe_state_peaks(net, torch.full((1, 4, 3), torch.inf))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    qat = for_chip(residual_net(), "imu", calibration=events())
    record = qat(events(), record=True)[2]
    record["4_LIFTorch"]["vmem"].square().mean().backward()
    for name, parameter in qat.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_small_network_learns_through_chip_arithmetic():
    torch.manual_seed(0)
    inputs = torch.zeros(2, 20, 2)
    inputs[0, :, 0] = inputs[1, :, 1] = 2
    labels = torch.tensor([0, 1])
    taus = {"tau_mem": 0.01, "tau_syn": 0.005}
    net = Sequential(
        LinearTorch((2, 8), weight=torch.rand(2, 8)),
        LIFTorch(8, threshold=0.5, **taus),
        LinearTorch((8, 2), weight=torch.rand(8, 2) * 0.02),
        LIFTorch(2, learning_window=2.0, **taus),
    )
    qat = for_chip(net, "imu", calibration=inputs, inplace=True)
    assert qat is net
    optimiser = torch.optim.Adam(qat.parameters("weights").astorch(), lr=2e-2)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        qat.reset_state()
        output, _, _ = qat(inputs)
        loss = nn.functional.cross_entropy(output.sum(1) * 0.5, labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    qat.eval().reset_state()
    assert qat(inputs)[0].sum(1).argmax(1).tolist() == [0, 1]


def test_the_plan_is_kept_and_can_be_observed_anew():
    torch.manual_seed(0)
    net = residual_net()
    qat = for_chip(net, "imu", calibration=events())
    assert chip_of(qat).name == "imu"
    assert chip_of(net) is None
    assert plan_of(net) is None
    first = plan_of(qat)
    assert set(first.peaks) == {"1_LIFTorch", "2_TorchResidual.1_LIFTorch", "4_LIFTorch"}
    with torch.no_grad():
        qat[3].weight.mul_(10)
    second = recalibrate(qat, events())
    assert plan_of(qat) is second
    assert (second.peaks["4_LIFTorch"] > 5 * first.peaks["4_LIFTorch"]).all()
    with pytest.raises(ConfigurationError, match="use for_chip first"):
        recalibrate(net, events())


def test_copies_and_pickles_are_independent_and_equal():
    torch.manual_seed(0)
    qat = for_chip(residual_net(), "imu", calibration=events())
    expected = qat(events(), record=True)[0]
    for twin in (copy.deepcopy(qat), pickle.loads(pickle.dumps(qat))):
        twin.reset_state()
        assert torch.equal(twin(events())[0], expected)
        with torch.no_grad():
            twin[0].weight.zero_()
        assert scales_of(twin)["1_LIFTorch"].ne(scales_of(qat)["1_LIFTorch"]).any()
    assert list(qat.state_dict()) == list(residual_net().state_dict())
    qat.load_state_dict(residual_net().state_dict())


def test_pruning_comes_before_the_chips_rounding():
    torch.manual_seed(0)
    net = residual_net()
    pruned = make_param_T_network(net, make_param_T_config(net, FanInPruning(2), "weight"))
    qat = for_chip(pruned, "imu")
    weight = remove_T_net(apply_T(qat))[0].weight
    assert (weight != 0).sum(0).tolist() == [2] * 5


def test_parallel_layers_round_as_their_sum():
    torch.manual_seed(0)

    from snnkit.dag import Add, DagModule
    from snnkit.nn.modules import TorchModule

    class Twice(TorchModule):
        def __init__(self):
            super().__init__(shape=(3, 2))
            self.first, self.second = LinearTorch((3, 4)), LinearTorch((3, 4))
            self.neurons, self.out, self.last = LIFTorch(4), LinearTorch((4, 2)), LIFTorch(2)

        def forward(self, data):
            current = self.first(data)[0] + self.second(data)[0]
            return self.last(self.out(self.neurons(current)[0])[0])[0]

        def as_graph(self):
            graph = DagModule("Twice")
            source = graph.add_input_vertex("input")
            parts = [
                graph.add_vertex(name, self._modules[name].as_graph(), [source])
                for name in ("first", "second")
            ]
            value = graph.add_vertex("add", Add(), parts)
            for name in ("neurons", "out", "last"):
                value = graph.add_vertex(name, self._modules[name].as_graph(), [value])
            graph.mark_as_output(value)
            return graph

    net = Twice()
    qat = for_chip(net, "imu", calibration=events())
    total = sum(qat._modules[name].evaluation_values()["weight"].double() for name in ("first", "second"))
    units = total * scales_of(qat)["neurons"]
    torch.testing.assert_close(units, units.round(), rtol=0, atol=1e-3)
    assert units.round().abs().max() <= 127


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Sequential(LinearTorch((3, 3)), ExpSynTorch(3)), "1_ExpSynTorch: ExpSynTorch cannot"),
        (
            lambda: Sequential(LIFTorch(3), LinearTorch((3, 3)), LIFTorch(3)),
            "0_LIFTorch: events reach neurons",
        ),
        (lambda: nn.Linear(3, 3), "Linear has no graph"),
    ],
)
def test_networks_that_no_chip_scale_fits_are_refused(build, message):
    with pytest.raises(ConfigurationError, match=message):
        for_chip(build(), "imu")


def test_all_unfit_places_are_named_at_once():
    net = Sequential(LIFTorch(3), LinearTorch((3, 3)), ExpSynTorch(3))
    with pytest.raises(ConfigurationError) as caught:
        for_chip(net, "imu")
    assert "0_LIFTorch" in str(caught.value)
    assert "2_ExpSynTorch" in str(caught.value)


def test_a_chip_without_bias_refuses_biases_and_keeps_zero_ones():
    with pytest.raises(ConfigurationError, match=r"no bias, but 1_LIFTorch\.bias, 0_LinearTorch\.bias"):
        for_chip(residual_net(), "a1")
    net = Sequential(LinearTorch((3, 4)), LIFTorch(4), LinearTorch((4, 2)), LIFTorch(2))
    qat = for_chip(net, "a1")
    assert qat[1].transformed_values()["bias"].eq(0).all()


def test_contradictions_are_refused():
    net = residual_net()
    with pytest.raises(ConfigurationError, match="not both"):
        for_chip(net, "imu", calibration=events(), plan=ScalePlan())
    with pytest.raises(ConfigurationError, match="patched for a chip already"):
        for_chip(for_chip(net, "imu"), "imu")
    with pytest.raises(ConfigurationError, match="Unknown chip"):
        for_chip(net, "xylo9")


def test_scalar_parameters_become_one_value_per_neuron_when_applied():
    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((3, 4)),
        LIFTorch(4, threshold=torch.tensor(0.7), bias=torch.tensor(0.1)),
        LinearTorch((4, 2)),
        LIFTorch(2),
    )
    assert net[1].threshold.shape == ()
    applied = remove_T_net(apply_T(for_chip(net, "imu")))
    assert applied[1].threshold.shape == (4,)
    applied.reset_parameters()
    assert applied[1].threshold.shape == (4,)
    applied(events())
