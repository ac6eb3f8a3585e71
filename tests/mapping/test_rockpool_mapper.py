"""The dict of floats under Rockpool's keys, and Rockpool's own beside it."""

import copy
from importlib import import_module

import numpy as np
import pytest
import torch
from mapping.rockpool_oracle import rockpool_mapper
from torch import nn

from snnkit.hw.xylo import MappingError
from snnkit.hw.xylo.mapping.rockpool_mapper import mapper
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError

KEYS = {
    "mapped_graph", "weights_in", "weights_out", "weights_rec", "dash_mem", "dash_mem_out", "dash_syn",
    "dash_syn_2", "dash_syn_out", "threshold", "threshold_out", "bias", "bias_out", "weight_shift_in",
    "weight_shift_rec", "weight_shift_out", "aliases", "dt",
}  # fmt: skip


def residual_net(source: str = "snnkit") -> nn.Module:
    """The same network from our modules or from Rockpool's: time constants far above dt."""
    modules = import_module(f"{source}.nn.modules")
    combinators = import_module(f"{source}.nn.combinators")
    generator = torch.Generator().manual_seed(4)

    def linear(n_in: int, n_out: int) -> nn.Module:
        return modules.LinearTorch((n_in, n_out), weight=torch.randn(n_in, n_out, generator=generator))

    def lif(size: int, **more: object) -> nn.Module:
        leaks = {
            "tau_mem": torch.rand(size, generator=generator) * 0.05 + 0.02,
            "tau_syn": torch.rand(size, 1, generator=generator) * 0.05 + 0.02,
        }
        values = {"threshold": torch.rand(size, generator=generator) + 0.5,
                  "bias": torch.randn(size, generator=generator)}  # fmt: skip
        return modules.LIFTorch(size, dt=1e-3, **leaks, **values, **more)

    loop = torch.randn(6, 6, generator=generator)
    return combinators.Sequential(
        linear(3, 6), lif(6, has_rec=True, w_rec=loop), combinators.Residual(linear(6, 6), lif(6)),
        linear(6, 2), lif(2),
    )  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("chip", ["a2", "a3", "imu"])
def test_arrays_are_rockpools_where_rockpool_is_right(chip):
    theirs = rockpool_mapper(chip)(residual_net("rockpool").as_graph())
    ours = mapper(residual_net().as_graph(), chip=chip)
    assert set(ours) == KEYS
    assert set(theirs) - set(ours) == set()
    for name in (
        "weights_in",
        "weights_rec",
        "weights_out",
        "threshold",
        "threshold_out",
        "bias",
        "bias_out",
    ):
        assert ours[name].shape == np.asarray(theirs[name]).shape, name
        assert np.allclose(ours[name], theirs[name], atol=1e-6), name
    assert ours["aliases"] == theirs["aliases"]
    assert ours["dt"] == pytest.approx(theirs["dt"])
    for name in ("dash_mem", "dash_syn", "dash_mem_out", "dash_syn_out"):
        # Rockpool's log2(tau / dt) is larger by log2 of (dt / tau) / (1 - exp(-dt / tau)).
        steps = np.exp2(np.asarray(theirs[name], dtype=float))
        exact = -np.log2(-np.expm1(-1 / steps))
        assert np.allclose(ours[name], exact, atol=1e-4), name


@pytest.mark.oracle
def test_two_synapses_are_rockpools_on_the_chip_where_it_keeps_them():
    def build(source: str) -> nn.Module:
        modules, combinators = (
            import_module(f"{source}.nn.modules"),
            import_module(f"{source}.nn.combinators"),
        )
        generator = torch.Generator().manual_seed(2)
        weight = torch.randn(3, 8, generator=generator)
        tau_syn = torch.rand(4, 2, generator=generator) * 0.05 + 0.05
        return combinators.Sequential(
            modules.LinearTorch((3, 8), weight=weight),
            modules.LIFTorch((8, 4), tau_syn=tau_syn, tau_mem=0.1, dt=1e-3),
            modules.LinearTorch((4, 2), weight=torch.randn(4, 2, generator=generator)),
            modules.LIFTorch(2, dt=1e-3),
        )

    theirs = rockpool_mapper("a2")(build("rockpool").as_graph())
    ours = mapper(build("snnkit"), chip="a2")
    assert ours["weights_in"].shape == theirs["weights_in"].shape == (3, 4, 2)
    assert np.allclose(ours["weights_in"], theirs["weights_in"])
    for name in ("dash_syn", "dash_syn_2"):
        assert np.allclose(ours[name], theirs[name], atol=0.02), name


@pytest.mark.parametrize("chip", ["syns61201", "syns63300", "syns65302"])
def test_each_chips_face_has_a_mapper_that_leaves_the_graph_alone(chip):
    graph = residual_net().as_graph()
    before, text = copy.deepcopy(graph.state_dict()), repr(graph)
    face = import_module(f"snnkit.hw.xylo.{chip}")
    spec = face.mapper(graph, weight_dtype="float", threshold_dtype="float", dash_dtype="float")
    assert set(spec) == KEYS
    assert spec["mapped_graph"] is graph
    assert repr(graph) == text
    assert all(torch.equal(before[name], value) for name, value in graph.state_dict().items())


def test_recurrent_residual_blocks_get_weights_that_rockpool_lacks():
    block = Residual(LinearTorch((4, 4)), LIFTorch(4, has_rec=True))
    net = Sequential(LinearTorch((3, 4)), LIFTorch(4), block, LinearTorch((4, 2)), LIFTorch(2))
    spec = mapper(net.as_graph(), chip="imu")
    forward, loop = (weight.detach().double().numpy() for weight in (block[0].weight, block[1].w_rec))
    assert np.allclose(spec["weights_rec"][:4, 4:, 0], forward - loop)


def test_linear_biases_join_the_neurons_biases():
    weight_bias = torch.tensor([0.1, -0.2, 0.3])
    layer = LinearTorch((2, 3), bias=weight_bias)
    net = Sequential(layer, LIFTorch(3, tau_syn=0.02, bias=0.5), LinearTorch((3, 2)), LIFTorch(2))
    decay = np.exp(-1e-3 / 0.02)
    expected = 0.5 + weight_bias.numpy() * decay / (1 - decay)
    assert np.allclose(mapper(net, chip="a2")["bias"], expected, rtol=1e-4)


def test_integer_types_round_and_never_wrap():
    net = residual_net()
    spec = mapper(net, threshold_dtype="int16", dash_dtype="uint8", chip="imu")
    assert spec["dash_mem"].dtype == np.uint8
    assert spec["threshold"].dtype == np.int16
    assert np.array_equal(spec["dash_mem"], np.round(mapper(net, chip="imu")["dash_mem"]))
    with torch.no_grad():
        net[0].weight.mul_(1000)
    with pytest.raises(ConfigurationError, match=r"weights_in reaches from .* does not fit int8"):
        mapper(net, weight_dtype="int8", chip="imu")
    with pytest.raises(ConfigurationError, match="Did you mean 'int8'"):
        mapper(net, weight_dtype="int_8", chip="imu")


def test_own_limits_of_neurons():
    with pytest.raises(MappingError) as caught:
        mapper(residual_net(), max_hidden_neurons=10, max_output_neurons=1, chip="imu")
    assert [(v.rule, v.value, v.limit) for v in caught.value.violations] == [
        ("hidden neurons", 12, 10),
        ("output neurons", 2, 1),
    ]
