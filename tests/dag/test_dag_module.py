import copy
import pickle

import pytest
import torch
from torch import nn

from snnkit.dag import (
    Add,
    Concat,
    DagModule,
    GraphError,
    Identity,
    InnerVertex,
    Select,
    call_module,
    register_call,
)


def residual_block() -> DagModule:
    block = DagModule("Residual")
    x = block.add_input_vertex("input")
    linear = block.add_vertex("0_Linear", nn.Linear(5, 5), [x])
    relu = block.add_vertex("1_ReLU", nn.ReLU(), [linear])
    block.mark_as_output(block.add_vertex("add", Add(), [relu, x]))
    return block


def nested_graph() -> DagModule:
    graph = DagModule("Net")
    x = graph.add_input_vertex("input")
    first = graph.add_vertex("0_Linear", nn.Linear(3, 5), x)
    block = graph.add_vertex("1_Residual", residual_block(), [first])
    graph.mark_as_output(graph.add_vertex("2_Linear", nn.Linear(5, 2), ["1_Residual"]))
    assert block.successors == (graph.get_vertex_by_name("2_Linear"),)
    return graph


def test_forward_computes_what_the_modules_compute():
    graph = nested_graph()
    x = torch.randn(4, 3)
    first, block, last = (vertex.module for vertex in graph.inner_vertices)
    hidden = first(x)
    expected = last(block(hidden))
    assert torch.equal(graph(x), expected)
    inner = block.get_vertex_by_name("0_Linear").module
    assert torch.equal(block(hidden), torch.relu(inner(hidden)) + hidden)


def test_flatten_joins_names_to_module_paths_and_keeps_modules():
    graph = nested_graph()
    flat = graph.flatten()
    names = [vertex.name for vertex in flat.vertices]
    assert names == [
        "input",
        "0_Linear",
        "1_Residual.0_Linear",
        "1_Residual.1_ReLU",
        "1_Residual.add",
        "2_Linear",
    ]
    add = flat.get_vertex_by_name("1_Residual.add")
    assert [source.name for source in add.predecessors] == ["1_Residual.1_ReLU", "0_Linear"]
    assert flat.get_vertex_by_name("0_Linear").module is graph.get_vertex_by_name("0_Linear").module
    x = torch.randn(4, 3)
    assert torch.equal(flat(x), graph(x))
    assert [vertex.name for vertex in graph.vertices] == ["input", "0_Linear", "1_Residual", "2_Linear"]


def test_flattening_twice_changes_nothing():
    flat = nested_graph().flatten()
    assert repr(flat.flatten()) == repr(flat)


def test_parameters_are_those_of_the_modules():
    graph = nested_graph()
    module = graph.get_vertex_by_name("0_Linear").module
    assert any(parameter is module.weight for parameter in graph.parameters())
    assert len(list(graph.parameters())) == 6
    assert "vertex_modules.1_Residual/0_Linear.weight" in graph.flatten().state_dict()


def test_state_dict_round_trip_restores_outputs():
    torch.manual_seed(0)
    graph, other = nested_graph(), nested_graph()
    x = torch.randn(4, 3)
    assert not torch.equal(graph(x), other(x))
    other.load_state_dict(graph.state_dict())
    assert torch.equal(graph(x), other(x))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_copies_are_independent_and_consistent(duplicate):
    graph = nested_graph()
    other = duplicate(graph)
    x = torch.randn(4, 3)
    assert torch.equal(other(x), graph(x))
    vertex = other.get_vertex_by_name("0_Linear")
    assert vertex.dag_module is other
    with torch.no_grad():
        vertex.module.weight.zero_()
        vertex.module.bias.zero_()
    assert not torch.equal(other(x), graph(x))


def test_traverse_goes_depth_first_into_nested_graphs():
    graph = nested_graph()
    names = [vertex.name for vertex in graph.traverse()]
    assert names == ["input", "0_Linear", "1_Residual", "input", "0_Linear", "1_ReLU", "add", "2_Linear"]
    classes = graph.traverse(lambda v: type(v.module).__name__ if isinstance(v, InnerVertex) else None)
    assert classes == [None, "Linear", "DagModule", None, "Linear", "ReLU", "Add", "Linear"]


def test_print_shows_vertices_modules_sources_and_outputs():
    text = repr(nested_graph())
    assert text.splitlines() == [
        "DagModule 'Net' {",
        "    input         input",
        "    0_Linear      Linear (in_features=3, out_features=5, bias=True)  <- input",
        "    1_Residual    DagModule 'Residual'                               <- 0_Linear",
        "        input     input",
        "        0_Linear  Linear (in_features=5, out_features=5, bias=True)  <- input",
        "        1_ReLU    ReLU                                               <- 0_Linear",
        "        add       Add                                                <- 1_ReLU, input",
        "    2_Linear      Linear (in_features=5, out_features=2, bias=True)  <- 1_Residual",
        "} -> 2_Linear",
    ]


def test_a_vertex_read_twice_is_one_successor_and_is_added_twice():
    graph = DagModule("double")
    x = graph.add_input_vertex("input")
    graph.mark_as_output(graph.add_vertex("add", Add(), [x, x]))
    assert [vertex.name for vertex in x.successors] == ["add"]
    assert torch.equal(graph(torch.ones(2)), 2 * torch.ones(2))


def test_several_outputs_are_a_tuple_and_select_reads_one_of_them():
    block = DagModule("block")
    x = block.add_input_vertex("input")
    doubled = block.add_vertex("double", Add(), [x, x])
    block.mark_as_output(doubled, x)
    graph = DagModule("net")
    value = graph.add_input_vertex("input")
    nested = graph.add_vertex("block", block, [value])
    skip = graph.add_vertex("skip", Select(1), [nested])
    main = graph.add_vertex("main", Select(0), [nested])
    graph.mark_as_output(graph.add_vertex("join", Concat(), [main, skip]))
    data = torch.ones(1, 2)
    assert torch.equal(block(data)[0], 2 * data)
    assert torch.equal(graph(data), torch.tensor([[2.0, 2.0, 1.0, 1.0]]))
    flat = graph.flatten()
    assert torch.equal(flat(data), graph(data))
    assert [v.name for v in flat.get_vertex_by_name("join").predecessors] == ["block.double", "input"]


def test_a_vertex_with_several_outputs_can_be_read_whole():
    block = DagModule("block")
    x = block.add_input_vertex("input")
    block.mark_as_output(x, block.add_vertex("same", Identity(), [x]))
    graph = DagModule("net")
    nested = graph.add_vertex("block", block, [graph.add_input_vertex("input")])
    graph.mark_as_output(graph.add_vertex("join", Identity(), [nested]))
    data = torch.ones(2)
    for whole in (graph(data), graph.flatten()(data)):
        assert isinstance(whole, tuple)
        assert all(torch.equal(part, data) for part in whole)


def test_registered_calls_apply_to_subclasses_and_the_nearest_class_wins():
    class Base(nn.Module):
        def forward(self, value):
            return value + 1, {}, {}

    class Derived(Base):
        pass

    class Plain(Derived):
        pass

    register_call(Base, lambda module, *inputs: module(*inputs)[0])
    register_call(Plain, lambda module, value: value)
    assert call_module(Derived(), torch.tensor(1)) == 2
    assert call_module(Plain(), torch.tensor(1)) == 1
    with pytest.raises(TypeError, match="subclass"):
        register_call(int, lambda module: None)


def test_errors_inside_a_module_are_not_hidden():
    graph = nested_graph()
    with pytest.raises(RuntimeError, match="shapes"):
        graph(torch.randn(4, 7))


def test_impossible_graphs_are_refused_with_a_reason():
    graph = nested_graph()
    other = DagModule("other")
    foreign = other.add_input_vertex("input")
    with pytest.raises(GraphError, match="already has a vertex '0_Linear'"):
        graph.add_vertex("0_Linear", nn.ReLU(), ["input"])
    with pytest.raises(GraphError, match="not a vertex of DagModule 'Net'"):
        graph.add_vertex("extra", nn.ReLU(), [foreign])
    with pytest.raises(GraphError, match="Did you mean '0_Linear'"):
        graph.get_vertex_by_name("0_linear")
    with pytest.raises(GraphError, match="inside itself"):
        graph.add_vertex("loop", graph, ["input"])
    with pytest.raises(GraphError, match="has 1 inputs, 2 are connected"):
        graph.add_vertex("block", residual_block(), ["input", "input"])
    with pytest.raises(GraphError, match="non-empty"):
        graph.add_input_vertex("")
    with pytest.raises(GraphError, match=r"needs a torch\.nn\.Module, not function"):
        graph.add_vertex("extra", lambda x: x, ["input"])
    with pytest.raises(GraphError, match="at least one output"):
        graph.mark_as_output()
    with pytest.raises(GraphError, match="no output"):
        other(1)
    with pytest.raises(GraphError, match="2 values were given"):
        graph(1, 2)
    assert len(graph.vertices) == 4
