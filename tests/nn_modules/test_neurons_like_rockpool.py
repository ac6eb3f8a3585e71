"""Every neuron module against Rockpool's, on random nets of every combination of options."""

import copy
from itertools import product

import pytest
import torch

import snnkit.nn.modules as ours

theirs = pytest.importorskip("rockpool.nn.modules", reason="rockpool is the oracle")
from rockpool.nn.modules.torch import lif_torch as rockpool_lif  # noqa: E402

pytestmark = pytest.mark.oracle

N, T = 5, 40


def uniform(low, high, *shape):
    return torch.rand(shape) * (high - low) + low


def leaks(mode, synapses):
    return {
        "taus": {"tau_mem": uniform(2e-3, 3e-2, N), "tau_syn": uniform(2e-3, 2e-2, N, synapses)},
        "decays": {"alpha": uniform(0.1, 0.95, N), "beta": uniform(0.1, 0.9, N, synapses)},
        "bitshifts": {"dash_mem": uniform(0.3, 4.0, N), "dash_syn": uniform(0.3, 3.0, N, synapses)},
    }[mode]


def run(module, data, seed):
    """Call twice in a row; return everything observable, and the gradients of a random readout of it."""
    observed = {}
    for call in range(2):
        torch.manual_seed(seed)
        inputs = data[call].clone().requires_grad_()
        for parameter in module.parameters().values():
            parameter.grad = None
        output, state, record = module(inputs, record=True)
        torch.manual_seed(seed + 1)
        loss = (output * torch.randn_like(output)).sum()
        for name in sorted(record):
            loss = loss + (record[name] * torch.randn_like(record[name])).sum()
        loss.backward()
        observed |= {(call, "output"): output.detach(), (call, "input gradient"): inputs.grad}
        observed |= {(call, "state", name): value.clone() for name, value in state.items()}
        observed |= {(call, "record", name): value.detach() for name, value in record.items()}
        # A parameter that takes part in no output has no gradient with one of the two, and 0 with the other.
        gradients = {
            name: p.grad if p.grad is not None else torch.zeros_like(p)
            for name, p in module.parameters().items()
        }
        observed |= {(call, "gradient", name): value.clone() for name, value in gradients.items()}
    return observed


def assert_alike(name, arguments, data, shape, their_arguments=None):
    our_module = getattr(ours, name)(shape, **copy.deepcopy(arguments))
    their_module = getattr(theirs, name)(shape, **copy.deepcopy(arguments | (their_arguments or {})))
    mine, reference = run(our_module, data, seed=11), run(their_module, data, seed=11)
    assert mine.keys() == reference.keys()
    for key, value in reference.items():
        where = f"{name} {key}: "
        scale = max(1.0, float(value.abs().max())) if value.is_floating_point() else 1.0
        torch.testing.assert_close(
            mine[key], value, rtol=2e-4, atol=2e-5 * scale, msg=lambda text, where=where: where + text
        )
    return mine


def lif_arguments(mode, synapses, recurrent, noise, most):
    arguments = leaks(mode, synapses)
    arguments |= {"threshold": uniform(0.5, 1.2, N), "bias": uniform(-0.05, 0.1, N), "noise_std": noise}
    arguments |= {
        "leak_mode": mode,
        "has_rec": recurrent,
        "max_spikes_per_dt": torch.tensor(most),
        "dt": 1e-3,
    }
    if recurrent:
        arguments["w_rec"] = torch.randn(N, N * synapses) * 0.08
    return arguments


LIF_OPTIONS = list(
    product(MODES := ("taus", "decays", "bitshifts"), (1, 2, 3), (False, True), (0.0, 0.5), (1.0, 65536.0))
)


@pytest.mark.parametrize("surrogate", ["StepPWL", "PeriodicExponential"])
@pytest.mark.parametrize(("mode", "synapses", "recurrent", "noise", "most"), LIF_OPTIONS)
def test_lif(mode, synapses, recurrent, noise, most, surrogate):  # noqa: PLR0917
    torch.manual_seed(hash((MODES.index(mode), synapses, recurrent, noise, most)) % 2**31)
    arguments = lif_arguments(mode, synapses, recurrent, noise, most)
    arguments |= {"spike_generation_fn": getattr(ours, surrogate), "learning_window": torch.tensor(0.4)}
    data = (torch.rand(2, 1, T, N * synapses) < 0.25).float()
    their_arguments = {"spike_generation_fn": getattr(rockpool_lif, surrogate)}
    observed = assert_alike("LIFTorch", arguments, data, (N * synapses, N), their_arguments)
    assert observed[0, "output"].sum() > 5


@pytest.mark.parametrize("mode", MODES)
def test_lif_defaults_and_scalar_parameters(mode):
    torch.manual_seed(2)
    data = (torch.rand(2, 1, T, 2 * N) < 0.25).float()
    assert_alike("LIFTorch", {"leak_mode": mode}, data, (2 * N, N))
    scalars = {name: float(value.flatten()[0]) for name, value in leaks(mode, 2).items()}
    scalars |= {"threshold": 0.8, "bias": 0.02, "leak_mode": mode}
    assert_alike("LIFTorch", scalars, data, (2 * N, N))


@pytest.mark.parametrize("recurrent", [False, True])
def test_lif_batches_agree_and_ours_keeps_every_state(recurrent):
    torch.manual_seed(3)
    arguments = lif_arguments("taus", 2, recurrent, 0.0, 65536.0)
    data = (torch.rand(2, 4, T, 2 * N) < 0.25).float()
    batched = ours.LIFTorch((2 * N, N), **copy.deepcopy(arguments))
    reference = theirs.LIFTorch((2 * N, N), **copy.deepcopy(arguments))
    first, state, _ = batched(data[0])
    expected, their_state, _ = reference(data[0])
    torch.testing.assert_close(first, expected)
    for name, value in their_state.items():
        torch.testing.assert_close(state[name][0], value)
    second = batched(data[1])[0]
    for b in range(4):
        # Rockpool only keeps the state of batch element 0, so each element runs alone.
        alone = theirs.LIFTorch((2 * N, N), **copy.deepcopy(arguments))
        alone(data[0, b : b + 1])
        torch.testing.assert_close(second[b : b + 1], alone(data[1, b : b + 1])[0])


@pytest.mark.parametrize(
    ("mode", "synapses", "recurrent", "noise"), list(product(MODES, (1, 2), (False, True), (0.0, 0.5)))
)
def test_alif(mode, synapses, recurrent, noise):
    torch.manual_seed(4 + synapses)
    arguments = lif_arguments(mode, synapses, recurrent, noise, 65536.0)
    arguments |= {"tau_ahp": uniform(3e-3, 3e-2, N), "w_ahp": -uniform(0.0, 0.6, N)}
    data = (torch.rand(2, 1, T, N * synapses) < 0.4).float()
    observed = assert_alike("aLIFTorch", arguments, data, (N * synapses, N))
    assert observed[0, "record", "iahp"].min() < 0


def test_alif_defaults():
    torch.manual_seed(5)
    data = (torch.rand(2, 1, T, 2 * N) < 0.3).float()
    assert_alike("aLIFTorch", {}, data, (2 * N, N))


@pytest.mark.parametrize("synapses", [1, 2])
@pytest.mark.parametrize("recurrent", [False, True])
def test_bitshift_lif_outputs_and_its_time_constants(synapses, recurrent):
    torch.manual_seed(6)
    arguments = lif_arguments("taus", synapses, recurrent, 0.0, 31.0)
    arguments |= {"tau_mem": uniform(1.5e-3, 4e-2, N), "tau_syn": uniform(1.5e-3, 3e-2, N, synapses)}
    mine, reference = (
        m.LIFBitshiftTorch((N * synapses, N), **copy.deepcopy(arguments)) for m in (ours, theirs)
    )
    for name in ("tau_mem", "tau_syn", "alpha", "beta", "dash_mem"):
        torch.testing.assert_close(getattr(mine, name), getattr(reference, name), rtol=1e-4, atol=1e-7)
    data = (torch.rand(2, 1, T, N * synapses) < 0.3).float()
    for call in range(2):
        output, state, record = mine(data[call], record=True)
        their_output, their_state, their_record = reference(data[call], record=True)
        assert torch.equal(output, their_output)
        for ours_tree, their_tree in ((state, their_state), (record, their_record)):
            for name, value in their_tree.items():
                torch.testing.assert_close(ours_tree[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5])
@pytest.mark.parametrize("most", [2.0, 65536.0])
@pytest.mark.parametrize("scalar", [False, True])
def test_lif_neuron(noise, most, scalar):
    torch.manual_seed(7)
    arguments = {
        "tau_mem": uniform(2e-3, 3e-2, N),
        "threshold": uniform(0.4, 1.0, N),
        "bias": uniform(0.0, 0.1, N),
    }
    if scalar:
        arguments = {name: float(value[0]) for name, value in arguments.items()}
    arguments |= {"noise_std": noise, "max_spikes_per_dt": torch.tensor(most)}
    assert_alike("LIFNeuronTorch", arguments, torch.rand(2, 1, T, N) * 0.8, N)


@pytest.mark.parametrize("arguments", [{}, {"tau": 3e-3}, {"noise_std": 0.7}, {"dt": 2e-3}])
def test_exponential_synapse(arguments):
    torch.manual_seed(8)
    assert_alike("ExpSynTorch", arguments, torch.randn(2, 1, T, N), N)
    assert_alike("ExpSynTorch", arguments | {"tau": uniform(1e-3, 3e-2, N)}, torch.randn(2, 1, T, N), N)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("full", [False, True])
def test_rate(recurrent, full):
    torch.manual_seed(9)
    arguments = {"has_rec": recurrent}
    if recurrent:
        arguments["w_rec"] = torch.randn(N, N) * 0.3
    if full:
        arguments |= {
            "tau": uniform(5e-3, 5e-2, N),
            "bias": uniform(0.0, 1.0, N),
            "threshold": uniform(0.05, 0.3, N),
        }
    observed = assert_alike("RateTorch", arguments, torch.randn(2, 1, T, N) * 10, N)
    assert observed[1, "output"].max() > 0.1
    other = {"activation_func": lambda x, threshold: torch.sigmoid(x - threshold)}
    assert_alike("RateTorch", arguments | other, torch.randn(2, 1, T, N) * 10, N)


@pytest.mark.parametrize(("wait", "repeat"), list(product((0, 1, 2, 3), (1, 3))))
@pytest.mark.parametrize("scalar", [False, True])
def test_up_down_events(wait, repeat, scalar):
    torch.manual_seed(10 + wait)
    thresholds = uniform(0.2, 0.8, 1, N)
    # Rockpool ignores a vector thr_down, so vectors are equal here.
    arguments = (
        {"thr_up": 0.3, "thr_down": 0.55}
        if scalar
        else {"thr_up": thresholds, "thr_down": thresholds.clone()}
    )
    arguments |= {"n_ref_steps": wait, "repeat_output": repeat}
    data = torch.randn(1, T, N)
    output, _, record = ours.UpDownTorch(N, **arguments)(data, record=True)
    # Rockpool writes into its input.
    expected, _, their_record = theirs.UpDownTorch(N, **arguments)(data.clone(), record=True)
    torch.testing.assert_close(output, expected.detach().abs(), check_stride=False)
    torch.testing.assert_close(record["analog_value"], their_record["analog_value"].detach())
    assert output.count_nonzero() > 20


def test_up_down_gradient():
    torch.manual_seed(11)
    data, readout = torch.randn(1, T, N), torch.randn(1, T, 2 * N)
    gradients = []
    for modules in (ours, theirs):
        inputs = data.clone().requires_grad_()
        (modules.UpDownTorch(N, thr_up=0.3, thr_down=0.55)(inputs.clone())[0] * readout).sum().backward()
        gradients.append(inputs.grad)
    # The first value is the first reference; Rockpool overwrites it, and so loses its gradient.
    torch.testing.assert_close(gradients[0][:, 1:], gradients[1][:, 1:], rtol=1e-4, atol=1e-4)


def test_boolean_state():
    torch.manual_seed(12)
    data = torch.randn(2, 1, T, N)
    mine, reference = (m.BooleanState(N, threshold=torch.tensor(0.8)) for m in (ours, theirs))
    for call in range(2):
        output, state, record = mine(data[call], record=True)
        expected, their_state, their_record = reference(data[call], record=True)
        assert torch.equal(output, expected)
        assert torch.equal(state["bool_state"], their_state["bool_state"])
        assert torch.equal(record["bool_state"], their_record["bool_state"])


def test_recurrent_initial_weights_equal_for_the_same_seed():
    weights = []
    for modules in (ours, theirs):
        torch.manual_seed(13)
        weights.append(modules.LIFTorch((2 * N, N), has_rec=True).w_rec)
    assert torch.equal(*weights)


def test_low_pass():
    from rockpool.nn.modules.torch.lowpass import LowPass

    torch.manual_seed(14)
    data = torch.randn(2, 12, 1, 3)
    with pytest.warns(DeprecationWarning, match="ExpSynTorch"):
        mine = ours.LowPass(3, 1e-3, [0.01, 0.02, 0.03])
    reference = LowPass(3, 1e-3, [0.01, 0.02, 0.03])
    for call in range(2):
        torch.testing.assert_close(mine(data[call])[0], reference(data[call])[0])
