"""Small models that are easy to get wrong without an error: the graph of each returns the same bits."""

import functools
from collections import OrderedDict, namedtuple

import pytest
import torch
import torch.nn.functional as F
from capture_models import Model
from torch import nn

from snnkit.dag import GraphError, build_from_unstructured_module
from snnkit.dag.capture.verification import compare

Pair = namedtuple("Pair", "first second")


def iadd(self, y):
    z = y * 3
    z += y
    z *= 2
    return z


def write_into_a_view(self, y):
    y[:, 0].add_(1)
    return y


def write_items(self, y):
    y[:, 1:3] = 0.5
    y[..., 0] *= 2
    return y


def copied_then_written(self, y):
    z = y.clone()
    z[:, 0] = y[:, 1]
    return z + y


def without_gradients(self, y):
    with torch.no_grad():
        z = y * 2
    return z + y


TRAPS = {
    "x + 1": lambda s, y: y + 1,
    "x - 1": lambda s, y: y - 1,
    "1 - x": lambda s, y: 1 - y,
    "2 / x": lambda s, y: 2 / y,
    "x / 3": lambda s, y: y / 3,
    "x + x": lambda s, y: y + y,
    "x * x": lambda s, y: y * y,
    "cat of a value with itself": lambda s, y: torch.cat([y, y], 1),
    "cat along the last axis": lambda s, y: torch.cat([y, y.relu()], dim=-1),
    "flatten from axis 2": lambda s, y: torch.flatten(y, 2),
    "gelu by tanh": lambda s, y: F.gelu(y, approximate="tanh"),
    "four indices": lambda s, y: y[:, :, 1:3, 0:2],
    "add with alpha": lambda s, y: torch.add(y, y.relu(), alpha=3),
    "an output twice": lambda s, y: (y, y),
    "an intermediate value as output": lambda s, y: (y, y.relu()),
    "F.relu": lambda s, y: F.relu(y),
    "iterating over chunks": lambda s, y: [part * 2 for part in y.chunk(2, 1)],
    "x.size()": lambda s, y: y.view(y.size(0), -1),
    "permute by tuple": lambda s, y: y.permute((0, 2, 3, 1)),
    "permute by numbers": lambda s, y: y.permute(0, 2, 3, 1),
    "clamp(min=)": lambda s, y: y.clamp(min=0.1),
    "add_": lambda s, y: y.add_(1),
    "+= and *=": iadd,
    "if on a shape": lambda s, y: y if y.shape[2] > 3 else y + 1,
    "x.mean()": lambda s, y: y.mean(),
    "dictionaries in tuples": lambda s, y: {"a": y, "b": (y, [y + 1, None, 3, "text"])},
    "ordered dictionary": lambda s, y: OrderedDict(z=y, a=y * 2),
    "named tuple": lambda s, y: Pair(y, y.relu()),
    "what max returns": lambda s, y: y.max(1),
    "max of two": lambda s, y: torch.max(y, y + 1),
    "writing into a view": write_into_a_view,
    "writing items": write_items,
    "a copy that is written into": copied_then_written,
    "free parameter, buffer and constant": lambda s, y: y * s.gain + s.offset - s.constant,
    "unbind backwards": lambda s, y: torch.stack(y.unbind(1)[::-1], 1),
    "iterating over a tensor's values": lambda s, y: sum(part for part in y.unbind(1)),
    "split in unequal parts": lambda s, y: torch.split(y, [1, 3], 1)[1],
    "einsum": lambda s, y: torch.einsum("bchw,bdhw->bcd", y, y),
    "batch in arithmetic": lambda s, y: y.reshape(y.shape[0] * 2, -1),
    "batch in a factory": lambda s, y: y + torch.zeros(y.shape[0], 1, 1, 1, dtype=y.dtype, device=y.device),
    "expand by the batch": lambda s, y: s.gain.expand(y.shape[0], -1, -1, -1) + y,
    "x.mT": lambda s, y: y.mT,
    "a power either way": lambda s, y: 2**y + y**2,
    "where": lambda s, y: torch.where(y > 0, y, -y),
    "without gradients": without_gradients,
    "interpolate by sizes": lambda s, y: F.interpolate(y, size=(y.shape[2] * 2, y.shape[3] * 2)),
    "fft": lambda s, y: torch.fft.rfft2(y),
    "a layer twice": lambda s, y: s.conv(s.conv(y)),
    "softmax in three spellings": lambda s, y: y.softmax(-1) + F.softmax(y, dim=-1) + torch.softmax(y, -1),
    "masked_fill": lambda s, y: y.masked_fill(y > 0, 0.0),
    "biased variance": lambda s, y: y.var(1, unbiased=False) + torch.var_mean(y, 1)[0],
    "roll": lambda s, y: y.roll((1, 1), (2, 3)),
    "random numbers": lambda s, y: y + torch.randn_like(y),
    "arange on a device": lambda s, y: y + torch.arange(y.shape[-1], device=y.device),
    "tensor from numbers": lambda s, y: y * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1),
    "advanced index by list": lambda s, y: y[:, [0, 2]],
    "advanced index by tensor": lambda s, y: y[:, torch.tensor([0, 2])],
    "index by mask": lambda s, y: y[y > 0],
    "conversion of type": lambda s, y: y.double().to(torch.float32).type(torch.float64),
    "functional linear with own weights": lambda s, y: F.linear(y.movedim(1, -1), s.linear.weight),
    "parameter in a list": lambda s, y: functools.reduce(torch.mul, [y, s.gain, s.gain]),
    "len(x)": lambda s, y: y.reshape(len(y), -1),
    "stacks by axis": lambda s, y: torch.hstack([y, torch.vstack([y[:, :2], y[:, 2:]]).flip(0)[: len(y)]]),
    "fmax and fmin": lambda s, y: torch.fmax(y, s.gain) + torch.fmin(y, s.gain),
    "one bound of a clamp": lambda s, y: torch.clamp_min(y, 0.1) + y.clamp_max(0.2),
    "short-time transform": lambda s, y: torch.stft(
        y.flatten(1), 8, 4, window=torch.hann_window(8, device=y.device), return_complex=True).abs(),
    "scatter_reduce": lambda s, y: y.scatter_reduce(1, torch.zeros_like(y, dtype=torch.long), y, "amax"),
    "singular values": lambda s, y: torch.linalg.svd(y).S + torch.linalg.matrix_norm(y)[..., None],
    "embedding bag": lambda s, y: F.embedding_bag((y.flatten(1) > 0).long(), s.linear.weight),
    "a loop over the batch": lambda s, y: torch.stack([element * 2 for element in y]),
}  # fmt: skip

KEEPS_TO_ITS_BATCH = {"a loop over the batch"}


@pytest.mark.parametrize("name", TRAPS)
def test_the_graph_returns_the_models_bits_containers_and_gradients(name):
    torch.manual_seed(0)
    model = Model(TRAPS[name]).eval()
    graph = build_from_unstructured_module(model, (torch.randn(2, 4, 6, 6),))
    x = torch.randn(2 if name in KEEPS_TO_ITS_BATCH else 5, 4, 6, 6)
    results, gradients = [], []
    for each in (model, graph, graph.flatten()):
        torch.manual_seed(1)
        nn.Module.zero_grad(model)
        results.append(each(x.clone()))
        leaves = [leaf for leaf in _tensors(results[-1]) if leaf.requires_grad]
        if leaves:
            sum(leaf.abs().sum() for leaf in leaves).backward()
        gradients.append([None if p.grad is None else p.grad.clone() for p in model.parameters()])
    assert compare(results[0], results[1]) is None
    assert compare(results[0], results[2]) is None
    assert compare(gradients[0], gradients[1]) is None


def _tensors(tree):
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in _tensors(item)] if isinstance(tree, list | tuple) else []


@pytest.mark.parametrize("name", sorted(KEEPS_TO_ITS_BATCH))
def test_what_cannot_follow_the_batch_refuses_another_one(name):
    graph = build_from_unstructured_module(Model(TRAPS[name]), (torch.randn(2, 4, 6, 6),))
    with pytest.raises(GraphError, match=r"shape \(3, 4, 6, 6\) does not fit \(2, 4, 6, 6\)"):
        graph(torch.randn(3, 4, 6, 6))


def operations(function):
    graph = build_from_unstructured_module(Model(function), (torch.randn(2, 4, 6, 6),))
    return [vertex.operation for vertex in graph.inner_vertices[1:]], graph


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        ((lambda s, y: y + s.gain, lambda s, y: torch.add(y, s.gain), lambda s, y: y.add_(s.gain),
          lambda s, y: y.__iadd__(s.gain)), "add"),
        ((lambda s, y: y.view(-1, 4), lambda s, y: y.reshape(-1, 4), lambda s, y: torch.reshape(y, (-1, 4))),
         "reshape"),
        ((lambda s, y: F.relu(y), lambda s, y: y.relu_(), lambda s, y: torch.relu(y),
          lambda s, y: F.relu(y, inplace=True)), "relu"),
        ((lambda s, y: y.flatten(1), lambda s, y: torch.flatten(y, start_dim=1)), "flatten"),
        ((lambda s, y: y.clamp(0, 1), lambda s, y: torch.clip(y, min=0, max=1)), "clamp"),
        ((lambda s, y: y.true_divide(2), lambda s, y: y / 2, lambda s, y: torch.div(y, 2)), "div"),
        ((lambda s, y: F.dropout(y, 0.5, False), lambda s, y: torch.dropout(y, 0.5, False)), "dropout"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_function_is_one_operation(spellings, expected):
    texts = set()
    for spelling in spellings:
        found, graph = operations(spelling)
        assert found[-1] == expected
        vertex = graph.inner_vertices[-1]
        texts.add((repr(vertex.args[1:]), repr(vertex.kwargs), getattr(vertex.module, "in_place", False)))
    assert len({text[1] for text in texts}) == 1
    assert not any(text[2] for text in texts)


def test_a_write_that_a_view_sees_stays_a_write():
    found, graph = operations(write_into_a_view)
    assert found == ["getitem", "add"]
    assert graph.inner_vertices[-1].module.in_place


def test_the_callers_tensor_is_not_written_into():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 2))
    graph = build_from_unstructured_module(model, (torch.randn(2, 3),))
    x = torch.tensor([[-1.0, 2.0, -3.0]])
    graph(x)
    assert x[0, 0] == -1


def test_identity_and_dropout_stand_beside_the_value_that_they_pass_on():
    class Passing(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            return x + self.same(x)

    graph = build_from_unstructured_module(Passing(), (torch.randn(2, 3),))
    graph.replace(graph.get_vertex_by_name("same"), nn.ReLU())
    x = torch.tensor([[-1.0, 2.0, 0.5]])
    assert torch.equal(graph(x), x + x.relu())


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (lambda: nn.Transformer(16, 2, 1, 1, 32, batch_first=True), lambda: (torch.randn(2, 5, 16),) * 2),
        (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), lambda: (torch.randn(2, 5, 8),)),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2)), lambda: (torch.randn(2, 3),)),
        (lambda: nn.LSTM(3, 4, 2, batch_first=True), lambda: (torch.randn(2, 5, 3),)),
    ],
    ids=["transformer", "encoder layer", "weight norm", "lstm"],
)
@pytest.mark.parametrize("training", [False, True])
def test_modules_of_torch_that_are_more_than_layers(model, inputs, training):
    torch.manual_seed(0)
    model, inputs = model().train(training), inputs()
    graph = build_from_unstructured_module(model, inputs)
    torch.manual_seed(1)
    expected = model(*inputs)
    torch.manual_seed(1)
    assert compare(expected, graph(*inputs)) is None
