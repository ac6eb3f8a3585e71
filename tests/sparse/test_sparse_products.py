"""The three products of a sparse layer equal those of the masked dense weight, however they are called."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import forward_ad

from snnkit.nn.backend import use_backend
from snnkit.sparse import SparseLayer, SparsityError, change_structure
from snnkit.sparse.formats import FORMATS
from snnkit.sparse.kernels import launching, plain
from snnkit.sparse.products import product
from snnkit.sparse.structure import rows_of

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def make(rows: int, columns: int, density: float = 0.3, **settings) -> SparseLayer:
    generator = torch.Generator().manual_seed(rows * 100 + columns)
    return SparseLayer(columns, rows, density=density, generator=generator, **settings)


def gradients(layer: SparseLayer, x: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    layer.zero_grad()
    y = layer(x)
    y.backward(g)
    bias = () if layer.bias is None else (layer.bias.grad,)
    return (y.detach(), x.grad, layer.values.grad, *bias)


def masked_dense(layer: SparseLayer, x: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    """The same through a dense weight times a mask, in float64."""
    weight = layer.dense_weight().detach().double().requires_grad_()
    bias = None if layer.bias is None else layer.bias.detach().double().requires_grad_()
    x = x.detach().double().requires_grad_()
    y = F.linear(x, weight * layer.mask(), bias)
    y.backward(g.double())
    at_weights = weight.grad[layer.coordinates()]
    return (y.detach(), x.grad, at_weights, *(() if bias is None else (bias.grad,)))


def assert_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...], tolerance: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        if one.numel():
            scale = max(1.0, float(other.abs().max()))
            assert float((one.double() - other).abs().max()) <= tolerance * scale


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("lead", [(), (1,), (5,), (0,), (16,), (131,), (2, 3), (300,), (2, 0, 3)])
def test_output_and_gradients_are_those_of_masked_dense(kind, dtype, lead):
    layer = make(24, 40, format=kind, dtype=dtype)
    x, g = torch.randn(*lead, 40, dtype=dtype), torch.randn(*lead, 24, dtype=dtype)
    assert_close(gradients(layer, x, g), masked_dense(layer, x, g), TOLERANCE[dtype] * 2)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 40),
    batch=st.integers(1, 40),
    density=st.floats(0.01, 1),
    bias=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)),
    kind=st.sampled_from(["csr", "coo", "csc"]),
)
def test_any_size_with_empty_rows_and_columns(  # noqa: PLR0917
    rows, columns, batch, density, bias, dtype, kind
):
    layer = make(rows, columns, density, bias=bias, dtype=dtype, format=kind)
    x, g = torch.randn(batch, columns, dtype=dtype), torch.randn(batch, rows, dtype=dtype)
    assert_close(gradients(layer, x, g), masked_dense(layer, x, g), TOLERANCE[dtype] * 2)


@pytest.mark.parametrize("block", [(1, 1), (4, 4), (2, 8), (3, 5), (12, 20)])
@pytest.mark.parametrize("batch", [1, 7, 64, 200])
def test_blocks_of_any_size(block, batch):
    layer = make(24, 40, format="bsr", block=block, dtype=torch.float64)
    x, g = torch.randn(batch, 40).double(), torch.randn(batch, 24).double()
    assert_close(gradients(layer, x, g), masked_dense(layer, x, g), 1e-12)


@pytest.mark.parametrize("batch", [1, 3, 33, 160])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_kernels_do_what_the_plain_products_do(batch, dtype):
    layer = make(30, 50, format="csr", dtype=dtype)
    pattern = layer._pattern(True)
    x, g = torch.randn(batch, 50, dtype=dtype), torch.randn(batch, 30, dtype=dtype)
    values, rows, columns = layer.values.detach(), pattern.by_rows(), pattern.by_columns()
    lines, places = rows_of(rows), rows.indices.long()
    y = plain.multiply(values, lines, places, x.T, 30).T
    d_x = plain.multiply(values, places, lines, g.T, 50).T
    d_values = plain.sample(lines, places, g.T, x.T)
    tolerance = {"rtol": 0, "atol": TOLERANCE[dtype] * 20}
    torch.testing.assert_close(launching.multiply(values, rows, x), y, **tolerance)
    torch.testing.assert_close(launching.multiply(values, columns, g), d_x, **tolerance)
    torch.testing.assert_close(launching.sample(rows, g, x), d_values, **tolerance)
    both = launching.gradients(values, rows, columns, g, x)
    torch.testing.assert_close(both, (d_x, d_values), **tolerance)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_torch_backend_computes_the_same(kind):
    layer = make(24, 40, format=kind, dtype=torch.float64)
    x, g = torch.randn(6, 40).double(), torch.randn(6, 24).double()
    with use_backend("torch"):
        found = gradients(layer, x, g)
    assert_close(found, masked_dense(layer, x, g), 1e-12)


@pytest.mark.parametrize("kind", FORMATS)
def test_gradients_of_gradients(kind):
    layer = make(8, 12, format=kind, dtype=torch.float64)
    pattern = layer._pattern(True)
    x = torch.randn(3, 12).double().requires_grad_()

    def run(values: Tensor, x: Tensor) -> Tensor:
        return product(values, x, pattern)

    assert torch.autograd.gradcheck(run, (layer.values, x))
    assert torch.autograd.gradgradcheck(run, (layer.values, x))


def test_function_transforms_and_forward_mode():
    layer = make(5, 6, dtype=torch.float64)
    weight, x = layer.dense_weight().detach(), torch.randn(3, 6).double()
    values, places = layer.values.detach(), layer.flat_indices()

    def loss(values: Tensor, x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"values": values}, (x,)).square().sum()

    def dense_loss(values: Tensor, x: Tensor) -> Tensor:
        matrix = torch.zeros(30).double().index_put((places,), values).view(5, 6)
        return F.linear(x, matrix, layer.bias.detach()).square().sum()

    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacfwd):
        assert torch.allclose(transform(loss)(values, x), transform(dense_loss)(values, x))
    single = torch.func.vmap(torch.func.grad(loss), (None, 0))(values, x)
    assert torch.allclose(single, torch.func.vmap(torch.func.grad(dense_loss), (None, 0))(values, x))
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, x))).tangent
        with torch.no_grad():
            quiet = forward_ad.unpack_dual(layer(forward_ad.make_dual(x, x))).tangent
    assert torch.allclose(tangent, x @ weight.T)
    assert torch.allclose(quiet, x @ weight.T)


@pytest.mark.parametrize("kind", FORMATS)
def test_results_do_not_depend_on_the_number_of_threads(kind):
    layer = make(256, 256, 0.1, format=kind)
    x, g = torch.randn(300, 256), torch.randn(300, 256)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        single = gradients(layer, x, g)[:3]
        torch.set_num_threads(3)
        several = gradients(layer, x, g)[:3]
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(single, several, strict=True))


def test_inputs_that_are_not_contiguous():
    layer = make(24, 40)
    x, g = torch.randn(40, 3, 5).permute(2, 1, 0), torch.randn(24, 3, 5).permute(2, 1, 0)
    assert_close(gradients(layer, x, g), masked_dense(layer, x, g), 2e-6)
    expanded = torch.randn(1, 40).expand(6, 40)
    g = torch.randn(1, 24).expand(6, 24)
    assert_close(gradients(layer, expanded, g), masked_dense(layer, expanded, g), 2e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_single_precision(dtype):
    layer = make(24, 200, 0.5, dtype=dtype)
    x, g = torch.randn(9, 200, dtype=dtype), torch.randn(9, 24, dtype=dtype)
    found, step = gradients(layer, x, g), torch.finfo(dtype).eps
    assert all(tensor.dtype == dtype for tensor in found)
    assert_close(found, masked_dense(layer, x, g), 3 * step)


def test_only_what_needs_a_gradient_is_computed():
    layer = make(24, 40, format="csr")
    layer(torch.randn(3, 40)).sum().backward()
    assert layer.values.grad is not None
    assert not layer._turned
    layer.values.requires_grad_(False)
    x = torch.randn(3, 40, requires_grad=True)
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.dense_weight().sum(0).expand(3, 40), atol=1e-6)


def test_a_structure_that_changed_after_the_forward_pass_is_an_error():
    for change in (SparseLayer.prune_smallest_values, lambda layer: change_structure(layer, ~layer.mask())):
        layer = make(24, 40, 0.5, format="csr")
        y = layer(torch.randn(3, 40, requires_grad=True))
        change(layer)
        with pytest.raises(SparsityError, match="call backward"):
            y.sum().backward()
        assert layer.values.grad is None
        layer(torch.randn(3, 40)).sum().backward()
        assert layer.values.grad.shape == layer.values.shape


def test_values_that_do_not_belong_to_the_structure_are_refused():
    layer = make(24, 40)
    with pytest.raises(SparsityError, match="3 values do not belong"):
        torch.func.functional_call(layer, {"values": torch.zeros(3)}, (torch.randn(2, 40),))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csr", "bsr"])
def test_compiled_and_exported_layers(kind):
    layer = make(24, 40, format=kind)
    x = torch.randn(3, 40, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    g = torch.randn(3, 24)
    compiled(x).backward(g)
    assert_close((x.grad, layer.values.grad), masked_dense(layer, x, g)[1:3], 2e-6)
    exported = torch.export.export(
        layer.eval(), (x.detach(),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    other = torch.randn(7, 40)
    assert torch.allclose(exported.module()(other), layer(other), atol=1e-6)
