"""The compiled kernels of neurons with adaptation against the plain loop."""

import pytest
import torch
from hypothesis import given, settings
from lif_cases import CASES, READOUTS, Case, assert_gradients_agree, run

from snnkit.nn import functional
from snnkit.nn.backend import use_backend
from snnkit.nn.functional import LIFState
from snnkit.nn.modules import aLIFTorch

TIRING = CASES.map(lambda case: Case(**vars(case) | {"adaptive": True}))


@settings(max_examples=80, derandomize=True)
@given(TIRING, READOUTS)
def test_feed_forward_populations_equal_the_reference(case, readout):
    outputs, gradients = run(case, "numba", readout)
    expected, expected_gradients = run(case, "reference", readout)
    assert list(outputs) == list(expected)
    for name, value in expected.items():
        assert torch.equal(outputs[name], value), name
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


@settings(max_examples=40, derandomize=True)
@given(TIRING.map(lambda case: Case(**vars(case) | {"recurrent": True, "dtype": torch.float64})), READOUTS)
def test_recurrent_populations_equal_the_reference_up_to_the_order_of_sums(case, readout):
    outputs, gradients = run(case, "numba", readout)
    expected, expected_gradients = run(case, "reference", readout)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-10, atol=1e-10)
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("cut", [1, 7])
def test_a_sequence_can_be_cut_and_gradients_cross_the_cut(recurrent, cut):
    case = Case(synapses=2, recurrent=recurrent, adaptive=True, noisy=True, cap=4.0)
    values = case.tensors()
    data, state, dynamics, noise = case.arguments(values)
    wanted = [value for value in values.values() if value is not None]
    with use_backend("numba"):
        whole, end, _ = functional.lif(data, state, dynamics, noise)
        first, middle, _ = functional.lif(data[:, :cut], state, dynamics, noise[:, :cut])
        second, last, _ = functional.lif(data[:, cut:], middle, dynamics, noise[:, cut:])
    both = torch.cat([first, second], 1)
    assert torch.equal(whole, both)
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))
    weights = torch.randn(whole.shape, dtype=torch.float64)
    gradients, expected = (torch.autograd.grad((spikes * weights).sum(), wanted) for spikes in (both, whole))
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)


def test_only_what_wants_a_gradient_gets_one():
    case = Case(recurrent=True, noisy=True, synapses=2, adaptive=True)
    for chosen in case.tensors():
        found = []
        for backend in ("numba", "reference"):
            values = {name: v.requires_grad_(name == chosen) for name, v in case.tensors().items()}
            with use_backend(backend):
                spikes, final, _ = functional.lif(*case.arguments(values))
            (spikes.sum() + final.vmem.sum() + final.iahp.sum()).backward()
            assert all(v.grad is None for name, v in values.items() if name != chosen)
            found.append(values[chosen].grad)
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10, msg=chosen)


@pytest.mark.parametrize("recurrent", [False, True])
def test_gradients_of_gradients_equal_those_of_the_reference(recurrent):
    case = Case(synapses=2, recurrent=recurrent, noisy=True, periodic=True, adaptive=True)
    results = []
    for name in ("numba", "reference"):
        values = case.tensors()
        wanted = [value for value in values.values() if value is not None]
        with use_backend(name):
            spikes, final, record = functional.lif(*case.arguments(values), record=True)
        loss = spikes.square().sum() + final.iahp.square().sum() + record["isyn"].pow(3).sum()
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted, allow_unused=True)
        results.append((first, second))
    torch.testing.assert_close(results[0], results[1])


def test_adaptation_without_its_state_is_none():
    """As in the plain loop, where the current begins with the state."""
    case = Case(adaptive=True)
    data, state, dynamics, _ = case.arguments(case.tensors())
    with use_backend("numba"):
        spikes, final, _ = functional.lif(data, LIFState(*state[:3]), dynamics)
    with use_backend("reference"):
        expected, _, _ = functional.lif(data, LIFState(*state[:3]), dynamics)
    assert torch.equal(spikes, expected)
    assert final.iahp is None


def test_a_module_trains_and_carries_its_state_through_the_kernels():
    torch.manual_seed(0)
    neurons = aLIFTorch((8, 4), has_rec=True, threshold=0.5, noise_std=0.2)
    data = (torch.rand(5, 40, 8) < 0.4).float()
    results = []
    for backend in ("numba", "reference"):
        torch.manual_seed(1)
        neurons.reset_state().zero_grad()
        with use_backend(backend):
            neurons(data[:1])
            output, state, _ = neurons(data)
        output.sum().backward()
        results.append((state, {n: p.grad.clone() for n, p in torch.nn.Module.named_parameters(neurons)}))
    (state, gradients), (expected_state, expected) = results
    assert state["iahp"].abs().min() > 0
    torch.testing.assert_close(state, expected_state)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threads", [2, 3])
def test_results_do_not_depend_on_the_number_of_threads(threads):
    case = Case(7, 120, 32, 2, adaptive=True, cap=2.0, dtype=torch.float32)
    before, results = torch.get_num_threads(), []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            results.append(run(case, "numba", "all"))
    finally:
        torch.set_num_threads(before)
    for one, other in zip(*results, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
