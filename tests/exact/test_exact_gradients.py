"""The compiled adjoint against autograd over a plain loop, and what gradients are defined to be."""

import numpy as np
import pytest
import torch
from exact.exact_nets import random_case

from snnkit.hw.xylo import chip_exact
from snnkit.nn.backend import use_backend
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential
from snnkit.transforms import ScalePlan


def gradients(exact, case, backend, everything=True):
    """Gradients of a random loss over the output, and over all recordings, of the second call."""
    exact.zero_grad()
    exact.reset_state()
    exact(case.first)
    data = case.second.clone().requires_grad_()
    with use_backend(backend):
        output, _, record = exact(data, record=everything)
        generator = torch.Generator().manual_seed(5)
        loss = 0.0
        for name, values in {**record, "output": output}.items():
            factors = torch.randn(values.shape, generator=generator, dtype=torch.float64).to(values.dtype)
            loss = loss + (values * factors).sum() * (1.0 if values is output or name == "Spikes" else 1e-3)
        loss.backward()
    found = {name: p.grad for name, p in torch.nn.Module.named_parameters(exact)}
    return {**found, "data": data.grad}


def relative_error(value, expected):
    return float((value - expected).norm() / (expected.norm() + 1e-12))


@pytest.mark.parametrize("share", range(3))
@pytest.mark.parametrize("everything", [True, False])
def test_compiled_adjoint_equals_the_reference(share, everything):
    for seed in range(share, 36, 3):
        case = random_case(seed)
        exact = case.exact()
        fast, plain = (gradients(exact, case, backend, everything) for backend in ("auto", "reference"))
        for name, expected in plain.items():
            assert relative_error(fast[name], expected) < 1e-10, (seed, name)


@pytest.mark.parametrize("seed", range(12))
def test_single_precision_is_close_to_double(seed):
    case, double = random_case(seed, torch.float32), random_case(seed)
    fast = gradients(case.exact(), case, "auto", everything=False)
    plain = gradients(case.exact(), case, "reference", everything=False)
    assert all(value.dtype == torch.float32 for value in fast.values())
    for name, expected in plain.items():
        assert relative_error(fast[name], expected) < 1e-4, name
    assert double.exact().specification.shape == case.exact().specification.shape


def one_neuron(weight=1.0, threshold=1.0, surrogate=PeriodicExponential, **more):
    leaks = {"leak_mode": "bitshifts", "dash_mem": torch.tensor([2.0]), "dash_syn": torch.tensor([[1.0]])}
    return Sequential(
        LinearTorch((1, 1), weight=torch.tensor([[weight]])),
        LIFTorch(1, **leaks, threshold=threshold, **more),
        LinearTorch((1, 1), weight=torch.ones(1, 1)),
        LIFTorch(1, **leaks, spike_generation_fn=surrogate, learning_window=1.0),
    )


def weight_gradient(exact, data):
    exact.zero_grad()
    exact.reset_state()
    _, _, record = exact(data, record=True)
    record["Spikes"].sum().backward()
    return float(exact.net[0].weight.grad.abs().sum()), record


def test_no_gradient_through_a_saturated_synapse():
    exact = chip_exact(one_neuron(spike_generation_fn=PeriodicExponential), "a2", plan=ScalePlan(7, 0, 0))
    free, record = weight_gradient(exact, torch.full((1, 1, 1), 1.0))
    assert free > 0
    assert float(record["Isyn"].detach()) == 127 * 2**7 / 2
    clamped, record = weight_gradient(exact, torch.full((1, 1, 1), 15.0))
    assert float(record["Isyn"].detach()) == 2**15 / 2  # what a full synapse leaves
    assert clamped == 0


def test_no_gradient_to_clipped_input():
    exact = chip_exact(one_neuron(), "a2")
    data = torch.tensor([15.0, 16.0]).reshape(1, 2, 1).requires_grad_()
    _, _, record = exact(data, record=True)
    record["Isyn"].sum().backward()
    assert data.grad[0, 0, 0] != 0
    assert data.grad[0, 1, 0] == 0


@pytest.mark.parametrize(("weight", "rate", "direction"), [(0.02, 0.0, -1.0), (1.5, 1.0, 1.0)])
def test_silent_outputs_and_outputs_that_always_fire_both_learn(weight, rate, direction):
    net = one_neuron(3.0)
    net[2].weight.data.fill_(weight)
    exact = chip_exact(net, "a2")
    output, _, _ = exact(torch.ones(1, 20, 1))
    assert float(output[:, 4:].detach().mean()) == rate
    (direction * output.sum()).backward()
    assert exact.net[2].weight.grad.item() > 0 if direction > 0 else exact.net[2].weight.grad.item() < 0


def test_decays_are_learned_and_the_program_follows():
    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((2, 8)), LIFTorch(8, leak_mode="bitshifts", dash_mem=2.0, dash_syn=2.0),
        LinearTorch((8, 1)), LIFTorch(1, spike_generation_fn=PeriodicExponential, learning_window=1.0),
    )  # fmt: skip
    exact = chip_exact(net, "a3")
    data = torch.randint(0, 2, (4, 30, 2)).float()
    before = exact.specification.dash_mem.copy()
    optimiser = torch.optim.Adam([exact.net[1].dash_mem], lr=0.2)
    for _ in range(5):
        optimiser.zero_grad()
        exact.reset_state()
        _, _, record = exact(data, record=True)
        (-record["Spikes"].sum()).backward()  # longer memory, more events
        assert exact.net[1].dash_mem.grad.item() < 0
        optimiser.step()
    assert (exact.specification.dash_mem > before).all()
    exact.reset_state()
    np.testing.assert_array_equal(exact(data)[0].detach().numpy(), exact.simulator()(data.numpy())[0])


def test_gradient_does_not_depend_on_the_number_of_threads():
    case = random_case(3, torch.float32)
    exact = case.exact()
    data = case.second.repeat(40, 20, 1)
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            exact.zero_grad()
            exact.reset_state()
            exact(data)[0].sum().backward()
            found.append([p.grad.clone() for p in torch.nn.Module.parameters(exact)])
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_gradients_of_gradients_are_refused():
    case = random_case(2)
    exact = case.exact()
    (gradient,) = torch.autograd.grad(
        exact(case.second)[0].square().sum(), exact.net[0].weight, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
