"""The compiled kernels against the plain loop: values to the last bit, gradients to rounding."""

import pytest
import torch
from hypothesis import given, settings
from lif_cases import CASES, READOUTS, Case, assert_gradients_agree, run

from snnkit.nn import functional
from snnkit.nn.backend import use_backend
from snnkit.nn.functional import LIFState
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet


@settings(max_examples=120, deadline=None, derandomize=True)
@given(CASES, READOUTS)
def test_feed_forward_populations_equal_the_reference(case, readout):
    outputs, gradients = run(case, "numba", readout)
    expected, expected_gradients = run(case, "reference", readout)
    assert list(outputs) == list(expected)
    for name, value in expected.items():
        assert torch.equal(outputs[name], value), name
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


def ascending_lif(data, state, dynamics, noise):
    """The equations with recurrent events summed over ascending neurons, starting from zero."""
    vmem, isyn, spikes, _ = state
    courses = []
    for t in range(data.shape[1]):
        received = torch.zeros_like(data[:, t])
        for m in range(vmem.shape[1]):
            received = received + spikes[:, m : m + 1] * dynamics.w_rec[m]
        charge = (isyn.flatten(1) + data[:, t]) + received
        isyn = charge.view_as(isyn) * dynamics.beta
        current = isyn[..., 0]
        for s in range(1, isyn.shape[2]):
            current = current + isyn[..., s]
        vmem = vmem * dynamics.alpha + current
        vmem = (vmem if noise is None else vmem + noise[:, t]) + dynamics.bias
        spikes = dynamics.spike(vmem)
        vmem = vmem - spikes * dynamics.spike.threshold
        courses.append((spikes, vmem, isyn))
    return [torch.stack(course, 1) for course in zip(*courses, strict=True)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(CASES.map(lambda case: Case(**vars(case) | {"recurrent": True})))
def test_recurrent_events_are_summed_in_ascending_order(case):
    values = case.tensors()
    with use_backend("numba"):
        spikes, final, record = functional.lif(*case.arguments(values), record=True)
    expected = ascending_lif(*case.arguments(values))
    for value, other in zip((spikes, record["vmem"], record["isyn"]), expected, strict=True):
        assert torch.equal(value, other)
    assert torch.equal(final.vmem, expected[1][:, -1])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(CASES.map(lambda case: Case(**vars(case) | {"recurrent": True, "dtype": torch.float64})), READOUTS)
def test_gradients_of_recurrent_populations_equal_those_of_the_reference(case, readout):
    outputs, gradients = run(case, "numba", readout)
    expected, expected_gradients = run(case, "reference", readout)
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-10, atol=1e-10)
    assert_gradients_agree(gradients, expected_gradients, case.dtype)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("recurrent", [False, True])
def test_gradients_in_float32_are_as_near_to_float64_as_those_of_torch(periodic, recurrent):
    """On long sequences the last digits of float32 are lost by any order of summing."""
    low = Case(4, 300, 20, 2, recurrent=recurrent, periodic=periodic, dtype=torch.float32, cap=4.0)
    values = low.tensors()
    exact_values = {k: None if v is None else v.detach().double().requires_grad_() for k, v in values.items()}
    spikes, gradients = run(low, "numba", "spikes", values)
    torch_spikes, torch_gradients = run(low, "torch", "spikes", values)
    exact_spikes, exact = run(low, "reference", "spikes", exact_values)
    if recurrent and not torch.equal(spikes["spikes"].double(), exact_spikes["spikes"]):
        pytest.skip("rounding moved a spike, so that the runs are not the same")
    assert torch.equal(spikes["spikes"], torch_spikes["spikes"])
    assert torch.equal(spikes["spikes"].double(), exact_spikes["spikes"])
    for name, value in exact.items():
        scale = value.abs().max().clamp(min=1.0)
        ours, theirs = ((g[name].double() - value).abs().max() / scale for g in (gradients, torch_gradients))
        assert ours <= max(2 * theirs, 1e-5), name


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_sequence_can_be_cut_and_gradients_cross_the_cut(recurrent, cut):
    case = Case(synapses=2, recurrent=recurrent, cap=4.0)
    values = case.tensors()
    data, state, dynamics, _ = case.arguments(values)
    wanted = [v for name, v in values.items() if v is not None and (recurrent or name != "spikes")]
    weights = torch.randn(data.shape[0], data.shape[1], case.neurons, dtype=torch.float64)
    with use_backend("numba"):
        whole, end, _ = functional.lif(data, state, dynamics)
        first, middle, _ = functional.lif(data[:, :cut], state, dynamics)
        second, last, _ = functional.lif(data[:, cut:], middle, dynamics)
    both = torch.cat([first, second], 1)
    assert torch.equal(whole, both)
    assert all(torch.equal(a, b) for a, b in zip(end[:3], last[:3], strict=True))
    gradients, expected = (torch.autograd.grad((spikes * weights).sum(), wanted) for spikes in (both, whole))
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)


def test_truncated_backpropagation_stops_at_a_detached_state():
    case = Case(recurrent=True)
    results = []
    for backend in ("numba", "reference"):
        values = case.tensors()
        data, state, dynamics, _ = case.arguments(values)
        with use_backend(backend):
            _, middle, _ = functional.lif(data[:, :6], state, dynamics)
            carried = LIFState(*(s.detach() for s in middle[:3]))
            spikes, _, _ = functional.lif(data[:, 6:], carried, dynamics)
        spikes.square().sum().backward()
        assert values["vmem"].grad is None
        results.append({name: values[name].grad for name in ("data", "alpha", "beta", "threshold", "w_rec")})
    assert results[0]["data"][:, :6].count_nonzero() == 0
    assert_gradients_agree(*results, torch.float64)


def test_only_what_wants_a_gradient_gets_one():
    names = [name for name, value in Case(recurrent=True, noisy=True).tensors().items()]
    for chosen in names:
        found = []
        for backend in ("numba", "reference"):
            case = Case(recurrent=True, noisy=True, synapses=2)
            values = {name: v.requires_grad_(name == chosen) for name, v in case.tensors().items()}
            with use_backend(backend):
                spikes, final, _ = functional.lif(*case.arguments(values))
            (spikes.sum() + final.vmem.sum()).backward()
            assert all(v.grad is None for name, v in values.items() if name != chosen)
            found.append(values[chosen].grad)
        torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10, msg=chosen)


def test_not_a_number_stays_visible():
    case = Case(neurons=20, dtype=torch.float32)
    values = {k: None if v is None else v.detach() for k, v in case.tensors().items()}
    values["data"][0, 3, 7] = float("nan")
    values["data"][1, 4, 2] = float("inf")
    found = []
    for backend in ("numba", "reference"):
        with use_backend(backend):
            found.append(functional.lif(*case.arguments(values))[0])
    assert found[0][0, 3:, 7].isnan().all()
    assert torch.equal(found[0].isnan(), found[1].isnan())
    assert torch.equal(found[0].nan_to_num(-1.0), found[1].nan_to_num(-1.0))


def net_gradients(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        neurons = LIFTorch((128, 64), threshold=0.7, noise_std=0.1)
        data = (torch.rand(7, 100, 128) < 0.2).float().requires_grad_()
        with use_backend("numba"):
            output, state, _ = neurons(data)
        (output * torch.randn(output.shape)).sum().backward()
        return [output, *state.values(), data.grad, *(p.grad for p in neurons.parameters().astorch())]
    finally:
        torch.set_num_threads(before)


def test_results_do_not_depend_on_the_number_of_threads():
    expected = net_gradients(1)
    for threads in (2, 3, 8):
        for value, other in zip(net_gradients(threads), expected, strict=True):
            assert torch.equal(value, other)


def test_a_network_trains_alike_under_both_backends():
    losses = []
    for backend in ("numba", "torch"):
        torch.manual_seed(0)
        net = SynNet(n_classes=3, n_channels=5, size_hidden_layers=[12, 10], time_constants_per_layer=[2, 4])
        data = (torch.rand(6, 60, 5) < 0.3).float() * 10
        target = torch.randn(6, 3)
        optimiser = torch.optim.SGD(net.parameters().astorch(), lr=1e-3)
        course = []
        with use_backend(backend):
            for _ in range(4):
                net.zero_grad()
                output, _, _ = net.reset_state()(data)
                loss = (output.mean(1) - target).square().mean()
                loss.backward()
                optimiser.step()
                course.append(loss.item())
        losses.append(course)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] != losses[0][0]


def test_input_of_any_layout_is_taken():
    torch.manual_seed(0)
    neurons, linear = LIFTorch(6), LinearTorch((4, 6))
    base = torch.rand(20, 3, 4)
    expanded = torch.rand(3, 20, 1).expand(-1, -1, 6)
    results = []
    for backend in ("numba", "reference"):
        with use_backend(backend):
            transposed = neurons.reset_state()(linear(base.transpose(0, 1))[0])[0]
            results.append((transposed, neurons.reset_state()(expanded)[0]))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
