"""Where the parts of a network land in a chip's layout."""

import copy
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from snnkit.dag import Add, Concat, DagModule
from snnkit.hw.xylo.mapping.lowering import lower
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, TimeStepDropout, UnitDropout, aLIFTorch
from snnkit.utilities.chips import CHIPS

ALL_CHIPS = pytest.mark.parametrize("chip", list(CHIPS))


def numbers(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).numpy()


def chain(*sizes: int, **lif: object) -> nn.Module:
    modules = []
    for n_in, n_out in pairwise(sizes):
        modules += [LinearTorch((n_in, n_out)), LIFTorch(n_out, **lif)]
    return Sequential(*modules)


@ALL_CHIPS
def test_a_chain_of_layers_keeps_its_order(chip):
    net = chain(3, 5, 4, 2)
    mapped = lower(net, chip)
    assert mapped.shape == (3, 9, 2)
    assert [(p.path, p.layer, p.start, p.stop) for p in mapped.populations] == [
        ("1_LIFTorch", "hidden", 0, 5),
        ("3_LIFTorch", "hidden", 5, 9),
        ("5_LIFTorch", "output", 0, 2),
    ]
    assert np.array_equal(mapped.weights_in[:, :, 0], numbers(net[0].weight))
    expected = np.zeros((9, 9))
    expected[:5, 5:] = numbers(net[2].weight)
    assert np.array_equal(mapped.weights_rec[:, :, 0], expected)
    assert np.array_equal(mapped.weights_out, numbers(net[4].weight))
    assert mapped.aliases == ((),) * 9
    assert mapped.delay == 2
    assert mapped.delays == (0, 1, 2)


def test_network_and_graph_give_the_same_and_stay_as_they_are():
    net = Sequential(
        LinearTorch((3, 5)), LIFTorch(5), Residual(LinearTorch((5, 5)), LIFTorch(5, has_rec=True)),
        LinearTorch((5, 3)), LIFTorch(3),
    )  # fmt: skip
    graph = net.as_graph()
    before, text = copy.deepcopy(graph.state_dict()), repr(graph)
    one, other, again = lower(net, "imu"), lower(graph, "imu"), lower(graph.flatten(), "imu")
    for name in ("weights_in", "weights_rec", "weights_out", "decay_syn", "threshold", "bias"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
        assert np.array_equal(getattr(one, name), getattr(again, name))
    assert one.populations == other.populations == again.populations
    assert one.aliases == other.aliases == again.aliases
    after = graph.state_dict()
    assert repr(graph) == text
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_parameters_reach_their_neurons():
    torch.manual_seed(0)
    hidden = LIFTorch(
        4, tau_mem=torch.rand(4) * 0.05 + 0.01, tau_syn=torch.rand(4, 1) * 0.05 + 0.01,
        threshold=torch.rand(4) + 0.5, bias=torch.randn(4), dt=2e-3, has_rec=True,
    )  # fmt: skip
    net = Sequential(LinearTorch((2, 4)), hidden, LinearTorch((4, 3)), LIFTorch(3, threshold=0.25, dt=2e-3))
    mapped = lower(net, "a3")
    assert mapped.dt == pytest.approx(2e-3)
    assert np.allclose(mapped.decay_mem, np.exp(-2e-3 / numbers(hidden.tau_mem)))
    assert np.allclose(mapped.decay_syn, np.exp(-2e-3 / numbers(hidden.tau_syn)))
    assert np.array_equal(mapped.threshold, numbers(hidden.threshold))
    assert np.array_equal(mapped.bias, numbers(hidden.bias))
    assert np.array_equal(mapped.threshold_out, np.full(3, 0.25))
    assert np.array_equal(mapped.weights_rec[:, :, 0], numbers(hidden.w_rec))


@pytest.mark.parametrize("leak_mode", ["decays", "bitshifts"])
def test_every_leak_mode_gives_the_decays_that_the_module_uses(leak_mode):
    leaks = {"decays": {"alpha": 0.75, "beta": 0.875}, "bitshifts": {"dash_mem": 2.0, "dash_syn": 3.0}}
    net = chain(2, 3, 2, leak_mode=leak_mode, **leaks[leak_mode])
    mapped = lower(net, "imu")
    assert np.allclose(mapped.decay_mem, 0.75)
    assert np.allclose(mapped.decay_syn, 0.875)


def test_two_synapses_are_neuron_major():
    net = Sequential(LinearTorch((3, 8)), LIFTorch((8, 4), has_rec=True), LinearTorch((4, 2)), LIFTorch(2))
    mapped = lower(net, "a2")
    assert mapped.n_synapses == 2
    for neuron in range(4):
        for synapse in range(2):
            channel = 2 * neuron + synapse
            assert np.array_equal(mapped.weights_in[:, neuron, synapse], numbers(net[0].weight)[:, channel])
            recurrent = numbers(net[1].w_rec)[:, channel]
            assert np.array_equal(mapped.weights_rec[:, neuron, synapse], recurrent)


def test_layers_with_one_and_two_synapses_mix():
    net = Sequential(
        LinearTorch((3, 8)), LIFTorch((8, 4), tau_syn=torch.tensor([[0.01, 0.03]])),
        LinearTorch((4, 3)), LIFTorch(3, tau_syn=0.05), LinearTorch((3, 2)), LIFTorch(2),
    )  # fmt: skip
    mapped = lower(net, "a3")
    assert np.allclose(mapped.decay_syn[:4], np.exp(-1e-3 / np.array([0.01, 0.03])))
    assert np.allclose(mapped.decay_syn[4:, 0], np.exp(-1e-3 / 0.05))
    assert not mapped.weights_rec[:, 4:, 1].any()


def test_adaptation_is_a_second_synapse_with_weights_on_the_diagonal():
    neurons = aLIFTorch(3, tau_ahp=0.1, w_ahp=torch.tensor([-1.0, -2.0, -3.0]), has_rec=True)
    mapped = lower(Sequential(LinearTorch((2, 3)), neurons, LinearTorch((3, 2)), LIFTorch(2)), "a2")
    assert mapped.n_synapses == 2
    assert np.array_equal(mapped.weights_rec[:, :, 1], np.diag([-1.0, -2.0, -3.0]))
    assert np.array_equal(mapped.weights_rec[:, :, 0], numbers(neurons.w_rec))
    assert np.allclose(mapped.decay_syn[:, 1], np.exp(-1e-3 / 0.1))
    assert not mapped.weights_in[:, :, 1].any()


def test_a_single_hidden_layer_receives_input_and_drives_outputs():
    for chip in CHIPS:
        mapped = lower(chain(4, 100, 3), chip)
        assert mapped.weights_in.shape == (4, 100, 1)
        assert mapped.weights_out.shape == (100, 3)
        assert mapped.delay == 1


def test_residual_blocks_become_aliases_to_the_blocks_neurons():
    net = Sequential(
        LinearTorch((3, 4)), LIFTorch(4), Residual(LinearTorch((4, 4)), LIFTorch(4)),
        Residual(LinearTorch((4, 4)), LIFTorch(4)), LinearTorch((4, 2)), LIFTorch(2),
    )  # fmt: skip
    mapped = lower(net, "imu")
    assert mapped.aliases == ((4,), (5,), (6,), (7,), (8,), (9,), (10,), (11,), (), (), (), ())
    second = numbers(net[3][0].weight)
    assert np.array_equal(mapped.weights_rec[4:8, 8:, 0], second)
    assert not mapped.weights_rec[:4, 8:].any()
    assert np.array_equal(mapped.weights_out, numbers(net[4].weight))
    assert any("1 step earlier" in note for note in mapped.notes)


def test_recurrent_weights_in_a_residual_block_see_only_the_blocks_own_events():
    block = Residual(LinearTorch((4, 4)), LIFTorch(4, has_rec=True))
    net = Sequential(LinearTorch((3, 4)), LIFTorch(4), block, LinearTorch((4, 2)), LIFTorch(2))
    mapped = lower(net, "imu")
    weight, w_rec = numbers(block[0].weight), numbers(block[1].w_rec)
    assert np.array_equal(mapped.weights_rec[4:, 4:, 0], w_rec)
    assert np.array_equal(mapped.weights_rec[:4, 4:, 0], weight - w_rec)
    assert any("cancel" in note for note in mapped.notes)


def test_a_layer_that_reads_a_block_without_its_skip_gets_cancelling_weights():
    graph = DagModule("side path")
    x = graph.add_input_vertex("input")
    first = graph.add_vertex("first", LIFTorch(3), [graph.add_vertex("w1", LinearTorch((2, 3)), [x])])
    w2, w3 = LinearTorch((3, 3)), LinearTorch((3, 2))
    second = graph.add_vertex("second", LIFTorch(3), [graph.add_vertex("w2", w2, [first])])
    both = graph.add_vertex("add", Add(), [second, first])
    side = graph.add_vertex("side", w3, [second])
    main = graph.add_vertex("main", LinearTorch((3, 2), weight=torch.zeros(3, 2)), [both])
    current = graph.add_vertex("sum", Add(), [main, side])
    graph.mark_as_output(graph.add_vertex("out", LIFTorch(2), [current]))
    mapped = lower(graph, "imu")
    assert mapped.aliases == ((3,), (4,), (5,), (), (), ())
    assert np.array_equal(mapped.weights_out[3:], numbers(w3.weight))
    assert np.array_equal(mapped.weights_out[:3], -numbers(w3.weight))


def test_several_input_projections_and_parallel_weights_add_up():
    graph = DagModule("parallel")
    x = graph.add_input_vertex("input")
    weights = [LinearTorch((3, 4)) for _ in range(4)]
    one = graph.add_vertex("a", weights[0], [x])
    two = graph.add_vertex("b", weights[1], [x])
    first = graph.add_vertex("first", LIFTorch(4), [graph.add_vertex("ab", Add(), [one, two])])
    hidden = LinearTorch((4, 4))
    from_hidden = graph.add_vertex("c", hidden, [first])
    from_input = graph.add_vertex("d", weights[2], [x])
    second = graph.add_vertex(
        "second", LIFTorch(4), [graph.add_vertex("cd", Add(), [from_hidden, from_input])]
    )
    readout = LinearTorch((4, 2))
    graph.mark_as_output(graph.add_vertex("out", LIFTorch(2), [graph.add_vertex("e", readout, [second])]))
    mapped = lower(graph, "a3")
    assert np.array_equal(
        mapped.weights_in[:, :4, 0], numbers(weights[0].weight) + numbers(weights[1].weight)
    )
    assert np.array_equal(mapped.weights_in[:, 4:, 0], numbers(weights[2].weight))
    assert np.array_equal(mapped.weights_rec[:4, 4:, 0], numbers(hidden.weight))


def test_concatenated_events_split_the_rows_of_the_next_weights():
    graph = DagModule("concat")
    x = graph.add_input_vertex("input")
    parts = []
    for name in ("a", "b"):
        weights = graph.add_vertex(f"w_{name}", LinearTorch((2, 3)), [x])
        parts.append(graph.add_vertex(name, LIFTorch(3), [weights]))
    joined = graph.add_vertex("join", Concat(), parts)
    readout = LinearTorch((6, 2))
    graph.mark_as_output(graph.add_vertex("out", LIFTorch(2), [graph.add_vertex("w", readout, [joined])]))
    mapped = lower(graph, "imu")
    assert np.array_equal(mapped.weights_out, numbers(readout.weight))
    assert [p.path for p in mapped.populations] == ["a", "b", "out"]


def test_concatenated_currents_feed_ranges_of_neurons():
    graph = DagModule("concat")
    x = graph.add_input_vertex("input")
    one, two = LinearTorch((2, 3)), LinearTorch((2, 2))
    parts = [graph.add_vertex("a", one, [x]), graph.add_vertex("b", two, [x])]
    first = graph.add_vertex("first", LIFTorch(5), [graph.add_vertex("join", Concat(), parts)])
    readout = graph.add_vertex("w", LinearTorch((5, 2)), [first])
    graph.mark_as_output(graph.add_vertex("out", LIFTorch(2), [readout]))
    mapped = lower(graph, "imu")
    expected = np.concatenate([numbers(one.weight), numbers(two.weight)], axis=1)
    assert np.array_equal(mapped.weights_in[:, :, 0], expected)


def test_several_output_populations_are_the_outputs_in_order():
    graph = DagModule("two heads")
    x = graph.add_input_vertex("input")
    first = graph.add_vertex("first", LIFTorch(4), [graph.add_vertex("w1", LinearTorch((2, 4)), [x])])
    heads, layers = [], [LinearTorch((4, 2)), LinearTorch((4, 3))]
    for name, layer in zip("ab", layers, strict=True):
        weights = graph.add_vertex(f"w_{name}", layer, [first])
        heads.append(graph.add_vertex(name, LIFTorch(layer.shape[1]), [weights]))
    graph.mark_as_output(*heads)
    mapped = lower(graph, "imu")
    expected = np.concatenate([numbers(layer.weight) for layer in layers], axis=1)
    assert np.array_equal(mapped.weights_out, expected)


def test_outputs_at_unequal_depth_are_pointed_out():
    graph = DagModule("early exit")
    x = graph.add_input_vertex("input")
    first = graph.add_vertex("first", LIFTorch(4), [graph.add_vertex("w1", LinearTorch((2, 4)), [x])])
    second = graph.add_vertex("second", LIFTorch(4), [graph.add_vertex("w2", LinearTorch((4, 4)), [first])])
    exits = []
    for name, source in (("early", first), ("late", second)):
        weights = graph.add_vertex(f"w_{name}", LinearTorch((4, 2)), [source])
        exits.append(graph.add_vertex(name, LIFTorch(2), [weights]))
    graph.mark_as_output(*exits)
    mapped = lower(graph, "imu")
    assert mapped.delay == 2
    assert mapped.delays == (0, 1, 1, 2)
    assert mapped.notes == ("early: its outputs come 1 steps before the latest.",)


def test_dropouts_and_plain_torch_layers_map():
    torch.manual_seed(1)
    linear = nn.Linear(3, 4)
    net = Sequential(
        linear, LIFTorch(4), UnitDropout(4, p=0.3), TimeStepDropout(4, p=0.2),
        LinearTorch((4, 2)), LIFTorch(2),
    )  # fmt: skip
    mapped = lower(net, "a2")
    assert np.array_equal(mapped.weights_in[:, :, 0], numbers(linear.weight).T)
    assert np.array_equal(mapped.synaptic_bias[:, 0], numbers(linear.bias))
    plain = nn.Sequential(LinearTorch((3, 4)), LIFTorch(4), nn.Dropout(0.1), LinearTorch((4, 2)), LIFTorch(2))
    assert [p.path for p in lower(plain, "a2").populations] == ["1", "4"]


def test_linear_biases_of_several_projections_add_up_on_the_synapses():
    graph = DagModule("biases")
    x = graph.add_input_vertex("input")
    layers = [LinearTorch((2, 4), has_bias=True) for _ in range(2)]
    parts = [graph.add_vertex(f"w{i}", layer, [x]) for i, layer in enumerate(layers)]
    first = graph.add_vertex("first", LIFTorch((4, 2)), [graph.add_vertex("add", Add(), parts)])
    readout = graph.add_vertex("w", LinearTorch((2, 2)), [first])
    graph.mark_as_output(graph.add_vertex("out", LIFTorch(2), [readout]))
    mapped = lower(graph, "a3")
    expected = sum(numbers(layer.bias) for layer in layers).reshape(2, 2)
    assert np.allclose(mapped.synaptic_bias, expected)


def test_lowering_is_deterministic():
    torch.manual_seed(3)
    net = chain(5, 30, 20, 4)
    one, other = lower(net, "imu"), lower(copy.deepcopy(net), "imu")
    assert np.array_equal(one.weights_rec, other.weights_rec)
    assert one.populations == other.populations


def test_nine_hundred_hidden_neurons_map_quickly():
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    sizes = [16, *[100] * 9, 8]
    for n_in, n_out in pairwise(sizes):
        weight = torch.zeros(n_in, n_out)
        weight[:, :8] = torch.randn(n_in, 8)
        modules += [LinearTorch((n_in, n_out), weight=weight), LIFTorch(n_out)]
    net = Sequential(*modules)
    lower(net, "a3")
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        lower(net, "a3")
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.2
