"""What a graph keeps of a model's state, modes and inputs; what is refused, with which reason."""

import types

import pytest
import torch
import torch.nn.functional as F
from capture_models import Model
from torch import nn

from snnkit.dag import (
    CaptureError,
    DagModule,
    GraphError,
    InnerVertex,
    build_from_unstructured_module,
)

REFUSED = {
    "if on a value": (lambda s, y: y if y.sum() > 0 else -y, r"decides on the numbers in a tensor"),
    "item": (lambda s, y: y * y.mean().item(), r"reads the numbers in a tensor \(item\)"),
    "numpy": (lambda s, y: torch.from_numpy(y.detach().numpy()), r"reads the numbers"),
    "tolist": (lambda s, y: y * y.mean((0, 2, 3)).tolist()[0], r"reads the numbers"),
    "writing to out=": (lambda s, y: torch.add(y, 1, out=torch.empty_like(y)), r"out=.*is not captured"),
    "an object as output": (lambda s, y: types.SimpleNamespace(y=y), r"returns an object of class"),
}


@pytest.mark.parametrize(("function", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_graph_can_hold_is_refused_with_reason_and_place(function, reason):
    with pytest.raises(CaptureError, match=reason) as caught:
        build_from_unstructured_module(Model(function), (torch.randn(2, 4, 6, 6),))
    assert "Model" in str(caught.value)


def test_a_decision_on_the_batch_is_checked_in_each_call():
    model = Model(lambda s, y: y * 2 if y.shape[0] > 8 else y)
    graph = build_from_unstructured_module(model, (torch.randn(2, 4, 6, 6),))
    x = torch.randn(7, 4, 6, 6)
    assert torch.equal(graph(x), model(x))
    with pytest.raises(GraphError, match="decides on the size of its input at Model"):
        graph(torch.randn(9, 4, 6, 6))


def test_a_hidden_state_that_changes_the_output_is_not_lost():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(3))

        def forward(self, x):
            self.calls += 1
            self.last = self.last * 0.5 + x.sum(0)
            return x * self.calls + self.last

    model, x = Counting(), torch.randn(2, 3)
    graph = build_from_unstructured_module(model, (x,), copy=True)
    assert float(model.calls) == 0
    for _ in range(3):
        assert torch.equal(model(x), graph(x))


class Remembering(nn.Module):
    memory = None

    def forward(self, x):
        result = x if self.memory is None else x + self.memory
        self.memory = x * 2
        return result


class Appending(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x.mean(0))
        return x + sum(self.seen)


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (Remembering, r"'memory' \(missing before, a tensor of shape \(2, 3\) after\)"),
        (Appending, r"'seen' \(a list of 0 before, a list of 1 after\)"),
        (Counting, r"'calls' \(0 before, 1 after\)"),
    ],
)
def test_a_state_in_plain_attributes_is_refused_by_name(model, told):
    model = nn.Sequential(model())
    with pytest.raises(CaptureError, match=told.replace("'", "'0.", 1)) as caught:
        build_from_unstructured_module(model, (torch.randn(2, 3),))
    assert "register_buffer" in str(caught.value)
    assert not getattr(model[0], "memory", None)


def test_an_attribute_that_is_only_written_is_no_state():
    class Noting(nn.Module):
        def forward(self, x):
            self.last = x * 2
            return self.last + 1

    x = torch.randn(2, 3)
    assert torch.equal(build_from_unstructured_module(Noting(), (x,))(x), x * 2 + 1)


def test_a_cache_of_what_follows_from_parameters_is_computed_anew():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(3))
            self.cache = {}

        def forward(self, x):
            if "bias" not in self.cache:
                self.cache["bias"] = self.table.flip(0)
            return x + self.cache["bias"]

    model = Cached()
    model(torch.zeros(2, 3))
    graph = build_from_unstructured_module(model, (torch.randn(2, 3),))
    with torch.no_grad():
        model.table.mul_(2)
    assert torch.equal(graph(torch.zeros(1, 3))[0], model.table.flip(0))


def test_a_function_with_its_own_backward_is_refused():
    class Straight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.round()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    with pytest.raises(CaptureError, match=r"Straight is a torch.autograd.Function"):
        build_from_unstructured_module(Model(lambda s, y: Straight.apply(y)), (torch.randn(2, 4, 6, 6),))


class DropPath(nn.Module):
    def forward(self, x):
        if not self.training:
            return x
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(0.7)
        return x * mask.div_(0.7)


class NormAct(nn.BatchNorm2d):
    def forward(self, x):
        if self.training:
            self.num_batches_tracked.add_(1)
        statistics = (self.running_mean, self.running_var, self.weight, self.bias)
        return F.relu(F.batch_norm(x, *statistics, self.training, self.momentum, self.eps))


class TwoModes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.path = nn.Conv2d(3, 8, 3), NormAct(8), DropPath()

    def forward(self, x):
        x = self.norm(self.conv(x))
        return F.dropout((x + self.path(x.relu())).mean((2, 3)), 0.3, self.training)


@pytest.mark.parametrize("captured_in", [False, True])
def test_a_graph_follows_its_mode_with_random_numbers_and_statistics(captured_in):
    model = TwoModes().train(captured_in)
    x = torch.randn(4, 3, 8, 8)
    graph = build_from_unstructured_module(model, (x,), copy=True)
    for training in (False, True, True, False):
        outputs = []
        for each in (model, graph):
            each.train(training)
            torch.manual_seed(3)
            outputs.append(each(x))
        assert torch.equal(*outputs)
    assert all(map(torch.equal, sorted_buffers(model), sorted_buffers(graph)))


def sorted_buffers(module):
    return sorted(module.buffers(), key=lambda buffer: (buffer.dim(), float(buffer.double().sum())))


def test_a_layer_that_is_called_in_one_mode_only_binds_the_graph_to_that_mode():
    class Auxiliary(TwoModes):
        def __init__(self):
            super().__init__()
            self.extra = nn.Linear(8, 2)

        def forward(self, x):
            y = super().forward(x)
            return self.extra(y) if self.training else y

    graph = build_from_unstructured_module(Auxiliary().eval(), (torch.randn(2, 3, 8, 8),))
    graph(torch.randn(2, 3, 8, 8))
    with pytest.raises(GraphError, match=r"captured in eval\(\) .* calls extra in one mode"):
        graph.train()(torch.randn(2, 3, 8, 8))


def test_the_model_is_left_as_it_is():
    model = TwoModes().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    graph = build_from_unstructured_module(model, (torch.randn(2, 3, 8, 8, generator=torch.Generator()),))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    graph.eval()
    assert model.conv.training
    assert graph.get_vertex_by_name("conv").module.weight is model.conv.weight


def test_keyword_arguments_nested_inputs_and_defaults():
    class Flexible(nn.Module):
        def forward(self, x, pair, *, mask=None, scale=2.0):
            y = x + pair["a"] * pair["b"][0] * scale
            return y if mask is None else y.masked_fill(mask, 0.0)

    model = Flexible()
    inputs = {"x": torch.randn(2, 3), "pair": {"a": torch.randn(2, 3), "b": [torch.randn(2, 3)]}}
    plain = build_from_unstructured_module(model, inputs)
    assert torch.equal(plain(*inputs.values()), model(**inputs))
    masked = build_from_unstructured_module(model, {**inputs, "mask": torch.rand(2, 3) > 0.5, "scale": 3.0})
    mask = torch.rand(2, 3) > 0.5
    assert torch.equal(masked(**inputs, mask=mask, scale=3.0), model(**inputs, mask=mask, scale=3.0))
    with pytest.raises(GraphError, match=r"holds for 3\.0 only, not for 4\.0"):
        masked(**inputs, mask=mask, scale=4.0)
    with pytest.raises(GraphError, match="Did you mean 'mask'"):
        masked(**inputs, maks=mask, scale=3.0)


def test_shared_weights_stay_shared_and_names_follow_the_modules():
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    model[1][0].weight = model[0].weight
    graph = build_from_unstructured_module(model, (torch.randn(2, 4),))
    names = [name for name, vertex in graph.traverse_paths() if isinstance(vertex, InnerVertex)]
    assert names == ["0", "1", "1.0", "1.1"]
    flat = {vertex.name: vertex.module for vertex in graph.flatten().inner_vertices}
    assert flat["0"].weight is flat["1.0"].weight is model[0].weight
    assert isinstance(graph.get_vertex_by_name("1").module, DagModule)


def test_examples_are_found_where_the_model_tells():
    graph = build_from_unstructured_module(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()))
    assert graph(torch.randn(1, 3, 20, 24)).shape == (1, 4, 18, 22)
    with pytest.raises(CaptureError, match="pass example_inputs"):
        build_from_unstructured_module(Model(lambda s, y: y).function.__self__.__class__.__base__())


def test_a_models_own_error_is_told_as_such():
    with pytest.raises(CaptureError, match="itself fails on the example inputs"):
        build_from_unstructured_module(nn.Linear(3, 2), (torch.randn(2, 5),))


class Jitter(nn.Module):
    def forward(self, x):
        noise = torch.zeros_like(x)
        noise[:, :2].uniform_(0.25, 0.5)
        return x + noise


def test_uniform_numbers_may_be_drawn_into_a_part_of_a_tensor():
    x = torch.randn(3, 4)
    graph = build_from_unstructured_module(Jitter(), (x,))
    torch.manual_seed(1)
    expected = Jitter()(x)
    torch.manual_seed(1)
    assert torch.equal(graph(x), expected)
    assert (expected != x).any()
