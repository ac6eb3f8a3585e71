"""What holds for every network of weights, neurons and residual blocks."""

import copy
import pickle
import tempfile
from pathlib import Path

import torch
from hypothesis import given, settings
from strategies import spiking_networks

from snnkit.nn.combinators import TorchSequential
from snnkit.utilities.tree_utils import branches, get_nested

# Derandomised: a sum in another order can move a potential across a threshold, however rarely.
few = settings(max_examples=25, deadline=None, derandomize=True)


def data(batch: int = 2, time: int = 12) -> torch.Tensor:
    return torch.rand(batch, time, 3, generator=torch.Generator().manual_seed(1)) * 5


@few
@given(spiking_networks())
def test_graph_network_and_copies_compute_the_same(net: TorchSequential):
    expected = net(data(), record=True)[0]

    net.reset_state()
    assert torch.equal(net.as_graph().flatten()(data()), expected)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin.reset_state()(data())[0], expected)


@few
@given(spiking_networks())
def test_a_run_in_two_parts_is_the_run_in_one(net: TorchSequential):
    whole = net(data())[0]

    net.reset_state()
    parts = [net(part)[0] for part in (data()[:, :5], data()[:, 5:])]

    assert torch.allclose(torch.cat(parts, dim=1), whole)


@few
@given(spiking_networks())
def test_a_batch_is_its_elements_run_alone(net: TorchSequential):
    together = net(data(batch=3))[0]

    alone = [net.reset_state()(element)[0] for element in data(batch=3)]

    assert torch.allclose(torch.cat(alone), together, atol=1e-5)


@few
@given(spiking_networks())
def test_saved_and_loaded_networks_go_on_alike(net: TorchSequential):
    net(data())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.json"
        net.save(path)
        twin = copy.deepcopy(net).reset_parameters().reset_state().load(path)

    assert twin.to_json() == net.to_json()
    assert torch.equal(twin(data())[0], net(data())[0])


@few
@given(spiking_networks())
def test_families_part_the_parameters(net: TorchSequential):
    families = ("weights", "biases", "taus", "decays", "bitshifts", "thresholds")

    found = [branch for family in families for branch in branches(net.parameters(family))]

    assert sorted(found) == sorted(branches(net.parameters()))
    assert all(get_nested(net.parameters(), branch).requires_grad for branch in found)
