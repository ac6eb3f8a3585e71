"""Event by event: what sparse weights and their gradients are for inputs that are mostly zero."""

import pytest
import torch
from torch import Tensor, nn

from snnkit.dag import build_from_unstructured_module
from snnkit.dag.cost import cost_of
from snnkit.nn.modules import LIFTorch
from snnkit.sparse import SparseLayer
from snnkit.sparse.event_products import event_product
from snnkit.sparse.formats import FORMATS
from snnkit.sparse.kernels import by_event, plain
from snnkit.sparse.structure import rows_of


def events(*shape: int, dtype: torch.dtype = torch.float32, rate: float = 0.1) -> Tensor:
    return (torch.rand(shape) < rate).to(dtype) * torch.randint(1, 4, shape)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 5, 700])
def test_products_by_event_are_the_plain_ones(kind, dtype, rows):
    layer = SparseLayer(40, 24, density=0.3, format=kind, dtype=dtype)
    pattern = layer._pattern(True)
    senders, values = pattern.by_columns(), layer.values.detach()
    x, g = events(rows, 40, dtype=dtype), torch.randn(rows, 24, dtype=dtype)
    numbers = values if senders.order is None else values[senders.order.long()]
    lines, places = rows_of(senders), senders.indices.long()
    wanted = plain.multiply(numbers, places, lines, x.T, 24).T
    tolerance = {"rtol": 0, "atol": (1e-4 if dtype == torch.float32 else 1e-11)}
    torch.testing.assert_close(by_event.multiply_by_event(values, senders, x, 24), wanted, **tolerance)
    in_order = plain.sample(lines, places, x.T, g.T)
    wanted = (
        in_order
        if senders.order is None
        else torch.empty_like(in_order).index_copy(0, senders.order.long(), in_order)
    )
    torch.testing.assert_close(by_event.sample_by_event(senders, x, g), wanted, **tolerance)


@pytest.mark.parametrize("lead", [(), (1,), (2, 50), (0, 5)])
def test_layers_in_the_mode_events_compute_the_same(lead):
    layer = SparseLayer(40, 24, density=0.3, format="csc")
    x, g = events(*lead, 40).requires_grad_(), torch.randn(*lead, 24)
    found = []
    for mode in ("sparse", "events"):
        layer.mode = mode
        layer.zero_grad()
        x.grad = None
        y = layer(x)
        y.backward(g)
        found.append((y.detach(), x.grad, layer.values.grad))
        with torch.no_grad():
            assert torch.allclose(layer(x), y)
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_gradients_of_gradients_by_event():
    layer = SparseLayer(12, 8, density=0.4, dtype=torch.float64)
    pattern = layer._pattern(True)
    x = events(3, 12, dtype=torch.float64, rate=0.4).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, x: event_product(v, x, pattern), (layer.values, x))
    assert torch.autograd.gradgradcheck(lambda v, x: event_product(v, x, pattern), (layer.values, x))


def test_results_by_event_do_not_depend_on_the_number_of_threads():
    layer = SparseLayer(128, 96, density=0.2, mode="events")
    x, g = events(1000, 128), torch.randn(1000, 96)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            layer.zero_grad()
            y = layer(x)
            y.backward(g)
            found.append((y.detach(), layer.values.grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_synaptic_operations_of_sparse_layers_are_counted():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.lif = SparseLayer(10, 6, density=0.4, bias=False), LIFTorch(6)

        def forward(self, x: Tensor) -> Tensor:
            return self.lif(self.w(x))[0]

    net, x = Net(), (torch.rand(1, 20, 10) < 0.3).float()
    cost = cost_of(build_from_unstructured_module(net, (x,)), (x,))
    fan_out = net.w.mask().sum(0).float()
    assert cost.vertices["w"].macs == 20 * net.w.nnz
    assert cost.synaptic_operations == float((x * fan_out).sum())
