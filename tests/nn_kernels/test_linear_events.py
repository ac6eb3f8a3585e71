"""Linear layers event by event against the matrix product."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnkit.nn.backend import use_backend
from snnkit.nn.kernels import launch, linear_function
from snnkit.nn.kernels.linear_function import LinearProduct, mostly_zero
from snnkit.nn.linear_paths import linear
from snnkit.nn.modules import LinearTorch


@pytest.fixture
def launched(monkeypatch):
    """The names of all kernels that were run."""
    names = []

    def spy(module, name, *arguments):
        names.append(name)
        launch.run_kernel(module, name, *arguments)

    monkeypatch.setattr(linear_function, "run_kernel", spy)
    return names


def events(*shape, rate=0.1, dtype=torch.float32, seed=0):
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (drawn < rate).to(dtype) * (1 + (drawn < rate / 3).to(dtype))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 150)),
    st.integers(1, 150),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 1000),
)
def test_products_event_by_event_equal_ascending_sums(shape, size_out, rate, dtype, seed):
    *_, size_in = shape
    data = events(*shape, rate=rate, dtype=dtype, seed=seed).requires_grad_()
    weight = torch.randn(size_in, size_out, generator=torch.Generator().manual_seed(seed)).to(dtype)
    weight.requires_grad_()
    output = LinearProduct.apply(data, weight, True)
    expected = torch.zeros(*shape[:2], size_out, dtype=dtype)
    for k in range(size_in):
        expected = expected + data[..., k : k + 1] * weight[k]
    assert torch.equal(output, expected)
    g = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed + 1)).to(dtype)
    found = torch.autograd.grad(output, (data, weight), g)
    wanted = torch.autograd.grad(data @ weight, (data, weight), g)
    relative = 1e-5 if dtype == torch.float32 else 1e-10
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= relative * other.abs().max().clamp(min=1.0)


def test_sparse_input_goes_event_by_event_and_dense_input_does_not(launched):
    layer = LinearTorch((64, 64))
    layer(events(4, 100, 64))[0].sum().backward()
    assert launched == ["linear_forward", "linear_weight_gradient"]
    launched.clear()
    dense = torch.rand(4, 100, 64)
    output, _, _ = layer(dense)
    assert torch.equal(output, dense @ layer.weight)
    output.sum().backward()
    assert launched == []


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_the_other_backends_multiply_matrices(launched, backend):
    data, weight = events(4, 100, 64), torch.randn(64, 64)
    with use_backend(backend):
        assert torch.equal(linear(data, weight), data @ weight)
    assert launched == []


def test_autocast_and_transforms_are_left_to_torch(launched):
    data, weight = events(4, 100, 64), torch.randn(64, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(data, weight).dtype == torch.bfloat16
    by_transform = torch.func.grad(lambda w: linear(data, w).square().sum())(weight.detach())
    assert launched == []
    torch.testing.assert_close(
        by_transform, torch.autograd.grad(linear(data, weight).square().sum(), weight)[0]
    )


def test_results_do_not_depend_on_the_number_of_threads():
    data, weight = events(16, 200, 96), torch.randn(96, 80)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            own = weight.clone().requires_grad_()
            output = linear(data, own)
            (output * torch.linspace(-1, 1, 80)).sum().backward()
            results.append((output.detach(), own.grad))
    finally:
        torch.set_num_threads(before)
    for output, gradient in results[1:]:
        assert torch.equal(output, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_gradients_of_gradients():
    data = events(4, 100, 64, dtype=torch.float64).requires_grad_()
    weight = torch.randn(64, 64, dtype=torch.float64, requires_grad=True)
    results = []
    for output in (LinearProduct.apply(data, weight, True), data @ weight):
        first = torch.autograd.grad(output.pow(3).sum(), (data, weight), create_graph=True)
        results.append(torch.autograd.grad(sum(g.square().sum() for g in first), (data, weight)))
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-10)


def test_small_or_huge_products_stay_matrix_products():
    assert not mostly_zero(torch.zeros(2, 3), torch.zeros(3, 4))
    assert not mostly_zero(torch.zeros(100, 2048), torch.zeros(2048, 1024))
    assert mostly_zero(torch.zeros(4000, 64), torch.zeros(64, 64))
