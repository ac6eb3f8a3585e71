"""The compiled kernels of ExpSynTorch and LIFNeuronTorch against the plain loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lif_cases import assert_gradients_agree

from snnkit.nn import functional
from snnkit.nn.backend import BackendError, use_backend
from snnkit.nn.functional import SpikeGeneration
from snnkit.nn.kernels import exp_syn_function, launch, lif_function
from snnkit.nn.modules import ExpSynTorch, LIFNeuronTorch, LowPass
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 40))
DTYPES = st.sampled_from([torch.float32, torch.float64])
CONSTANT = st.sampled_from(["scalar", "vector"])


def drawn(seed, dtype, ranges):
    """Return uniform numbers by name; ``ranges`` holds low, high and shape."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for name, (low, high, shape) in ranges.items():
        numbers = torch.rand(shape, generator=generator, dtype=torch.float64)
        values[name] = (low + (high - low) * numbers).to(dtype).requires_grad_()
    return values


def compare(run, values, dtype, weigh):
    """Run under both backends; outputs must be equal to the last bit, gradients to rounding."""
    results = []
    for backend in ("numba", "reference"):
        with use_backend(backend):
            outputs = run(values)
        generator = torch.Generator().manual_seed(5)
        loss = sum(
            (torch.randn(output.shape, generator=generator).to(dtype) * output).sum()
            for name, output in outputs.items()
            if weigh in ("all", name)
        )
        found = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
        gradients = {
            name: torch.zeros_like(v) if g is None else g
            for (name, v), g in zip(values.items(), found, strict=True)
        }
        results.append((outputs, gradients))
    (outputs, gradients), (expected, expected_gradients) = results
    assert list(outputs) == list(expected)
    for name, value in expected.items():
        assert torch.equal(outputs[name], value), name
    assert_gradients_agree(gradients, expected_gradients, dtype)


@settings(max_examples=60, derandomize=True)
@given(SHAPES, DTYPES, CONSTANT, st.booleans(), st.sampled_from(["all", "currents", "last"]), st.integers(0))
def test_synapses_equal_the_reference(shape, dtype, beta, noisy, weigh, seed):  # noqa: PLR0917
    batch, _, channels = shape
    ranges = {"data": (-0.5, 1.0, shape), "isyn": (-1.0, 1.0, (batch, channels))}
    ranges["beta"] = (0.1, 0.95, (channels,) if beta == "vector" else ())
    if noisy:
        ranges["noise"] = (-0.2, 0.2, shape)

    def run(values):
        currents, last = functional.exp_synapse(
            values["data"], values["isyn"], values["beta"], values.get("noise")
        )
        return {"currents": currents, "last": last}

    compare(run, drawn(seed % 2**31, dtype, ranges), dtype, weigh)


@settings(max_examples=80, derandomize=True)
@given(
    SHAPES, DTYPES, st.tuples(CONSTANT, CONSTANT, CONSTANT), st.booleans(), st.booleans(), st.booleans(),
    st.sampled_from([1.0, 3.0, 2.0**16]), st.sampled_from([0.3, 2.0]),
    st.sampled_from(["all", "spikes", "last"]), st.integers(0),
)  # fmt: skip
def test_neurons_without_synapses_equal_the_reference(  # noqa: PLR0917
    shape, dtype, constants, noisy, periodic, record, cap, window, weigh, seed
):
    batch, _, neurons = shape
    sizes = [(neurons,) if constant == "vector" else () for constant in constants]
    ranges = {
        "data": (-0.4, 1.2, shape),
        "vmem": (-0.5, 0.5, (batch, neurons)),
        "alpha": (0.2, 0.95, sizes[0]),
        "bias": (-0.1, 0.2, sizes[1]),
        "threshold": (0.4, 1.5, sizes[2]),
    }
    if noisy:
        ranges["noise"] = (-0.2, 0.2, shape)
    function = (PeriodicExponential if periodic else StepPWL).apply

    def run(values):
        spike = SpikeGeneration(values["threshold"], function, window, cap)
        state = (values["vmem"], values["alpha"], values["bias"])
        noise = values.get("noise")
        spikes, last, records = functional.lif_neuron(
            values["data"], *state, spike, noise=noise, record=record
        )
        return {"spikes": spikes, "last": last, **{f"record {name}": r for name, r in records.items()}}

    compare(run, drawn(seed % 2**31, dtype, ranges), dtype, weigh)


def modules():
    return {"ExpSynTorch": ExpSynTorch(5, noise_std=0.3), "LIFNeuronTorch": LIFNeuronTorch(5, noise_std=0.3)}


@pytest.mark.parametrize("name", list(modules()))
def test_modules_train_through_the_kernels_and_carry_their_state(name, monkeypatch):
    module = modules()[name]
    data = (torch.rand(3, 40, 5) < 0.3).float()
    launched = []

    def spy(*arguments):
        launched.append(arguments[1])
        launch.run_kernel(*arguments)

    for function in (exp_syn_function, lif_function):
        monkeypatch.setattr(function, "run_kernel", spy)
    results = []
    for backend in ("auto", "reference"):
        torch.manual_seed(1)
        module.reset_state().zero_grad()
        with use_backend(backend):
            module(data[:1])
            output, state, _ = module(data)
        output.sum().backward()
        gradients = {n: p.grad.clone() for n, p in torch.nn.Module.named_parameters(module)}
        results.append((output.detach(), state, gradients))
    assert len(launched) == 3  # forward twice; the backward pass stops at the state that was carried
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", list(modules()))
def test_sequences_can_be_cut(name):
    module = modules()[name]
    module.noise_std = 0.0
    data = torch.rand(3, 30, 5)
    with use_backend("numba"):
        whole = module(data)[0]
        module.reset_state()
        parts = [module(data[:, :11])[0], module(data[:, 11:])[0]]
    assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("name", list(modules()))
def test_gradients_of_gradients_equal_those_of_the_reference(name):
    data = torch.rand(2, 12, 5, dtype=torch.float64)
    results = []
    for backend in ("numba", "reference"):
        module = modules()[name].double()
        module.noise_std = 0.0
        x = data.clone().requires_grad_()
        wanted = [x, *module.parameters().astorch()]
        with use_backend(backend):
            output = module(x)[0]
        first = torch.autograd.grad(output.pow(3).sum(), wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted, allow_unused=True)
        results.append((first, second))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", list(modules()))
def test_function_transforms_and_integer_events_are_taken(name):
    module = modules()[name]
    module.noise_std = 0.0
    events = torch.rand(3, 20, 5) < 0.4
    with use_backend("numba"):
        booleans = module(events)[0]
        numbers = module.reset_state()(events.float())[0]
        assert torch.equal(booleans, numbers)
        with pytest.raises(BackendError, match="function transform"):
            torch.func.grad(lambda x: module.reset_state()(x)[0].sum())(events.float())
    gradient = torch.func.grad(lambda x: module.reset_state()(x)[0].sum())(events.float())
    wanted = events.float().requires_grad_()
    module.reset_state()(wanted)[0].sum().backward()
    torch.testing.assert_close(gradient, wanted.grad)


@pytest.mark.parametrize("tau", [0.0, 0.02, [0.01, 0.02, 0.03]])
def test_low_pass_equals_its_equation_to_the_last_bit(tau):
    with pytest.warns(DeprecationWarning, match="use ExpSynTorch"):
        module = LowPass(3, 1e-3, tau)
    data = torch.randn(20, 4, 3, requires_grad=True)
    outputs, loop = [], torch.zeros(4, 3)
    for step in data:
        loop = loop * module.alpha_mem + step
        outputs.append(loop)
    expected = torch.stack(outputs)
    with use_backend("numba"):
        filtered, state, _ = module(data)
    assert torch.equal(filtered, expected)
    assert torch.equal(state["vmem"], expected[-1])
    weights = torch.randn(expected.shape)
    ours, theirs = (torch.autograd.grad((y * weights).sum(), data)[0] for y in (filtered, expected))
    torch.testing.assert_close(ours, theirs)
