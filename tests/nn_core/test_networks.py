import copy
import pickle

import pytest
import torch

from snnkit.nn.modules import LIFBitshiftTorch, LIFTorch, aLIFTorch
from snnkit.nn.networks import SynNet, WaveSenseBlock, WaveSenseNet
from snnkit.parameters import Constant


def wave(**arguments: object) -> WaveSenseNet:
    return WaveSenseNet([1, 2, 4], 3, 4, 5, 6, 7, **arguments)


def busy(batch: int = 2, time: int = 60, channels: int = 4) -> torch.Tensor:
    return (torch.rand(batch, time, channels, generator=torch.Generator().manual_seed(0)) > 0.5) * 20.0


def test_synnet_prints_its_layers():
    net = SynNet(3, 4, [6, 5], [3, 2], p_dropout=0.1)

    assert repr(net).splitlines()[2:-2] == [
        "        LinearTorch '0_linear' with shape (4, 6)",
        "        LIFTorch '0_neurons' with shape (6, 6)",
        "        TimeStepDropout '0_dropout' with shape (6,)",
        "        LinearTorch '1_linear' with shape (6, 5)",
        "        LIFTorch '1_neurons' with shape (5, 5)",
        "        TimeStepDropout '1_dropout' with shape (5,)",
        "        LinearTorch 'out_linear' with shape (5, 3)",
        "        LIFTorch 'out_neurons' with shape (3, 3)",
    ]
    assert net.lif_names == ["0_neurons", "1_neurons", "out_neurons"]
    assert net.label_last_LIF == "out_neurons"


def test_synnet_time_constants_are_powers_tiled_over_the_neurons():
    net = SynNet(3, 4, [5], [3], tau_syn_base=3e-3, quantize_time_constants=False)

    expected = torch.tensor([3e-3, 9e-3, 27e-3, 3e-3, 9e-3])
    assert torch.allclose(net.seq["0_neurons"].tau_syn.flatten(), expected)


def test_synnet_time_constants_have_whole_bit_shifts():
    net = SynNet(3, 4, [10], [10])

    dashes = -torch.log2(1 - torch.exp(-1e-3 / net.seq["0_neurons"].tau_syn.flatten().double()))
    assert torch.allclose(dashes, torch.arange(1, 11).double(), atol=1e-2)


def test_synnet_never_uses_a_bit_shift_of_zero():
    net = SynNet(3, 4, tau_mem=0.2e-3)

    assert net.seq["0_neurons"].tau_mem > 1.4e-3


def test_synnet_weights_scale_with_the_time_constant_of_their_target():
    net = SynNet(3, 400, [600], [2])

    bounds = net.seq["0_linear"].weight.detach().abs().amax(0) / (6 / 400) ** 0.5
    expected = 1e-3 / net.seq["0_neurons"].tau_syn.flatten()
    assert torch.allclose(bounds, expected, rtol=0.05)


def test_synnet_has_no_parameters_but_weights_unless_told_so():
    fixed = SynNet(3, 4).parameters()["seq"]
    trained = SynNet(3, 4, train_time_constants=True, train_threshold=True).parameters()["seq"]

    assert fixed["0_neurons"] == {}
    assert set(trained["0_neurons"]) == {"tau_mem", "tau_syn", "threshold"}
    assert trained["out_neurons"] == {}


def test_synnet_thresholds_of_the_output_may_differ():
    net = SynNet(3, 4, threshold=2.0, threshold_out=[1.0, 2.0, 3.0])

    assert net.seq["0_neurons"].threshold == 2.0
    assert net.seq["out_neurons"].threshold.tolist() == [1.0, 2.0, 3.0]
    assert SynNet(3, 4, threshold=2.0).seq["out_neurons"].threshold == 2.0


def test_synnet_records_every_layers_own_output():
    net = SynNet(3, 4, [6, 5], [3, 2]).eval()

    output, _, record = net(busy(), record=True)

    shapes = [record[f"{name}_output"].shape[-1] for name in net.seq.modules()]
    assert shapes == [6, 6, 5, 5, 3, 3]
    assert record["out_neurons_output"] is output
    assert torch.equal(record["0_neurons_output"], record["0_neurons"]["spikes"])
    assert net(busy())[2] == {}


def test_synnet_can_return_the_membrane_potential_which_is_never_reset():
    torch.manual_seed(0)
    spiking = SynNet(3, 4)
    analog = SynNet(3, 4, output="vmem")
    analog.set_attributes(spiking.parameters())

    output, _, record = analog(busy(), record=True)

    assert torch.equal(output, record["out_neurons"]["vmem"])
    assert not record["out_neurons"]["spikes"].any()
    assert torch.equal(output, analog.reset_state()(busy())[0])
    assert not analog.spiking_output
    assert spiking(busy())[0].max() <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size_hidden_layers": [2], "time_constants_per_layer": [1, 2]}, r"same length \(1 and 2\)"),
        ({"size_hidden_layers": [0], "time_constants_per_layer": [1]}, "at least 1"),
        ({"tau_syn_base": 1e-3}, "larger than the time step"),
        ({"output": "current"}, "not defined"),
        ({"output": "vmem", "threshold_out": 1.0}, "not applied"),
    ],
)
def test_synnet_refuses_misuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        SynNet(3, 4, **arguments)


@pytest.mark.parametrize("model", [LIFTorch, LIFBitshiftTorch, aLIFTorch])
def test_synnet_takes_other_neurons_and_more_arguments_for_them(model):
    net = SynNet(3, 4, neuron_model=model, neuron_kwargs={"learning_window": 0.3})

    assert type(net.seq["0_neurons"]) is model
    assert net.seq["0_neurons"].learning_window == pytest.approx(0.3)
    assert net(busy())[0].shape == (2, 60, 3)


def test_wavesense_prints_its_blocks():
    lines = repr(wave(kernel_size=3)).splitlines()

    assert lines[0] == "WaveSenseNet  with shape (4, 3) {"
    assert lines[3:11] == [
        "    WaveSenseBlock 'wave0' with shape (5, 5) {",
        "        LinearTorch 'lin1' with shape (5, 15)",
        "        LIFTorch 'spk1' with shape (15, 5)",
        "        LinearTorch 'lin2_res' with shape (5, 5)",
        "        LIFTorch 'spk2_res' with shape (5, 5)",
        "        LinearTorch 'lin2_skip' with shape (5, 6)",
        "        LIFTorch 'spk2_skip' with shape (6, 6)",
        "    }",
    ]


def test_wavesense_time_constants_are_dilated():
    net = WaveSenseNet([1, 8], kernel_size=4, base_tau_syn=10e-3, tau_mem=7e-3, tau_lp=33e-3)

    assert torch.allclose(net.wave0.spk1.tau_syn[0], torch.tensor([10e-3, 10e-3, 20e-3, 30e-3]))
    assert torch.allclose(net.wave1.spk1.tau_syn[3], torch.tensor([10e-3, 80e-3, 160e-3, 240e-3]))
    assert float(net.wave1.spk1.tau_mem) == pytest.approx(240e-3)
    assert float(net.wave1.spk2_res.tau_mem) == pytest.approx(7e-3)
    assert float(net.spk_out.tau_mem) == float(net.spk_out.tau_syn) == pytest.approx(33e-3)


def test_wavesense_output_may_be_left_unsmoothed():
    net = wave(smooth_output=False, tau_mem=7e-3, base_tau_syn=9e-3, tau_lp=99e-3)

    assert float(net.spk_out.tau_mem) == pytest.approx(7e-3)
    assert float(net.spk_out.tau_syn) == pytest.approx(9e-3)


def test_wavesense_biases_are_trained_unless_constant():
    trained = wave(bias=0.1)

    assert "bias" in trained.parameters()["wave1"]["spk2_skip"]
    assert "bias" not in wave(bias=Constant(0.1)).parameters()["spk1"]
    assert "bias" not in wave().parameters()["spk1"]


def test_wavesense_records_the_right_tensors():
    net = wave()

    output, _, record = net(busy(), record=True)

    assert record["spk_out_output"] is output
    assert record["wave0"]["lin1_output"].shape[-1] == 10
    assert torch.equal(record["wave0"]["spk1_output"], record["wave0"]["spk1"]["spikes"])
    assert torch.equal(record["wave0_output"], record["spk1_output"] + record["wave0"]["spk2_res_output"])
    skips = sum(record[f"wave{i}"]["spk2_skip_output"] for i in range(3))
    assert torch.equal(record["hidden_output"], skips @ net.hidden.weight)
    assert net(busy())[2] == {}


def test_wavesense_block_alone_returns_its_residual():
    block = WaveSenseBlock(5, 6, dilation=2, threshold=0.1)
    data = busy(channels=5)

    residual, skip, _ = block.paths(data)
    block.reset_state()

    assert torch.equal(block(data)[0], residual)
    assert skip.shape == (2, 60, 6)


@pytest.mark.parametrize(
    "arguments", [{"dilations": []}, {"dilations": [0]}, {"dilations": [1], "kernel_size": 0}]
)
def test_wavesense_refuses_misuse(arguments):
    with pytest.raises(ValueError, match="dilation"):
        WaveSenseNet(**arguments)


@pytest.mark.parametrize(
    "make",
    [lambda: SynNet(3, 4, [6, 5], [3, 2], p_dropout=0.2), lambda: SynNet(3, 4, output="spikes"), wave,
     lambda: WaveSenseNet([2], 3, 4), lambda: wave(threshold=0.1).wave1],
)  # fmt: skip
def test_graphs_compute_what_the_networks_do(make):
    net = make().eval()
    data = busy(channels=net.size_in)
    expected = net(data)[0]
    assert expected.any()

    net.reset_state()

    assert torch.equal(net.as_graph().flatten()(data), expected)


def test_graph_of_wavesense_adds_skips_and_leaves_out_the_dead_residual():
    names = [vertex.name for vertex in wave().as_graph().flatten().inner_vertices]

    assert "wave0.add" in names
    assert "wave1.spk2_res" in names
    assert "wave2.spk2_skip" in names
    assert not {"wave2.add", "wave2.lin2_res", "wave2.spk2_res"} & set(names)
    adder = wave().as_graph().flatten().get_vertex_by_name("skip_add")
    assert [v.name for v in adder.predecessors] == [f"wave{i}.spk2_skip" for i in range(3)]


@pytest.mark.parametrize("make", [lambda: SynNet(3, 4, output="vmem"), wave])
def test_networks_are_copied_pickled_saved_and_trained(make, tmp_path):
    net = make()
    optimiser = torch.optim.Adam(net.parameters().astorch(), lr=0.01)
    net(busy(), record=True)[0].sum().backward()
    optimiser.step()
    net.reset_state()
    net.save(tmp_path / "net.json")
    expected = net(busy())[0]
    net.reset_state()

    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), make().load(tmp_path / "net.json")):
        assert torch.equal(twin(busy())[0], expected)
