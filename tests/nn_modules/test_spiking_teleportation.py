"""Scales and orders of neurons leave events as they are; with relative windows training as well."""

import copy
import re
from pathlib import Path

import pytest
import torch
from spiking_nets import NETS, N, constants, events, recurrent, run
from torch import nn

from snnkit.dag import DagModule, build_from_unstructured_module
from snnkit.nn.backend import use_backend
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import (
    ExpSynTorch,
    LIFBitshiftTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    LowPass,
    RateTorch,
    aLIFTorch,
)
from snnkit.nn.per_neuron import expand_to_neurons
from snnkit.nn.surrogates import PeriodicExponential, StepPWL
from snnkit.teleport import TeleportError, inverse, random, symmetries, teleport
from snnkit.utilities.errors import ConfigurationError, ShapeError


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def lognormal(found, seed=3):
    """Return an element with a generic factor for every neuron."""
    return found.element(flat_scales=torch.randn(found.n_scales, generator=generator(seed)).double().exp())


def tensors(net):
    return {**dict(nn.Module.named_parameters(net)), **dict(nn.Module.named_buffers(net))}


def teleported(net, element):
    other = copy.deepcopy(net)
    teleport(other, element)
    return other


def all_spikes(records):
    return {path: record["spikes"] for path, record in records.items() if "spikes" in record}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETS)
def test_powers_of_two_change_no_bit_of_any_event_and_are_undone_to_the_bit(name, dtype):
    net, data = NETS[name]().to(dtype), events().to(dtype)
    found = symmetries(net, data)
    element = random(found, 6, "powers_of_two", generator=generator())
    before = {path: value.clone() for path, value in tensors(net).items()}
    expected, records = run(net, data)
    other = teleported(net, element)
    output, found_records = run(other, data)
    assert torch.equal(output, expected)
    assert sum(float(spikes.sum()) for spikes in all_spikes(records).values()) > 500
    for path, spikes in all_spikes(records).items():
        assert torch.equal(found_records[path]["spikes"], spikes)
    teleport(other, inverse(element))
    other.reset_state()
    assert all(torch.equal(value, before[path]) for path, value in tensors(other).items())


def test_potentials_and_currents_take_the_factor_of_their_neuron():
    net, data = recurrent(), events()
    element = random(symmetries(net, data), 6, "powers_of_two", generator=generator())
    (factors,) = element.scales.values()
    _, records = run(net, data)
    _, found = run(teleported(net, element), data)
    ours, theirs = found["1_LIFTorch"], records["1_LIFTorch"]
    assert torch.equal(ours["vmem"], theirs["vmem"] * factors)
    for name in ("isyn", "irec"):
        assert torch.equal(ours[name], theirs[name] * factors[:, None])


@pytest.mark.parametrize("name", NETS)
def test_generic_factors_change_no_event_in_float64(name):
    net, data = NETS[name](), events(batch=8, steps=100)
    _, records = run(net, data)
    _, found = run(teleported(net, lognormal(symmetries(net, data))), data)
    for path, spikes in all_spikes(records).items():
        assert torch.equal(found[path]["spikes"], spikes)


@pytest.mark.parametrize("name", ["LIFTorch", "aLIFTorch", "LIFNeuronTorch", "Residual"])
def test_neurons_in_another_order_send_the_same_events(name):
    net, data = NETS[name](), events()
    found = symmetries(net, data)
    element = random(found, 0.5, "powers_of_two", permutations=True, generator=generator())
    expected, records = run(net, data)
    output, other = run(teleported(net, element), data)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    order = element.permutations["0_LinearTorch.weight"]
    assert not torch.equal(order, torch.arange(N))
    back = tensors(teleported(teleported(net, element), inverse(element)))
    assert all(torch.equal(value, back[path]) for path, value in nn.Module.named_parameters(net))
    hidden = [path for path, spikes in all_spikes(records).items() if spikes.shape[-1] == N]
    for path in hidden:  # behind an addition as well: both populations are in one group
        assert torch.equal(other[path]["spikes"], records[path]["spikes"][..., order])


def test_negative_factors_are_refused():
    net, data = recurrent(), events()
    found = symmetries(net, data)
    assert found.n_signs == 0
    with pytest.raises(TeleportError):
        random(found, 0.9, "negative", signs="required")
    with pytest.raises(TeleportError):
        found.element(flat_scales=-torch.ones(found.n_scales, dtype=torch.float64))


def test_noise_takes_the_factor_of_its_neuron():
    net, data = recurrent(noise_std=2.0), events()
    held = symmetries(net, data)
    assert held.n_scales == 0
    assert any("expand_to_neurons" in reason for reason in held.why("1_LIFTorch.threshold"))
    expand_to_neurons(net)
    found = symmetries(net, data)
    assert found.n_scales == N
    assert not found.permutations  # noise is drawn in the order of the neurons
    element = random(found, 4, "powers_of_two", generator=generator())
    results = []
    other = teleported(net, element)
    unscaled = copy.deepcopy(other)
    unscaled[1].noise_std = net[1].noise_std
    for each in (net, other, unscaled):
        torch.manual_seed(5)
        results.append(run(each, data)[1]["1_LIFTorch"]["spikes"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_a_state_that_is_carried_over_takes_the_factor():
    net, data = recurrent(), events(steps=80)
    expected, _ = run(net, data)
    net.reset_state()
    with torch.no_grad():
        net(data[:, :30])
        element = random(symmetries(net, data), 6, "powers_of_two", generator=generator())
        other = teleported(net, element)
        assert torch.equal(other(data[:, 30:])[0], expected[:, 30:])
        for name in ("vmem", "isyn"):
            setattr(other[1], name, getattr(net[1], name))
        other[3].isyn, other[1].spikes = net[3].isyn, net[1].spikes
        assert not torch.equal(other(data[:, 30:])[0], expected[:, 30:])


def test_on_a_coarse_grid_powers_of_two_keep_ties_with_the_threshold():
    net, data = recurrent(LIFBitshiftTorch), events(batch=8)
    with torch.no_grad():
        for value in (net[0].weight, net[1].w_rec, net[1].bias, net[1].threshold):
            value.copy_((value * 16).round() / 16)
    _, records = run(net, data)
    element = random(symmetries(net, data), 6, "powers_of_two", generator=generator())
    _, found = run(teleported(net, element), data)
    assert torch.equal(found["1_LIFBitshiftTorch"]["spikes"], records["1_LIFBitshiftTorch"]["spikes"])


def test_one_threshold_for_all_ties_their_factors_until_it_is_expanded():
    torch.manual_seed(0)
    net = Sequential(
        LinearTorch((8, N)), aLIFTorch(N, threshold=0.6, bias=0.02, w_ahp=-0.3), LinearTorch((N, 3))
    ).double()
    data = events()
    tied = symmetries(net, data)
    assert tied.n_scales == 1
    expected, records = run(net, data)
    threshold = net[1].threshold
    assert torch.equal(run(teleported(net, random(tied, 3, "powers_of_two", generator=generator())), data)[0],
                       expected)  # fmt: skip
    assert expand_to_neurons(net) is net
    assert net[1].threshold is threshold
    assert net[1].threshold.shape == net[1].bias.shape == net[1].w_ahp.shape == (N,)
    assert torch.equal(run(net, data)[0], expected)
    found = symmetries(net, data)
    assert found.n_scales == N
    _, other = run(teleported(net, random(found, 3, "powers_of_two", generator=generator())), data)
    assert torch.equal(other["1_aLIFTorch"]["spikes"], records["1_aLIFTorch"]["spikes"])
    with pytest.raises(ConfigurationError, match="Did you mean 'threshold'"):
        expand_to_neurons(net, "treshold")


def test_the_page_of_the_docs_runs():
    page = (Path(__file__).resolve().parents[2] / "docs" / "teleport-spiking.md").read_text(encoding="utf-8")
    tour = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    exec(compile(tour, "docs/teleport-spiking.md", "exec"), {"__name__": "tour"})


@pytest.mark.filterwarnings("ignore:LowPass is deprecated")
def test_linear_readouts_pass_factors_and_others_hold_them():
    torch.manual_seed(0)
    data = events().transpose(0, 1)
    linear = Sequential(nn.Linear(8, N), LowPass(N, 1e-3, 5e-3), nn.Linear(N, 3)).double()
    assert symmetries(linear, data).n_scales == N
    rates = Sequential(LinearTorch((8, N)), RateTorch(N), LinearTorch((N, 3))).double()
    found = symmetries(rates, events())
    assert found.n_scales == 0
    assert found.why("0_LinearTorch.weight", 1)
    synapses = Sequential(LinearTorch((8, N)), ExpSynTorch(N), LinearTorch((N, 3))).double()
    assert symmetries(synapses, events()).n_signs == N


def test_graphs_are_teleported_like_networks(tmp_path):
    net, data = recurrent(noise_std=1.0, relative_window=True), events()
    expand_to_neurons(net)
    graph = build_from_unstructured_module(net, (data,), copy=True)
    element = random(symmetries(graph, data), 6, "powers_of_two", generator=generator())
    teleport(graph, element)
    graph.save(tmp_path / "net")
    loaded = DagModule.load(tmp_path / "net")
    outputs = []
    for each in (net, graph, loaded):
        torch.manual_seed(0)
        output = each(data)
        outputs.append(output[0] if isinstance(output, tuple) else output)
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])


# --- Gradients ----------------------------------------------------------------------------------------------


def gradients(net, data, target, backend="torch"):
    net.reset_state()
    net.zero_grad()
    with use_backend(backend):
        output = net(data)[0]
    ((output - target) ** 2).mean().backward()
    return {name: p.grad.clone() for name, p in nn.Module.named_parameters(net) if p.grad is not None}


def off_by(net, element, data, backend="torch"):
    """Return how far gradients are from those of the teleported net times the factors, by parameter."""
    generator_ = torch.Generator().manual_seed(9)
    shape = run(net, data)[0].shape
    target = torch.rand(shape, generator=generator_, dtype=data.dtype)
    own = gradients(net, data, target, backend)
    other = gradients(teleported(net, element), data, target, backend)
    changes = element.changes()
    return {
        name: float((changes[name].apply(other[name]) if name in changes else other[name]).sub(g).abs().max())
        / float(g.abs().max())
        for name, g in own.items()
    }


SURROGATES = [StepPWL, PeriodicExponential]


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("backend", ["reference", "torch", "numba"])
@pytest.mark.parametrize("cls", [LIFTorch, aLIFTorch])
def test_with_relative_windows_gradients_take_the_inverse_factor(cls, backend, surrogate):
    options = {"spike_generation_fn": surrogate, "learning_window": 0.4, "relative_window": True}
    net, data = recurrent(cls, **options), events(steps=40)
    errors = off_by(net, lognormal(symmetries(net, data)), data, backend)
    assert {name.rpartition(".")[2] for name in errors} >= {"weight", "w_rec", "bias", "threshold", "tau_mem"}
    assert max(errors.values()) < 1e-10
    exact = random(symmetries(net, data), 6, "powers_of_two", generator=generator())
    assert max(off_by(net, exact, data, backend).values()) < 1e-13


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_neurons_without_synapses_have_relative_windows_too(surrogate):
    own = constants(generator())
    neurons = LIFNeuronTorch(N, **own, spike_generation_fn=surrogate, relative_window=True)
    net = Sequential(LinearTorch((8, N)), neurons, LinearTorch((N, 3))).double()
    for backend in ("torch", "numba"):
        errors = off_by(net, lognormal(symmetries(net, events())), events(), backend)
        assert max(errors.values()) < 1e-10


def test_rockpools_absolute_window_is_the_default_and_not_equivariant():
    net, data = recurrent(), events(steps=40)
    assert net[1].relative_window is False
    assert max(off_by(net, lognormal(symmetries(net, data)), data).values()) > 0.01


def test_absolute_windows_of_single_neurons_are_scaled():
    net, data = recurrent(), events(steps=40)
    expand_to_neurons(net, "learning_window")
    element = lognormal(symmetries(net, data))
    assert "1_LIFTorch.learning_window" in element.changes()
    assert max(off_by(net, element, data).values()) < 1e-10


def test_a_relative_window_is_an_absolute_one_times_the_threshold():
    data, target = events(steps=40), torch.zeros(3, 40, 3).double()
    net = recurrent(learning_window=0.4, relative_window=True)
    absolute = recurrent()
    absolute[1].learning_window = 0.4 * net[1].threshold.detach()
    ours, theirs = gradients(net, data, target), gradients(absolute, data, target)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-12)


def test_surrogates_of_users_get_the_width_in_units_of_the_membrane():
    seen = []

    def surrogate(v, threshold, window, max_spikes):
        seen.append(window)
        return StepPWL.apply(v, threshold, window, max_spikes)

    net = LIFTorch(2, spike_generation_fn=surrogate, learning_window=0.5, relative_window=True,
                   threshold=torch.tensor([1.0, 4.0]))  # fmt: skip
    net(torch.ones(1, 2, 2))
    assert torch.equal(seen[0], torch.tensor([0.5, 2.0]))


def test_relative_windows_work_under_function_transforms():
    net, data = recurrent(relative_window=True), events(batch=2, steps=10)
    state = {name: p.detach() for name, p in nn.Module.named_parameters(net)}
    stacked = {name: torch.stack([value, value * 1.0]) for name, value in state.items()}

    def loss(values):
        net.reset_state()
        return torch.func.functional_call(net, values, (data,))[0].square().mean()

    single = torch.func.grad(loss)(state)
    both = torch.vmap(torch.func.grad(loss))(stacked)
    for name, gradient in single.items():
        torch.testing.assert_close(both[name][1], gradient)


@pytest.mark.parametrize("cls", [LIFTorch, LIFNeuronTorch])
def test_files_keep_relative_windows_and_constants_of_single_neurons(tmp_path, cls):
    module = cls(3, relative_window=True)
    module.noise_std = torch.tensor([0.1, 0.2, 0.3])
    module.save(tmp_path / "neurons.json")
    for other in (cls(3), cls(3, relative_window=True, noise_std=0.5)):
        other.load(tmp_path / "neurons.json")
        assert other.relative_window is True
        assert torch.equal(other.noise_std, module.noise_std)
    plain = cls(3)
    assert "relative_window" not in plain.simulation_parameters()
    plain.save(tmp_path / "plain.json")
    module.load(tmp_path / "plain.json")
    assert module.relative_window is False
    assert module.noise_std == 0.0
    assert "noise_std" not in dict(nn.Module.named_buffers(module))
    with pytest.raises(ShapeError):
        cls(3, learning_window=torch.ones(2))
