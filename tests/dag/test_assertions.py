"""Assertions in a model's code run in its graph as well."""

import pytest
import torch
from torch import _assert, nn

from snnkit.dag import DagModule, GraphError, build_from_unstructured_module


class Asserting(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        torch._assert_async((x.abs() < 100).all(), "below 100")
        _assert((x.abs() < 50).all(), "below 50")
        torch._check_tensor_all(x.abs() < 25, lambda: "below 25")
        torch._check(x.shape[0] < 7, lambda: "a small batch")
        torch._check_value(x.shape[1] == 4, lambda: "four features")
        return self.layer(x)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (200.0, RuntimeError, "below 100"),
        (70.0, AssertionError, "below 50"),
        (30.0, RuntimeError, "below 25"),
    ],
)
def test_assertions_on_numbers_raise_what_the_model_raises(value, error, message, saved, tmp_path):
    model = Asserting().eval()
    graph = build_from_unstructured_module(model, (torch.randn(2, 4),))
    if saved:
        graph.save(tmp_path / "graph")
        graph = DagModule.load(tmp_path / "graph")
    assert torch.equal(graph(torch.ones(3, 4)), model(torch.ones(3, 4)))
    for callee in (model, graph):
        with pytest.raises(error, match=message):
            callee(torch.full((2, 4), value))


def test_assertions_on_sizes_become_guards():
    graph = build_from_unstructured_module(Asserting().eval(), (torch.randn(2, 4),))
    assert graph(torch.zeros(6, 4)).shape == (6, 4)
    with pytest.raises(GraphError, match="decides on the size"):
        graph(torch.zeros(9, 4))


def test_assertions_pass_on_the_meta_device():
    class Net(nn.Module):
        def forward(self, x):
            torch._assert_async((x > 0).all())
            return x + 1

    graph = build_from_unstructured_module(Net(), (torch.ones(2, 4, device="meta"),))
    assert graph(torch.ones(3, 4, device="meta")).is_meta
    assert torch.equal(graph(torch.ones(3, 4)), torch.full((3, 4), 2.0))
    with pytest.raises(RuntimeError):
        graph(torch.zeros(3, 4))
