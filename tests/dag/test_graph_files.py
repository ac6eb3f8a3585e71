import json
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch
from torch import nn

from snnkit.dag import DagModule, GraphError, build_from_unstructured_module
from snnkit.dag.files.layers import LAYERS, layer_config, layer_tensors, make_layer, place_tensors
from snnkit.dag.files.writing import document_digest
from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, aLIFTorch
from snnkit.nn.networks import SynNet, WaveSenseNet
from snnkit.utilities.errors import FileFormatError


class Attentive(nn.Module):
    """Layers, free parameters, tied weights, recurrence, containers: a little of all that files hold."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.position = nn.Parameter(torch.randn(1, 5, 8))
        self.register_buffer("scale", torch.tensor([0.5, -torch.inf, 2.0]))
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm = nn.LSTM(8, 4, batch_first=True, bidirectional=True)
        self.unembed = nn.Linear(8, 6)
        self.tied = nn.Linear(6, 8, bias=False)
        self.tied.weight = self.embed.weight

    def forward(self, x, mask=None):
        batch, steps, _ = x.shape
        hidden = self.norm(self.embed(x)) + self.position[:, :steps]
        hidden, weights = self.attention(hidden, hidden, hidden, attn_mask=mask)
        hidden, (state, _) = self.lstm(hidden)
        heads = hidden.reshape(batch, steps, 2, 4).transpose(1, 2)
        result = self.unembed(heads.flatten(2)[:, 0, :8]) * self.scale[..., ::2].repeat(3)
        return OrderedDict(result=result, tied=self.tied(x), more=(weights, [state, None, 3.0]))


def events(*shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.4).float()


def same(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second) and first.dtype == second.dtype
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return type(first) is type(second) and all(map(same, first, second))
    return first == second


@pytest.fixture(scope="module")
def captured():
    torch.manual_seed(0)
    inputs = (torch.randn(2, 5, 6), torch.zeros(5, 5))
    return build_from_unstructured_module(Attentive().eval(), inputs), inputs


@pytest.fixture
def saved(captured, tmp_path):
    graph, inputs = captured
    graph.save(tmp_path / "graph")
    return graph, inputs, tmp_path / "graph"


def test_a_loaded_graph_returns_the_same_bits_and_containers(saved):
    graph, inputs, path = saved
    loaded = DagModule.load(path)
    assert repr(loaded) == repr(graph)
    expected, found = graph(*inputs), loaded(*inputs)
    assert type(found) is OrderedDict
    assert same(expected, found)
    assert same(graph(torch.ones(7, 5, 6), mask=inputs[1]), loaded(torch.ones(7, 5, 6), mask=inputs[1]))


def test_tied_parameters_are_one_after_loading_and_gradients_are_equal(saved):
    graph, inputs, path = saved
    loaded = DagModule.load(path)
    embed = loaded.get_vertex_by_name("embed").module.weight
    assert loaded.get_vertex_by_name("tied").module.weight is embed
    for each in (graph, loaded):
        each.zero_grad()
        sum(leaf.sum() for leaf in (each(*inputs)["tied"], each(*inputs)["more"][1][0])).backward()
    reference = graph.get_vertex_by_name("embed").module.weight.grad
    assert torch.equal(embed.grad, reference)


def test_a_fresh_process_without_the_models_code_opens_the_file(saved, tmp_path):
    graph, inputs, path = saved
    torch.save((inputs, graph(*inputs)["result"]), tmp_path / "expected.pt")
    program = (
        "import sys, torch\n"
        "from snnkit.dag import DagModule\n"
        f"(inputs, expected) = torch.load({str(tmp_path / 'expected.pt')!r})\n"
        f"graph = DagModule.load({str(path)!r})\n"
        "assert torch.equal(graph(*inputs)['result'], expected)\n"
        "assert not any('test_graph_files' in name for name in sys.modules)\n"
        "assert 'pickle' not in type(graph).load.__code__.co_names\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SynNet(n_classes=3, n_channels=6, size_hidden_layers=[8], time_constants_per_layer=[2]),
        lambda: WaveSenseNet([1, 2], 3, 6, 8, 8, 8),
        lambda: Sequential(LinearTorch((6, 8), has_bias=True), Residual(aLIFTorch((8, 8), has_rec=True))),
        lambda: LIFTorch((6, 6), leak_mode="bitshifts", has_rec=True),
    ],
)
def test_spiking_networks_come_back_with_parameters_and_state(make, tmp_path):
    torch.manual_seed(0)
    graph = build_from_unstructured_module(make())
    graph(events(1, 10, 6))
    graph.save(tmp_path / "snn")
    loaded = DagModule.load(tmp_path / "snn")
    data = events(1, 30, 6)
    assert torch.equal(graph(data), loaded(data))
    assert torch.equal(graph(data), loaded(data))


def made(name):
    """Return a layer of the class, with whatever arguments it needs, and some that are not the default."""
    tries = [(), (4,), (4, 4), (4, 4, 3), (2, 0.5), ((2, 2), 3), (-1, (2, 2)), (1, 2, 4, 4)]
    for arguments in tries:
        for options in ({"bias": False, "padding": 1}, {"bias": False}, {"inplace": True}, {"dim": -1}, {}):
            try:
                return getattr(nn, name)(*arguments, **options)
            except (TypeError, ValueError, AssertionError, ArithmeticError):
                continue
    raise AssertionError(f"no arguments found for {name}")


@pytest.mark.parametrize("name", sorted(LAYERS))
def test_every_layer_that_files_may_name_is_made_again_as_it_was(name):
    layer = made(name)
    found, config = layer_config(layer, name)
    again = make_layer(found, config)
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    place_tensors(again, layer_tensors(layer), name)
    assert all(map(torch.equal, again.state_dict().values(), layer.state_dict().values()))


def test_saving_again_replaces_the_earlier_graph(saved):
    _, _, path = saved
    other = build_from_unstructured_module(nn.Sequential(nn.Linear(3, 2)), (torch.randn(2, 3),))
    other.save(path)
    assert len(list(path.glob("weights-*"))) == 1
    assert torch.equal(DagModule.load(path)(torch.ones(1, 3)), other(torch.ones(1, 3)))


def edited(path, change):
    document = json.loads((path / "graph.json").read_text())
    change(document)
    document["sha256"] = document_digest(document)
    (path / "graph.json").write_text(json.dumps(document))


def first(document, key):
    return next(module for module in document["modules"] if key in module)


def set_to(*keys):
    *path, last, value = keys

    def change(document):
        for key in path:
            document = document[key]
        document[last] = value

    return change


def doubling(document):
    """Forty nested graphs, each of the one before twice."""
    number = 0
    for _ in range(40):
        twice = [{"name": name, "module": number, "args": [{"vertex": i}]} for i, name in enumerate("ab")]
        graph = {"class": "DagModule", "name": "net", "options": {}, "vertices": [{"input": "x"}, *twice]}
        document["modules"].append({"graph": {**graph, "output": {"vertex": 2}}})
        number = len(document["modules"]) - 1


HOSTILE = {
    "graphs in graphs": doubling,
    "another format": set_to("format", "something"),
    "a later version": set_to("version", 99),
    "a file elsewhere": set_to("weights", "file", "../../etc/passwd"),
    "another checksum": set_to("weights", "sha256", "0" * 64),
    "no modules": set_to("modules", None),
    "an unknown function": lambda d: first(d, "function").update(function="os.system"),
    "a dunder function": lambda d: first(d, "function").update(function="__import__"),
    "an unknown layer": lambda d: first(d, "layer").update(layer="Module"),
    "a layer by path": lambda d: first(d, "layer").update(layer="torch.hub.load"),
    "arguments that a layer lacks": lambda d: first(d, "layer")["config"].update(device="cuda"),
    "a layer of another size": lambda d: first(d, "layer")["config"].update(in_features=7),
    "a huge layer": lambda d: first(d, "layer")["config"].update(in_features=10**15),
    "a tensor that is not there": lambda d: first(d, "tensor").update(tensor="t999"),
    "an unknown library": lambda d: d["modules"].append({"registered": "evil.Module", "tensors": {}}),
    "an unknown class of graph": set_to("graph", "class", "Popen"),
    "options that a graph lacks": set_to("graph", "options", {"hook": "print"}),
    "a vertex read before it is there": lambda d: d["graph"]["vertices"][4].update(args=[{"vertex": 10**6}]),
    "a negative vertex": lambda d: d["graph"]["vertices"][-1].update(args=[{"vertex": -1}]),
    "a module that is not there": lambda d: d["graph"]["vertices"][-1].update(module=10**6),
    "a name twice": lambda d: d["graph"]["vertices"].append(d["graph"]["vertices"][-1]),
    "an argument of another kind": lambda d: d["graph"]["vertices"][-1].update(args=[{"eval": "1 + 1"}]),
    "nothing but depth": lambda d: d["graph"].update(output=json.loads("[" * 300 + "]" * 300)),
    "strides beyond the tensor": lambda d: d["tensors"]["t0"].update(strides=[10**9, 10**9]),
    "a trained integer": lambda d: d["tensors"].clear(),
    "a signature of other inputs": set_to("graph", "signature", "inputs", {"y": None}),
}  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_damaged_and_hostile_files_are_refused(saved, change):
    _, _, path = saved
    edited(path, change)
    with pytest.raises(FileFormatError):
        DagModule.load(path)


def test_files_from_before_the_checksum_are_told_what_to_do(saved):
    _, _, path = saved
    document = json.loads((path / "graph.json").read_text())
    del document["sha256"]
    (path / "graph.json").write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match=r"has no checksum.*Write it again: build_from"):
        DagModule.load(path)


@pytest.mark.parametrize("name", ["graph.json", "weights-*"])
def test_one_changed_character_is_found(saved, name):
    _, _, path = saved
    file = next(path.glob(name))
    content = file.read_bytes()
    position = content.rindex(b"0") if name == "graph.json" else len(content) // 2
    file.write_bytes(content[:position] + b"1" + content[position + 1 :])
    with pytest.raises(FileFormatError, match="damaged"):
        DagModule.load(path)


@pytest.mark.parametrize(
    ("make", "inputs", "change"),
    [
        (lambda: nn.GRU(2, 3), (4, 1, 2), lambda d: first(d, "layer")["config"].update(num_layers=10**9)),
        (
            lambda: LinearTorch((2, 3)),
            (1, 4, 2),
            lambda d: first(d, "registered")["config"].update(shape=[10**9, 10**9]),
        ),
    ],
    ids=["layers", "weights"],
)
def test_small_files_make_nothing_large(make, inputs, change, tmp_path):
    build_from_unstructured_module(make(), (torch.randn(inputs),)).save(tmp_path / "graph")
    edited(tmp_path / "graph", change)
    with pytest.raises(FileFormatError, match=r"too few for|does not have the weight"):
        DagModule.load(tmp_path / "graph")


def test_a_truncated_file_of_tensors_is_refused(saved):
    _, _, path = saved
    weights = next(path.glob("weights-*"))
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(FileFormatError, match="damaged"):
        DagModule.load(path)


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="does not exist"):
        DagModule.load(tmp_path / "nowhere")


def test_what_files_cannot_hold_is_refused_with_its_place(tmp_path):
    class Own(nn.Module):
        def forward(self, x):
            return x

    graph = DagModule("net")
    x = graph.add_input_vertex("x")
    graph.mark_as_output(graph.add_vertex("mine", Own(), [x]))
    with pytest.raises(GraphError, match=r"mine: files have no form for .*Own"):
        graph.save(tmp_path / "graph")
    assert not (tmp_path / "graph").exists()
    broken = nn.Linear(3, 2)
    broken.weight = nn.Parameter(torch.zeros(2, 4))
    graph = DagModule("net")
    graph.mark_as_output(graph.add_vertex("lin", broken, [graph.add_input_vertex("x")]))
    with pytest.raises(GraphError, match=r"lin: the weight of Linear has shape \(2, 4\)"):
        graph.save(tmp_path / "graph")
