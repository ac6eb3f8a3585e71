"""Each cause of a difference between a network and its chip, made on purpose and found."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from snnkit.hw import diverge
from snnkit.hw.xylo import Specification, lower, quantise
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.hop_delays import with_hop_delays
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.transforms import for_chip
from snnkit.transforms.chip import plan_of, scales_of

DT = 5e-3


def lif(n: int, **options: Any) -> LIFTorch:
    """Neurons whose decays are bit shifts: membranes keep 3/4 in a step, synapses 1/2."""
    settings = {"leak_mode": "bitshifts", "dash_mem": 2.0, "dash_syn": 1.0, "dt": DT, "max_spikes_per_dt": 31}
    return LIFTorch(n, **(settings | options))


def one_neuron(weight: float = 8.0, threshold: float = 4.0, bias: float = 0.0, **options: Any) -> TorchModule:
    """One hidden neuron and one output; every value is a small whole number."""
    first = LinearTorch((1, 1), weight=torch.tensor([[weight]]), has_bias=bool(bias))
    if bias:
        first.bias = torch.nn.Parameter(torch.tensor([bias]))
    return Sequential(
        first, lif(1, threshold=threshold, **options),
        LinearTorch((1, 1), weight=torch.tensor([[1.0]]), has_bias=False), lif(1, max_spikes_per_dt=1),
    )  # fmt: skip


def pulses(*counts: int, steps: int = 30) -> np.ndarray:
    raster = np.zeros((1, steps, 1), int)
    raster[0, : len(counts), 0] = counts
    return raster


def cause_of(net: TorchModule, program: Any, raster: np.ndarray) -> str:
    found = diverge(net, program, raster).divergence
    assert found is not None
    assert found.reason.startswith(found.cause)
    assert found.a_value != found.b_value
    return found.cause


def program_of(net: TorchModule, **values: Any) -> Specification:
    """Quantise, and change some of the program's arrays."""
    return dataclasses.replace(quantise(lower(net, "imu")).specification, **values)


def test_a_network_of_whole_numbers_has_no_difference() -> None:
    net, raster = one_neuron(weight=8.0, threshold=3.0), pulses(1)
    program = program_of(net, weights_in=[[[64]]], threshold=[24], weights_out=[[8]], threshold_out=[8])
    found = diverge(net, program, raster[:, :3])
    assert found.divergence is None
    assert found.equal
    assert "no difference" in str(found)


def test_clipped_input() -> None:
    net = one_neuron(threshold=50.0)
    assert cause_of(net, program_of(net), pulses(0, 40)) == "clipped events"


def test_clipped_events_of_a_neuron() -> None:
    net = one_neuron(weight=20.0, threshold=1.0, max_spikes_per_dt=1000)
    assert cause_of(net, program_of(net), pulses(0, 15)) == "clipped events"


def test_more_events_than_the_network_allows() -> None:
    net = one_neuron(weight=20.0, threshold=1.0, max_spikes_per_dt=2)
    assert cause_of(net, program_of(net), pulses(1)) == "clipped events"


def test_dash_rounding() -> None:
    taus = {"leak_mode": "taus", "tau_mem": 2.4 * DT, "tau_syn": 2.4 * DT, "dash_mem": None, "dash_syn": None}
    net = one_neuron(weight=1.0, threshold=2.5, **taus)
    raster = np.ones((1, 30, 1), int)
    assert cause_of(net, program_of(net), raster) == "dash rounding"


def test_weight_rounding() -> None:
    # 1.45 is 1 beside a weight of 127: ten such events, halved, do not reach 6.
    net = Sequential(
        LinearTorch((2, 1), weight=torch.tensor([[127.0], [1.45]]), has_bias=False), lif(1, threshold=6.0),
        LinearTorch((1, 1), weight=torch.tensor([[1.0]]), has_bias=False), lif(1, max_spikes_per_dt=1),
    )  # fmt: skip
    raster = np.zeros((1, 6, 2), int)
    raster[0, 0, 1] = 10
    program = program_of(net, weights_in=[[[127]], [[1]]], threshold=[6])
    assert cause_of(net, program, raster) == "weight rounding"


def test_threshold_rounding() -> None:
    # 13 halved is less than twice 3.4, but not less than twice 3.
    net = Sequential(
        LinearTorch((2, 1), weight=torch.tensor([[127.0], [13.0]]), has_bias=False), lif(1, threshold=3.4),
        LinearTorch((1, 1), weight=torch.tensor([[1.0]]), has_bias=False), lif(1, max_spikes_per_dt=1),
    )  # fmt: skip
    raster = np.zeros((1, 6, 2), int)
    raster[0, 0, 1] = 1
    program = program_of(net, weights_in=[[[127]], [[13]]], threshold=[3])
    assert cause_of(net, program, raster) == "threshold rounding"


def test_bias_rounding() -> None:
    # A bias of 34.4 brings a membrane that keeps 3/4 to 137.6, one of 34 to 136.
    net = one_neuron(weight=127.0, threshold=137.0)
    net[1].bias = torch.nn.Parameter(torch.tensor([34.4]))
    program = program_of(net, weights_in=[[[127]]], threshold=[137], bias=[34])
    assert cause_of(net, program, pulses(0)) == "bias rounding"


def test_changed_parameters_are_no_rounding() -> None:
    net, raster = one_neuron(weight=127.0, threshold=40.0), pulses(1, 1, 1, 1)
    same = {"weights_in": [[[127]]], "threshold": [40]}
    assert cause_of(net, program_of(net, **same | {"weights_in": [[[60]]]}), raster) == "weight"
    assert cause_of(net, program_of(net, **same | {"bias": [19]}), raster) == "bias"


def test_bias_of_a_linear_layer_acts_from_the_first_step() -> None:
    net = one_neuron(weight=1.0, threshold=4.0, bias=2.0, dash_syn=3.0)
    assert cause_of(net, program_of(net), pulses(0)) == "bias"


def test_integer_states() -> None:
    # The chip takes at least one from a state in each step: small charges are gone sooner.
    net = one_neuron(weight=3.0, threshold=7.0, dash_mem=6.0, dash_syn=6.0)
    raster = np.ones((1, 30, 1), int)
    program = program_of(net, weights_in=[[[3]]], threshold=[7])
    assert cause_of(net, program, raster) == "integer states"


def test_saturation() -> None:
    net = one_neuron(weight=127.0, threshold=250.0, dash_mem=5.0, dash_syn=5.0)
    program = program_of(
        net, weights_in=[[[127]]], weight_shift_in=7, threshold=[32000], dash_mem=[5], dash_syn=[5]
    )
    found = diverge(net, program, np.full((1, 12, 1), 15)).divergence
    assert found is not None
    assert found.cause == "saturation"
    assert "saturations of this neuron" in found.reason


def test_delay_of_paths_of_unequal_length() -> None:
    torch.manual_seed(1)
    net = Sequential(
        LinearTorch((2, 4), has_bias=False), lif(4), Residual(LinearTorch((4, 4), has_bias=False), lif(4)),
        LinearTorch((4, 2), has_bias=False), lif(2, max_spikes_per_dt=1),
    )  # fmt: skip
    raster = np.random.default_rng(0).integers(0, 15, (4, 30, 2))
    patched = for_chip(net, "imu", calibration=raster)
    program = quantise(lower(patched, "imu"), plan_of(patched), scales_of(patched)).specification
    assert cause_of(patched, program, raster) == "delay"
    late = diverge(net, with_hop_delays(net), raster)
    assert [layer.delay for layer in late.layers] == [0, 1, 2]
    assert late.divergence is not None
    assert late.divergence.cause == "delay"


def test_noise() -> None:
    net = one_neuron(noise_std=3.0)
    deployment = program_of(net)
    raster = np.ones((1, 40, 1), int)
    assert cause_of(net, deployment, raster) == "noise"
    state = torch.get_rng_state()
    first = diverge(net, deployment, raster, seed=3)
    assert first == diverge(net, deployment, raster, seed=3)
    assert torch.equal(state, torch.get_rng_state())


def test_float_precision() -> None:
    # In 32 bits 0.1 + 0.2 is 0.3, in 64 bits it is more.
    net = Sequential(
        LinearTorch((2, 1), weight=torch.tensor([[0.1], [0.2]]), has_bias=False),
        lif(1, threshold=0.15000000596046448),
        LinearTorch((1, 1), weight=torch.tensor([[1.0]]), has_bias=False), lif(1, max_spikes_per_dt=1),
    )  # fmt: skip
    raster = np.zeros((1, 4, 2), int)
    raster[0, 0] = 1
    program = program_of(net, weights_in=[[[42]], [[84]]], threshold=[64])
    assert cause_of(net, program, raster) == "float precision"


@pytest.mark.parametrize("parameter", ["threshold", "bias"])
def test_two_networks(parameter: str) -> None:
    net, other = one_neuron(), one_neuron()
    setattr(other[1], parameter, torch.nn.Parameter(getattr(other[1], parameter).detach() + 0.7))
    raster = pulses(1, 0, 2, 0, 3)
    found = diverge(net, other, raster).divergence
    assert found is not None
    assert (found.cause, found.a, found.b) == (parameter, "net 1", "net 2")
    assert diverge(net, net, raster).equal


def test_a_transformed_network() -> None:
    torch.manual_seed(1)
    net = Sequential(
        LinearTorch((3, 8), has_bias=False), lif(8, leak_mode="taus", dash_mem=None, dash_syn=None),
        LinearTorch((8, 2), has_bias=False), lif(2, max_spikes_per_dt=1),
    )  # fmt: skip
    raster = np.random.default_rng(0).integers(0, 5, (3, 40, 3))
    patched = for_chip(net, "imu", calibration=raster)
    found = diverge(net, patched, raster).divergence
    assert found is not None
    assert found.b == "transformed net"
    assert found.cause == "decay"
