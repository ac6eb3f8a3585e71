"""Neurons are pruned by activity; what is left maps to the chip and runs as the masked net."""

import numpy as np
import pytest
import torch

from snnkit.dag import coupling
from snnkit.dag.pruning import Activity, Plan, prune
from snnkit.hw.xylo import deploy
from snnkit.nn.combinators import TorchSequential
from snnkit.nn.modules import ExpSynTorch, LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet


def events(*shape, rate=0.3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).float()


def synnet():
    torch.manual_seed(0)
    net = SynNet(3, 6, (24, 16), (2, 4), p_dropout=0.1).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            parameter.data.mul_(3).add_(0.05)
    return net


def recurrent_net():
    torch.manual_seed(1)
    return TorchSequential(
        LinearTorch((5, 24), has_bias=True),
        LIFTorch(
            (24, 12),
            tau_mem=torch.rand(12) * 0.02 + 0.01,
            tau_syn=torch.rand(12, 2) * 0.02 + 0.01,
            bias=torch.randn(12) * 0.1,
            threshold=torch.rand(12) + 0.5,
            has_rec=True,
        ),
        LinearTorch((12, 8)),
        ExpSynTorch(8, tau=torch.rand(8) * 0.02 + 0.01),
        LinearTorch((8, 3)),
    )


def test_a_neuron_owns_its_rows_columns_time_constants_and_states():
    found = coupling(recurrent_net(), events(2, 20, 5))
    neurons = found.group_named("1_LIFTorch.w_rec", 0)
    assert {(m.name, m.axis, m.role) for m in neurons.members} == {
        ("0_LinearTorch.weight", 1, "out"),
        ("0_LinearTorch.bias", 0, "per-channel"),
        ("1_LIFTorch.w_rec", 0, "in"),
        ("1_LIFTorch.w_rec", 1, "out"),
        ("1_LIFTorch.tau_mem", 0, "per-channel"),
        ("1_LIFTorch.tau_syn", 0, "per-channel"),
        ("1_LIFTorch.bias", 0, "per-channel"),
        ("1_LIFTorch.threshold", 0, "per-channel"),
        ("1_LIFTorch.vmem", 0, "state"),
        ("1_LIFTorch.isyn", 0, "state"),
        ("1_LIFTorch.spikes", 0, "state"),
        ("2_LinearTorch.weight", 0, "in"),
    }
    assert neurons.positions_in("0_LinearTorch.weight", 1)[3].tolist() == [6, 7]
    assert "synapses of a neuron (in 1_LIFTorch" in found.why("1_LIFTorch.tau_syn", 1)[0]


def test_pruned_recurrent_neurons_equal_masked_ones():
    net, data = recurrent_net(), events(3, 40, 5)
    states = {name: value.clone() for name, value in net.named_buffers()}
    pruned = prune(net.as_graph(), (data,), Plan(ratio=0.4), Activity(data))
    assert [int(mask.sum()) for mask in pruned.keep.values()] == [7, 5]
    assert pruned.certificate.error < 1e-12
    assert all(torch.equal(states[name], value) for name, value in net.named_buffers())
    neurons = pruned.model.get_vertex_by_name("1_LIFTorch").module
    assert neurons.shape == (14, 7)
    assert neurons.w_rec.shape == (7, 14)
    assert neurons.tau_syn.shape == (7, 2)
    # The smaller module is as good as one made in that size.
    assert neurons.reset_parameters() is neurons
    assert neurons.w_rec.shape == (7, 14)
    with pytest.raises(ValueError, match="must be of shape"):
        neurons.tau_mem = torch.ones(12)


def test_activity_drops_the_neurons_with_the_fewest_events():
    net, data = synnet(), events(4, 50, 6)
    first = net.seq["0_neurons"]
    with torch.no_grad():
        net.seq["0_linear"].weight.abs_()
        net.seq["0_linear"].weight[:, 5:12] = -1.0  # never charged: silent
    pruned = prune(net.as_graph(), (data,), Plan(ratios={"seq.0_neurons.tau_syn": 7 / 24}), Activity(data))
    (mask,) = pruned.keep.values()
    assert np.flatnonzero(~mask).tolist() == list(range(5, 12))
    assert first.n_neurons == 24
    output, *_ = net(data)
    assert torch.equal(pruned.model(data), output)


def test_a_pruned_synnet_maps_to_the_chip_and_runs_as_the_masked_one_bit_for_bit():
    net, data = synnet(), events(4, 60, 6)
    pruned = prune(net.as_graph(), (data,), Plan(ratio=0.4), Activity(data))
    assert pruned.after.parameters < 0.5 * pruned.before.parameters
    masked = pruned.masked()
    smaller = deploy(pruned.model, "a2")
    reference = deploy(masked, "a2")
    test = events(8, 80, 6, seed=3)
    raster = test.numpy().astype(int)
    found, expected = smaller.run(raster), reference.run(raster)
    assert expected.any()
    np.testing.assert_array_equal(found, expected)
    assert torch.equal(pruned.model(test), masked(test))
