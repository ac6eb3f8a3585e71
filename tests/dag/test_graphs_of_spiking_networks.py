import pytest
import torch
from torch import nn

from snnkit.dag import CaptureError, build_from_unstructured_module
from snnkit.hw.xylo.mapping.lowering import lower
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.graph_of import graph_of
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.nn.networks import SynNet, WaveSenseNet
from snnkit.transforms import for_chip


def events(*shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def layers():
    torch.manual_seed(0)
    return (
        LinearTorch((3, 8)), LIFTorch((8, 8)), LinearTorch((8, 8)), LIFTorch((8, 8)), LinearTorch((8, 2)),
        LIFTorch((2, 2)),
    )  # fmt: skip


class ByHand(nn.Module):
    """What Sequential and Residual make, written as plain torch code."""

    def __init__(self):
        super().__init__()
        self.lin1, self.lif1, self.lin2, self.lif2, self.lin3, self.lif3 = layers()

    def forward(self, x):
        hidden, _, _ = self.lif1(self.lin1(x)[0])
        deeper, _, _ = self.lif2(self.lin2(hidden)[0])
        return self.lif3(self.lin3(hidden + deeper)[0])[0]


def test_a_network_written_by_hand_maps_like_one_of_combinators():
    first, second, third, fourth, fifth, sixth = layers()
    combined = Sequential(first, second, Residual(third, fourth), fifth, sixth)
    captured = build_from_unstructured_module(ByHand(), (events(1, 20, 3),))
    one, other = lower(combined, "imu"), lower(captured, "imu")
    assert (one.weights_in == other.weights_in).all()
    assert (one.weights_rec == other.weights_rec).all()


def test_a_plain_torch_sequential_is_patched_for_a_chip():
    plain = nn.Sequential(*(layer.to_torch() for layer in layers()))
    patched, reference = for_chip(plain, "imu"), for_chip(Sequential(*layers()), "imu")
    data = events(1, 30, 3)
    assert torch.equal(patched(data), reference(data)[0])


def test_nested_chains_have_the_modules_paths():
    inner = nn.Sequential(LIFTorch((8, 8)))
    graph = graph_of(nn.Sequential(LinearTorch((3, 8)), inner)).flatten()
    assert [vertex.name for vertex in graph.inner_vertices] == ["0", "1.0"]
    assert graph.inner_vertices[1].module is inner[0]


@pytest.mark.parametrize(
    "make",
    [lambda: SynNet(3, 4, [6], [2]), lambda: WaveSenseNet([1, 2], 3, 4, 6, 6, 6), lambda: LIFTorch((4, 4))],
)
def test_networks_of_snnkit_are_captured_without_example_inputs(make):
    torch.manual_seed(0)
    net = make()
    graph = build_from_unstructured_module(net)
    data = events(2, 30, 4)
    assert torch.equal(graph(data), net.reset_state()(data)[0])


def test_state_goes_on_from_call_to_call_and_capture_leaves_it_alone():
    torch.manual_seed(0)
    net = ByHand()
    net(events(1, 10, 3))
    state = net.lif1.vmem.clone()
    graph = build_from_unstructured_module(net, (events(1, 10, 3),))
    assert torch.equal(net.lif1.vmem, state)
    data = events(1, 25, 3)
    for _ in range(2):
        assert torch.equal(graph(data), net(data))


def test_a_network_of_own_torch_modules_is_recorded_inside():
    class Own(TorchModule):
        def __init__(self):
            super().__init__((4, 2))
            self.encode, self.neurons, self.decode = (
                LinearTorch((4, 6)),
                LIFTorch((6, 6)),
                LinearTorch((6, 2)),
            )

        def forward(self, data):
            data, _ = self._auto_batch(data)
            hidden, _, _ = self.encode(data)
            spikes, _, _ = self.neurons(hidden)
            return self.decode(spikes + hidden.relu())[0]

    torch.manual_seed(0)
    net = Own()
    graph = build_from_unstructured_module(net)
    assert [vertex.name for vertex in graph.inner_vertices] == ["encode", "neurons", "relu", "add", "decode"]
    data = events(3, 20, 4)
    assert torch.equal(graph(data), net.reset_state()(data)[0])


def test_returning_the_state_of_neurons_is_refused():
    class Returning(ByHand):
        def forward(self, x):
            spikes, state, _ = self.lif1(self.lin1(x)[0])
            return spikes, state["vmem"]

    with pytest.raises(CaptureError, match="no captured call computed"):
        build_from_unstructured_module(Returning(), (events(1, 10, 3),))


@pytest.mark.oracle
def test_rockpools_networks_are_captured():
    rockpool = pytest.importorskip("rockpool.nn.modules")
    combinators = pytest.importorskip("rockpool.nn.combinators")
    torch.manual_seed(0)
    net = combinators.Sequential(rockpool.LinearTorch((4, 6)), rockpool.LIFTorch((6, 6)))
    graph = build_from_unstructured_module(net, (events(1, 20, 4),))
    assert [type(vertex.module).__name__ for vertex in graph.inner_vertices] == ["LinearTorch", "LIFTorch"]
    data = events(1, 20, 4)
    expected = net(data)[0]
    for module in net.modules().values():
        module.reset_state()
    assert graph(data).shape == expected.shape
