import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snnkit.dag import (
    Add,
    DagModule,
    Function,
    GraphError,
    InnerVertex,
    Select,
    VerificationError,
    build_from_unstructured_module,
)
from snnkit.dag.editing import (
    ANY,
    Pattern,
    chain,
    find,
    fuse_batch_norms,
    insert_after,
    insert_batch_norms,
    insert_before,
    insert_between,
    remove,
    rewrite,
    swap,
    swap_activations,
    unwrap,
    wrap,
)
from snnkit.dag.roles import SearchBlock, StudentModule, TeacherModule, choose


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return F.relu(self.act(self.bn(self.conv(x))) + x)


class NormAct(nn.BatchNorm2d):
    def forward(self, x):
        statistics = (self.running_mean, self.running_var, self.weight, self.bias)
        return F.silu(F.batch_norm(x, *statistics, self.training, self.momentum, self.eps))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = NormAct(4)
        self.blocks = nn.Sequential(Block(4), Block(4))
        self.last = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.last(self.blocks(self.norm(self.stem(x)))).mean((2, 3)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    net = Net().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight)
    return net


@pytest.fixture
def graph(model):
    return build_from_unstructured_module(model, (torch.randn(2, 3, 8, 8),))


@pytest.fixture
def x():
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(7))


def small():
    graph = DagModule("small")
    x = graph.add_input_vertex("x")
    first = graph.add_vertex("first", nn.Linear(3, 3), [x])
    second = graph.add_vertex("second", nn.Tanh(), [first])
    graph.mark_as_output(graph.add_vertex("sum", Add(), [second, first, second]))
    return graph


def test_insert_after_reaches_all_readers_and_the_output():
    graph = small()
    first, total = graph.get_vertex_by_name("first"), graph.get_vertex_by_name("sum")
    inserted = insert_after(first, nn.ReLU(), "clip")
    assert [vertex.name for vertex in graph.vertices] == ["x", "first", "clip", "second", "sum"]
    assert first.successors == (inserted,)
    last = insert_after(total, nn.Sigmoid())
    assert graph.output is last
    x = torch.randn(2, 3)
    hidden = torch.relu(first.module(x))
    assert torch.equal(graph(x), torch.sigmoid(hidden.tanh() + hidden + hidden.tanh()))


def test_insert_between_reaches_every_use_by_one_reader_only():
    graph = small()
    first, second, total = (graph.get_vertex_by_name(name) for name in ("first", "second", "sum"))
    insert_between(second, total, nn.ReLU())
    insert_before(second, nn.Sigmoid())
    x = torch.randn(2, 3)
    hidden = first.module(x)
    clipped = torch.relu(hidden.sigmoid().tanh())
    assert torch.equal(graph(x), clipped + hidden + clipped)
    with pytest.raises(GraphError, match="'first' does not read 'sum'"):
        insert_between(total, first, nn.ReLU())


def test_remove_joins_the_ends_and_refuses_where_it_cannot():
    graph = small()
    x = torch.randn(2, 3)
    remove(graph.get_vertex_by_name("second"))
    hidden = graph.get_vertex_by_name("first").module(x)
    assert torch.equal(graph(x), hidden + hidden + hidden)
    other = small()
    with pytest.raises(GraphError, match="'first' is read by second, sum"):
        other.remove_vertex(other.get_vertex_by_name("first"))
    with pytest.raises(GraphError, match="reads second, first"):
        remove(other.get_vertex_by_name("sum"))


def test_a_failed_edit_leaves_the_graph_as_it_was():
    graph = small()
    before = repr(graph)
    first = graph.get_vertex_by_name("first")
    with pytest.raises(GraphError, match="before it is computed"):
        first.args = (graph.get_vertex_by_name("sum"),)
    with pytest.raises(GraphError, match="already has a vertex"):
        insert_after(first, nn.ReLU(), "sum")
    with pytest.raises(GraphError, match="order must hold each vertex once"):
        graph.reorder(graph.vertices[1:])
    with pytest.raises(GraphError, match="would come after it"):
        graph.reorder(graph.vertices[::-1])
    assert repr(graph) == before


def test_constants_in_arguments_can_be_set_anew(graph, x):
    flat = graph.flatten()
    mean = flat.get_vertex_by_name("mean")
    assert mean.kwargs == {"dim": (2, 3)}
    mean.kwargs = {"dim": (2, 3), "keepdim": True}
    flat.get_vertex_by_name("head").args = (
        flat.add_call(
            "squeeze", Function("flatten"), (mean,), {"start_dim": 1}, flat.get_vertex_by_name("head")
        ),
    )
    assert torch.equal(flat(x), graph(x))


def test_wrap_and_unwrap_are_opposites(graph, x):
    flat = graph.flatten()
    expected, names = flat(x), [vertex.name for vertex in flat.vertices]
    chosen = [flat.get_vertex_by_name(f"blocks.0.{name}") for name in ("conv", "bn", "act")]
    block = wrap(chosen, "first")
    assert isinstance(block.module, DagModule)
    assert [vertex.name for vertex in block.module.inner_vertices] == [v.name for v in chosen]
    assert torch.equal(flat(x), expected)
    unwrap(block)
    assert torch.equal(flat(x), expected)
    assert [vertex.name.removeprefix("first.") for vertex in flat.vertices] == names


def test_wrapping_several_outputs_and_moving_what_stands_between():
    graph = DagModule("net")
    x = graph.add_input_vertex("x")
    a = graph.add_vertex("a", nn.ReLU(), [x])
    reader = graph.add_vertex("reader", nn.Tanh(), [a])
    b = graph.add_vertex("b", nn.Sigmoid(), [x])
    graph.mark_as_output(graph.add_vertex("sum", Add(), [reader, a, b]))
    data = torch.randn(4)
    expected = graph(data)
    block = wrap([a, b], "both")
    assert [vertex.name for vertex in graph.vertices] == ["x", "both", "both_0", "both_1", "reader", "sum"]
    assert all(isinstance(vertex.module, Select) for vertex in block.successors)
    assert torch.equal(graph(data), expected)
    unwrap(block)
    assert torch.equal(graph(data), expected)


def test_what_a_path_leaves_and_enters_again_cannot_be_wrapped():
    graph = small()
    with pytest.raises(GraphError, match="'sum' reads 'second', which itself reads what is to be wrapped"):
        wrap([graph.get_vertex_by_name("first"), graph.get_vertex_by_name("sum")], "block")
    with pytest.raises(GraphError, match="All vertices to wrap must be different"):
        wrap([graph.get_vertex_by_name("first"), small().get_vertex_by_name("second")], "block")


def test_patterns_are_found_at_all_depths(graph):
    matches = find(graph, chain(nn.Conv2d, nn.BatchNorm2d, nn.ReLU, names=("conv", "bn", "act")))
    assert [match.path + match["conv"].name for match in matches] == ["blocks.0.conv", "blocks.1.conv"]
    assert [vertex.name for vertex in matches[0].inputs] == ["x"]
    residual = Pattern("relu", Pattern("add", Pattern(nn.ReLU), Pattern(name="skip")))
    assert [match["skip"].name for match in find(graph, residual)] == ["x", "x"]
    assert [
        match["skip"].name for match in find(graph, Pattern("add", Pattern(name="skip"), Pattern(nn.ReLU)))
    ] == [
        "x",
        "x",
    ]
    assert not find(graph, chain(nn.Conv2d, nn.ReLU))
    assert len(find(graph, Pattern(lambda vertex: vertex.name == "stem"))) == 1


def test_a_pattern_used_twice_stands_for_one_vertex():
    class Gate(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(x) + x * torch.sigmoid(x + 1)

    graph = build_from_unstructured_module(Gate(), (torch.randn(2, 3),))
    value = Pattern(name="value")
    swish = Pattern("mul", value, Pattern("sigmoid", value))
    rewritten = rewrite(graph, swish, lambda match: nn.SiLU(), tolerance=1e-6)
    assert rewritten.places == ("mul",)
    operations = [vertex.operation for vertex in rewritten.graph.inner_vertices]
    assert operations == [None, "add", "sigmoid", "mul", "add"]
    with pytest.raises(VerificationError, match="moves its outputs by"):
        rewrite(graph, swish, lambda match: nn.ReLU(), tolerance=1e-6)


def test_a_value_that_others_read_is_in_no_closed_match():
    graph = small()
    pattern = chain(nn.Linear, nn.Tanh)
    assert not find(graph, pattern)
    assert len(find(graph, pattern, closed=False)) == 1
    assert len(find(graph, Pattern("add", ANY, ANY))) == 1


def test_conditions_choose_among_matches(graph, x):
    done = rewrite(
        graph,
        Pattern(nn.Conv2d),
        lambda match: nn.Identity(),
        require=lambda match: match.path == "blocks.1.",
    )
    assert done.places == ("blocks.1.conv",)
    assert not torch.equal(done.graph(x), graph(x))


@pytest.mark.parametrize("flat", [False, True])
def test_fused_batch_norms_leave_outputs_and_the_model_as_they_were(model, graph, x, flat):
    before = model(x)
    fused = fuse_batch_norms(graph.flatten() if flat else graph)
    assert fused.places == (("norm.batch_norm",) if flat else ()) + ("blocks.0.bn", "blocks.1.bn")
    torch.testing.assert_close(fused.graph(x), before, rtol=1e-4, atol=1e-5)
    inner = [vertex for _, vertex in fused.graph.traverse_paths() if isinstance(vertex, InnerVertex)]
    kinds = [vertex.operation or type(vertex.module).__name__ for vertex in inner]
    assert "BatchNorm2d" not in kinds
    assert flat == ("batch_norm" not in kinds)
    assert torch.equal(model(x), before)
    assert torch.equal(graph(x), before)


def test_a_shared_convolution_is_not_fused():
    conv, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = conv, norm

        def forward(self, x):
            return self.norm(self.conv(self.conv(x).relu()))

    graph = build_from_unstructured_module(Shared().eval(), (torch.randn(2, 3, 4, 4),))
    assert fuse_batch_norms(graph).places == ()


def test_batch_norms_go_behind_convolutions_that_lack_one(graph, x):
    done = insert_batch_norms(graph)
    assert done.places == ("last",)
    norm = done.graph.get_vertex_by_name("last_bn")
    assert norm.module.num_features == 4
    assert [reader.name for reader in norm.successors] == ["mean"]
    torch.testing.assert_close(done.graph(x), graph(x), rtol=1e-4, atol=1e-4)


def test_batch_norms_go_behind_convolutions_that_are_functions():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(5, 3, 1))

        def forward(self, x):
            return F.conv1d(x, self.kernel)

    done = insert_batch_norms(build_from_unstructured_module(Functional(), (torch.randn(2, 3, 7),)))
    assert done.places == ("conv1d",)
    assert done.graph.get_vertex_by_name("conv1d_bn").module.num_features == 5


def test_every_activation_is_swapped_layer_or_function(graph, x):
    done = swap_activations(graph, nn.GELU)
    assert done.places == ("norm.silu", "blocks.0.act", "blocks.0.relu", "blocks.1.act", "blocks.1.relu")
    assert not torch.equal(done.graph(x), graph(x))
    wider = swap(graph, nn.Linear, lambda vertex: nn.Linear(vertex.module.in_features, 7))
    assert wider.graph(x).shape == (3, 7)
    assert graph(x).shape == (3, 2)


def test_teacher_and_student(graph, x):
    teacher, student = (
        TeacherModule.from_graph(graph),
        StudentModule.from_graph(swap_activations(graph, nn.SiLU).graph),
    )
    teacher.train()
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in graph.parameters())
    output, loss = student.distil(teacher, x, paths=["blocks.0", "blocks.1.conv"])
    assert torch.equal(output, student(x))
    loss.backward()
    gradients = {name for name, parameter in student.named_parameters() if parameter.grad is not None}
    assert any("blocks" in name for name in gradients)
    assert not any("head" in name for name in gradients)
    assert StudentModule.from_graph(graph).distil(teacher, x)[1].item() == 0
    with pytest.raises(GraphError, match="has no vertices nowhere"):
        student.distil(teacher, x, paths=["nowhere"])


def test_search_blocks_mix_choose_and_are_saved(graph, x, tmp_path):
    alternatives = {"conv": nn.Conv2d(4, 4, 1), "same": nn.Identity(), "pool": nn.AvgPool2d(1)}
    block = SearchBlock.of("search", alternatives)
    searched = swap(graph, lambda vertex: vertex.name == "last", lambda vertex: block).graph
    found = searched.get_vertex_by_name("last").module
    hidden = torch.randn(2, 4, 3, 3)
    expected = sum(module(hidden) for module in alternatives.values()) / 3
    torch.testing.assert_close(found(hidden), expected)
    searched(x).sum().backward()
    assert found.logits.grad is not None
    with torch.no_grad():
        found.logits.copy_(torch.tensor([0.0, 2.0, 1.0]))
    searched.save(tmp_path / "searched")
    loaded = DagModule.load(tmp_path / "searched")
    again = loaded.get_vertex_by_name("last").module
    assert isinstance(again, SearchBlock)
    assert again.best == "same"
    assert torch.equal(loaded(x), searched(x))
    assert isinstance(choose(loaded).get_vertex_by_name("last").module, nn.Identity)
