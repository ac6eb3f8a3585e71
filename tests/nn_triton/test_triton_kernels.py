"""Triton's kernels against the plain loops, on a CUDA device or in Triton's interpreter."""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lif_cases import READOUTS, Case, assert_gradients_agree, run

from snnkit.nn import functional
from snnkit.nn.backend import BackendError, get_backend, use_backend
from snnkit.nn.functional import SpikeGeneration
from snnkit.nn.kernels.coverage import MOST_CHANNELS
from snnkit.nn.modules import ExpSynTorch, LIFNeuronTorch, LIFTorch, aLIFTorch
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.triton,
    pytest.mark.skipif(
        DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1",
        reason="no CUDA device, and Triton was imported without TRITON_INTERPRET=1",
    ),
]

TINY = st.builds(
    Case,
    batch=st.integers(1, 2),
    steps=st.integers(1, 4),
    neurons=st.integers(1, 6),
    synapses=st.integers(1, 3),
    alpha=st.sampled_from(["scalar", "vector"]),
    beta=st.sampled_from(["scalar", "row", "matrix"]),
    bias=st.sampled_from(["scalar", "vector"]),
    threshold=st.sampled_from(["scalar", "vector"]),
    noisy=st.booleans(),
    periodic=st.booleans(),
    adaptive=st.booleans(),
    cap=st.sampled_from([1.0, 3.0, 2.0**16]),
    window=st.sampled_from([0.3, 2.0]),
    relative=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 10**6),
    device=st.just(DEVICE),
)


@settings(max_examples=40, derandomize=True)
@given(TINY, READOUTS)
def test_feed_forward_populations_equal_the_reference(case, readout):
    outputs, gradients = run(case, "triton", readout)
    expected, expected_gradients = run(case, "reference", readout)
    assert list(outputs) == list(expected)
    for name, value in expected.items():
        assert torch.equal(outputs[name], value), name
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


@settings(max_examples=25, derandomize=True)
@given(TINY.map(lambda case: Case(**vars(case) | {"recurrent": True, "dtype": torch.float64})), READOUTS)
def test_recurrent_populations_equal_the_reference_up_to_the_order_of_sums(case, readout):
    outputs, gradients = run(case, "triton", readout)
    expected, expected_gradients = run(case, "reference", readout)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-10, atol=1e-10)
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


@pytest.mark.parametrize("recurrent", [False, True])
def test_populations_larger_than_a_block_or_a_tile(recurrent):
    case = Case(1, 3, 35, 2, recurrent=recurrent, adaptive=True, noisy=True, device=DEVICE)
    outputs, gradients = run(case, "triton", "all")
    expected, expected_gradients = run(case, "reference", "all")
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-10, atol=1e-10)
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_sequence_can_be_cut_and_gradients_cross_the_cut(recurrent):
    case = Case(2, 5, 3, 2, recurrent=recurrent, adaptive=True, device=DEVICE)
    values = case.tensors()
    data, state, dynamics, _ = case.arguments(values)
    wanted = [value for value in values.values() if value is not None]
    with use_backend("triton"):
        whole, end, _ = functional.lif(data, state, dynamics)
        first, middle, _ = functional.lif(data[:, :2], state, dynamics)
        second, last, _ = functional.lif(data[:, 2:], middle, dynamics)
    both = torch.cat([first, second], 1)
    assert torch.equal(whole, both)
    assert all(torch.equal(a, b) for a, b in zip(end, last, strict=True))
    weights = torch.randn(whole.shape, dtype=torch.float64).to(DEVICE)
    gradients, expected = (torch.autograd.grad((spikes * weights).sum(), wanted) for spikes in (both, whole))
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chosen", ["data", "vmem", "alpha", "beta", "spikes", "gamma", "w_rec", "noise"])
def test_only_what_wants_a_gradient_gets_one(chosen):
    case = Case(1, 3, 3, 2, recurrent=True, noisy=True, adaptive=True, device=DEVICE)
    found = []
    for backend in ("triton", "reference"):
        values = {name: v.requires_grad_(name == chosen) for name, v in case.tensors().items()}
        with use_backend(backend):
            spikes, final, _ = functional.lif(*case.arguments(values))
        (spikes.sum() + final.vmem.sum()).backward()
        assert all(v.grad is None for name, v in values.items() if name != chosen)
        found.append(values[chosen].grad)
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("adaptive", [False, True])
def test_gradients_of_gradients_equal_those_of_the_reference(adaptive):
    case = Case(2, 4, 3, 2, recurrent=True, noisy=True, periodic=True, adaptive=adaptive, device=DEVICE)
    results = []
    for name in ("triton", "reference"):
        values = case.tensors()
        wanted = [value for value in values.values() if value is not None]
        with use_backend(name):
            spikes, final, record = functional.lif(*case.arguments(values), record=True)
        loss = spikes.square().sum() + final.vmem.square().sum() + record["isyn"].pow(3).sum()
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted, allow_unused=True)
        results.append((first, second))
    torch.testing.assert_close(results[0], results[1])


def test_not_a_number_stays_visible():
    case = Case(2, 4, 3, dtype=torch.float32, device=DEVICE)
    values = {k: None if v is None else v.detach() for k, v in case.tensors().items()}
    values["data"][0, 1, 2] = float("nan")
    values["data"][1, 2, 0] = float("inf")
    found = []
    for backend in ("triton", "reference"):
        with use_backend(backend):
            found.append(functional.lif(*case.arguments(values))[0])
    assert found[0][0, 1:, 2].isnan().all()
    assert torch.equal(found[0].nan_to_num(-1.0), found[1].nan_to_num(-1.0))


def gradients_of(run_layer, values):
    results = []
    for backend in ("triton", "reference"):
        with use_backend(backend):
            outputs = run_layer(values)
        loss = sum(
            (output * (1 + torch.arange(output.numel()).view_as(output).to(output))).sum()
            for output in outputs
        )
        results.append((outputs, torch.autograd.grad(loss, list(values.values()))))
    return results


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scalar", [False, True])
def test_synapses_equal_the_reference(dtype, scalar):
    values = {
        "data": torch.rand(2, 4, 70),
        "isyn": torch.rand(2, 70),
        "beta": torch.rand(() if scalar else 70),
    }
    values = {name: value.to(DEVICE, dtype).requires_grad_() for name, value in values.items()}
    ours, expected = gradients_of(lambda v: functional.exp_synapse(v["data"], v["isyn"], v["beta"]), values)
    assert all(torch.equal(a, b) for a, b in zip(ours[0], expected[0], strict=True))
    torch.testing.assert_close(ours[1], expected[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("surrogate", [StepPWL, PeriodicExponential])
@pytest.mark.parametrize("relative", [False, True])
def test_neurons_without_synapses_equal_the_reference(dtype, surrogate, relative):
    values = {"data": torch.rand(2, 4, 5), "vmem": torch.rand(2, 5), "alpha": torch.rand(())}
    values |= {"bias": torch.rand(5) * 0.1, "threshold": torch.rand(5) + 0.3}
    values = {name: value.to(DEVICE, dtype).requires_grad_() for name, value in values.items()}

    def run_layer(v):
        spike = SpikeGeneration(v["threshold"], surrogate.apply, 0.3, 2.0, relative)
        spikes, last, record = functional.lif_neuron(
            v["data"], v["vmem"], v["alpha"], v["bias"], spike, record=True
        )
        return spikes, last, record["vmem"]

    ours, expected = gradients_of(run_layer, values)
    assert all(torch.equal(a, b) for a, b in zip(ours[0], expected[0], strict=True))
    torch.testing.assert_close(ours[1], expected[1])


@pytest.mark.parametrize(
    "module", [LIFTorch((4, 2), has_rec=True), aLIFTorch(4), LIFNeuronTorch(4), ExpSynTorch(4)]
)
def test_modules_train_through_the_kernels(module):
    module = module.to(DEVICE)
    data = (torch.rand(2, 4, 4) * 2).to(DEVICE)
    results = []
    for backend in ("triton", "reference"):
        module.reset_state().zero_grad()
        with use_backend(backend):
            module(data[:1])
            output, state, _ = module(data)
        output.sum().backward()
        gradients = {n: p.grad.clone() for n, p in torch.nn.Module.named_parameters(module)}
        results.append((output.detach(), state, gradients))
    torch.testing.assert_close(results[0], results[1])


def test_a_recurrent_population_beyond_one_program_is_refused_with_the_limit():
    neurons = LIFTorch(MOST_CHANNELS + 1, has_rec=True, weight_init_func=torch.zeros).to(DEVICE)
    data = torch.zeros(1, 2, MOST_CHANNELS + 1, device=DEVICE)
    with use_backend("triton"), pytest.raises(BackendError, match=f"may have {MOST_CHANNELS} channels"):
        neurons(data)


def test_tensors_on_the_cpu_are_refused_without_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with use_backend("triton"), pytest.raises(BackendError, match="take tensors on CUDA devices"):
        LIFTorch(2)(torch.ones(1, 3, 2))


def test_tensors_choose_their_kernels_by_default(monkeypatch):
    from snnkit.nn.kernels import triton_function

    launched = []
    monkeypatch.setattr(triton_function, "launch", lambda kernel, *_, **__: launched.append(kernel))
    assert get_backend() == "auto"
    LIFTorch(2).to(DEVICE)(torch.ones(1, 3, 2, device=DEVICE))
    assert len(launched) == (DEVICE == "cuda")
