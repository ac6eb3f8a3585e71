import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
import torch
from torch import nn

from snnkit.dag import DagModule, build_from_unstructured_module, watching
from snnkit.dag.drawing.layout import lay_out
from snnkit.dag.pruning import Plan, prune
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import MissingDependencyError


@pytest.fixture
def igraph():
    return pytest.importorskip("igraph", reason="pictures of graphs need the drawing extra")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.block = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
        self.query = nn.Parameter(torch.randn(1, 2, 8))

    def forward(self, x):
        x = self.deep(self.conv(x)).flatten(2).transpose(1, 2)
        x = x + self.block(x)
        return torch.softmax(self.query @ x.transpose(1, 2), -1) @ x


def captured():
    return build_from_unstructured_module(Net().eval(), (torch.randn(2, 3, 8, 8),))


def spiking():
    torch.manual_seed(0)
    return build_from_unstructured_module(
        Sequential(LinearTorch((4, 6)), LIFTorch((6, 6), has_rec=True), LinearTorch((6, 2)))
    )


def test_multiply_accumulates_follow_from_the_sizes():
    cost = captured().cost()
    macs = {path: entry.macs for path, entry in cost.vertices.items() if entry.macs}
    assert macs == {
        "conv": 8 * 16 * 27,
        "deep": 8 * 16 * 9,
        "block.0": 16 * 8 * 16,
        "block.2": 16 * 16 * 8,
        "matmul": 2 * 8 * 16,
        "matmul_1": 2 * 16 * 8,
    }
    assert cost.macs == sum(macs.values())
    assert cost.parameters == sum(parameter.numel() for parameter in Net().parameters())
    assert cost.kmapp == cost.macs / 64 / 1000
    assert cost.spikes is None
    assert cost.vertices["conv"].activations == 8 * 16
    double = captured().cost(torch.zeros(2, 3, 8, 8))
    assert double.macs == 2 * cost.macs
    assert double.kmapp == cost.kmapp


def test_products_that_torch_does_not_count_are_counted():
    class Products(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = nn.Bilinear(4, 5, 6)

        def forward(self, x, y):
            z = self.pair(x, y)
            return torch.addbmm(z, x[None], y.new_zeros(1, 4, 6)), torch.mv(y, y[0])

    inputs = torch.randn(3, 4), torch.randn(3, 5)
    graph = build_from_unstructured_module(Products(), inputs)
    macs = {path: entry.macs for path, entry in graph.cost(*inputs).vertices.items() if entry.macs}
    assert macs == {"pair": 3 * 4 * 5 * 6, "addbmm": 3 * 4 * 6, "mv": 3 * 5}


class Experts(nn.Module):
    """Rows go to the expert that a gate chooses: how many there are is known at run time only."""

    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(4, 2)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 4)) for _ in range(2)
        )

    def forward(self, x):
        chosen, y = self.gate(x).argmax(-1), torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            y[chosen == number] = expert(x[chosen == number])
        return y


def test_experts_that_run_on_chosen_rows_are_counted_drawn_and_pruned(igraph, tmp_path):
    torch.manual_seed(0)
    model, x = Experts(), torch.randn(5, 4)
    with torch.no_grad():
        model.gate.bias[0] = 100.0  # the second expert gets no row
    graph = build_from_unstructured_module(model, (x,))
    # As if each expert had all rows: no more can come.
    assert graph.cost(x).macs == 5 * (4 * 2 + 2 * 2 * 4 * 6)
    graph.draw(tmp_path / "experts.svg")
    pruned = prune(graph, x, Plan(ratio=0.5))
    assert sorted(group.name for group in pruned.keep) == ["experts.0.0.weight", "experts.1.0.weight"]
    assert pruned.certificate.exact


def test_events_and_synaptic_operations_are_counted_on_real_inputs():
    graph = spiking()
    data = (torch.rand(1, 50, 4, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    state = graph.inner_vertices[1].module.vmem.clone()
    cost = graph.cost(data)
    assert torch.equal(graph.inner_vertices[1].module.vmem, state)
    with torch.no_grad():
        first, neurons, _ = (vertex.module for vertex in graph.inner_vertices)
        spikes = neurons(first(data)[0])[0]
    assert cost.macs == 50 * (4 * 6 + 6 * 6 + 6 * 2)
    assert cost.spikes == float(spikes.sum())
    by_vertex = [entry.synaptic_operations for entry in cost.vertices.values()]
    assert by_vertex == [float(data.sum()) * 6, None, float(spikes.sum()) * 2]
    assert graph.cost().spikes is None


def test_the_table_shows_shapes_costs_and_calls():
    text = captured().table()
    lines = {line.split()[0]: line for line in text.splitlines()[2:-2]}
    assert "1×8×4×4" in lines["conv"]
    assert "3,456" in lines["conv"]
    assert "flatten(·, start_dim=2)" in lines["flatten"]
    assert "<- query, transpose_1" in lines["matmul"]
    assert text.splitlines()[-1] == str(captured().cost())


def test_watching_goes_around_every_vertex_and_may_change_its_value():
    graph, seen = captured(), []

    def watch(path, vertex, args, kwargs, call):
        value = call()
        seen.append(path)
        return torch.zeros_like(value) if path == "block.2" else value

    x = torch.randn(2, 3, 8, 8)
    with watching(watch):
        changed = graph(x)
    assert seen.index("block.0") < seen.index("block.2") < seen.index("block") < seen.index("add")
    assert not torch.equal(changed, graph(x))


def boxes_in(picture):
    return [box for box in picture.iter("{http://www.w3.org/2000/svg}rect") if "stroke" in box.attrib]


def test_pictures_are_svg_with_a_box_for_every_vertex(igraph, tmp_path):
    graph = captured()
    text = graph.draw(tmp_path / "pictures" / "net.svg")
    assert (tmp_path / "pictures" / "net.svg").read_text() == text
    root = ET.fromstring(text)
    labels = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"conv", "Conv2d", "1×8×4×4", "softmax"} <= labels
    assert any(label.startswith("block: Sequential") for label in labels)
    boxes = [
        element for element in root.iter("{http://www.w3.org/2000/svg}rect") if "stroke" in element.attrib
    ]
    assert len(boxes) == len(list(graph.traverse_paths()))
    closed = ET.fromstring(graph.draw(depth=0, costs=False))
    fewer = [
        element for element in closed.iter("{http://www.w3.org/2000/svg}rect") if "stroke" in element.attrib
    ]
    assert len(fewer) == len(graph.vertices)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in boxes:
        x, y = float(box.attrib["x"]), float(box.attrib["y"])
        assert x >= 0
        assert y >= 0
        assert x + float(box.attrib["width"]) <= width
        assert y + float(box.attrib["height"]) <= height


def test_spiking_vertices_and_hand_made_graphs_are_drawn(igraph):
    assert "#dc2626" in spiking().draw()
    graph = DagModule("by hand")
    graph.mark_as_output(graph.add_vertex("a<b", nn.Linear(2, 3), [graph.add_input_vertex("x")]))
    assert "a&lt;b" in graph.draw()
    assert "1×3" in graph.table(torch.zeros(1, 2))


def test_boxes_do_not_overlap_and_readers_stand_below(igraph):
    names = [f"v{i}" for i in range(30)]
    generator = torch.Generator().manual_seed(0)
    readers = [i for i in range(1, 30) for _ in range(2)]
    edges = [(names[int(torch.randint(i, (), generator=generator))], names[i]) for i in readers]
    layout = lay_out({name: (40.0 + 7 * (i % 5), 20.0) for i, name in enumerate(names)}, edges)
    places = list(layout.places.values())
    for i, one in enumerate(places):
        for other in places[i + 1 :]:
            apart_x = abs(one.x - other.x) >= (one.width + other.width) / 2 - 1e-6
            apart_y = abs(one.y - other.y) >= (one.height + other.height) / 2 - 1e-6
            assert apart_x or apart_y
    assert all(layout.places[a].y < layout.places[b].y for a, b in edges)
    for (source, target), points in layout.lines.items():
        assert all(upper[1] <= lower[1] for upper, lower in pairwise(points))
        for name, place in layout.places.items():
            if name not in (source, target):
                assert not any(_cuts(place, *segment) for segment in pairwise(points))


def _cuts(place, start, end):
    """Whether a straight piece of a line goes through a box; bends lie between the layers."""
    if start[0] != end[0]:
        return False
    inside = abs(start[0] - place.x) < place.width / 2
    return inside and start[1] < place.y + place.height / 2 and end[1] > place.y - place.height / 2


def test_parameters_stand_directly_above_their_reader(igraph):
    names = ["x", "a", "b", "c", "gain", "scaled"]
    edges = [("x", "a"), ("a", "b"), ("b", "c"), ("c", "scaled"), ("gain", "scaled")]
    places = lay_out(dict.fromkeys(names, (30.0, 20.0)), edges).places
    assert places["gain"].y == places["c"].y
    assert lay_out({}, []).places == {}


def test_without_igraph_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "igraph", None)
    with pytest.raises(MissingDependencyError, match=r"snnkit\[drawing\]"):
        captured().draw()
