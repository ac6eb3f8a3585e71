"""The vectorised loops against loops over single neurons, and their properties."""

import math

import pytest
import torch

from snnkit.nn import functional
from snnkit.nn.functional import Adaptation, LIFDynamics, LIFState, SpikeGeneration
from snnkit.nn.surrogates import PeriodicExponential, StepPWL

B, T, N = 2, 25, 3


def population(synapses, recurrent=False, adaptive=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(synapses)

    def uniform(*shape):
        return torch.rand(shape, generator=generator, dtype=dtype)

    spike = SpikeGeneration(uniform(N) * 0.5 + 0.4, StepPWL.apply, 0.5, 4.0)
    return LIFDynamics(
        alpha=uniform(N),
        beta=uniform(N, synapses),
        bias=uniform(N) * 0.1,
        spike=spike,
        w_rec=(uniform(N, N * synapses) - 0.5) * 0.4 if recurrent else None,
        adaptation=Adaptation(-uniform(N) * 0.5, uniform(N)) if adaptive else None,
    )


def start(synapses, adaptive=False, dtype=torch.float64):
    generator = torch.Generator().manual_seed(9)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=dtype) * 0.2

    spikes = torch.ones(B, N, dtype=dtype)
    return LIFState(normal(B, N), normal(B, N, synapses), spikes, normal(B, N) if adaptive else None)


def events(synapses, dtype=torch.float64):
    generator = torch.Generator().manual_seed(4)
    return (torch.rand(B, T, N * synapses, generator=generator) < 0.3).to(dtype)


def single_neuron_run(data, state, dynamics, noise):
    """Follow every neuron on its own with Python numbers; return spikes and records as nested lists."""
    synapses = dynamics.beta.shape[-1]
    out = {"vmem": [], "isyn": [], "spikes": []}
    for b in range(B):
        v, i, s = (state[k][b].tolist() for k in range(3))
        a = state.iahp[b].tolist() if state.iahp is not None else [0.0] * N
        course = {"vmem": [], "isyn": [], "spikes": []}
        for t in range(T):
            before = list(s)
            for n in range(N):
                for k in range(synapses):
                    channel = n * synapses + k
                    charge = data[b, t, channel].item()
                    if dynamics.w_rec is not None:
                        charge += sum(before[m] * dynamics.w_rec[m, channel].item() for m in range(N))
                    i[n][k] = (i[n][k] + charge) * dynamics.beta[n, k].item()
                v[n] = v[n] * dynamics.alpha[n].item() + sum(i[n]) + dynamics.bias[n].item()
                if dynamics.adaptation is not None:
                    w_ahp, gamma = (x[n].item() for x in dynamics.adaptation)
                    a[n] = (a[n] + before[n] * w_ahp) * gamma
                    v[n] += a[n]
                if noise is not None:
                    v[n] += noise[b, t, n].item()
                threshold = dynamics.spike.threshold[n].item()
                s[n] = float(min(max(math.floor(v[n] / threshold), 0), dynamics.spike.max_spikes))
                v[n] -= s[n] * threshold
            for name, value in (("vmem", v), ("isyn", [list(x) for x in i]), ("spikes", s)):
                course[name].append(list(value))
        for name, values in course.items():
            out[name].append(values)
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in out.items()}


@pytest.mark.parametrize("synapses", [1, 2, 3])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_lif_follows_the_equations_of_single_neurons(synapses, recurrent, adaptive, noisy):
    dynamics = population(synapses, recurrent, adaptive)
    state, data = start(synapses, adaptive), events(synapses)
    generator = torch.Generator().manual_seed(2)
    noise = functional.gaussian_noise((B, T, N), 3.0 if noisy else 0.0, 1e-3, like=data, generator=generator)
    spikes, final, record = functional.lif(data, state, dynamics, noise, record=True)
    expected = single_neuron_run(data, state, dynamics, noise)
    assert spikes.sum() > 10
    for name, course in expected.items():
        torch.testing.assert_close(record[name], course, msg=lambda text, name=name: f"{name}: {text}")
    for name in ("vmem", "isyn", "spikes"):
        assert torch.equal(getattr(final, name), record[name][:, -1])
    assert torch.equal(spikes, record["spikes"])


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("synapses", [1, 2])
def test_a_sequence_can_be_cut_anywhere(synapses, adaptive):
    dynamics = population(synapses, recurrent=True, adaptive=adaptive)
    data, state = events(synapses), start(synapses, adaptive)
    whole, final, _ = functional.lif(data, state, dynamics)
    first, middle, _ = functional.lif(data[:, :7], state, dynamics)
    second, end, _ = functional.lif(data[:, 7:], middle, dynamics)
    assert torch.equal(whole, torch.cat([first, second], 1))
    for one, other in zip(final, end, strict=True):
        assert one is other is None or torch.equal(one, other)


def test_batch_elements_do_not_mix():
    dynamics, data, state = population(2, recurrent=True), events(2), start(2)
    together = functional.lif(data, state, dynamics)[0]
    for b in range(B):
        alone = functional.lif(data[b : b + 1], LIFState(*(s[b : b + 1] for s in state[:3])), dynamics)[0]
        torch.testing.assert_close(together[b : b + 1], alone)


def test_recording_changes_nothing_and_is_empty_unless_asked_for():
    dynamics, data, state = population(2, recurrent=True), events(2), start(2)
    silent, recorded = (
        functional.lif(data, state, dynamics),
        functional.lif(data, state, dynamics, record=True),
    )
    assert silent[2] == {}
    assert torch.equal(silent[0], recorded[0])
    assert list(recorded[2]) == ["vmem", "isyn", "irec", "spikes"]


def test_irec_holds_what_the_recurrent_weights_delivered():
    dynamics, data, state = population(2, recurrent=True), events(2), start(2)
    _, _, record = functional.lif(data, state, dynamics, record=True)
    before = torch.cat([state.spikes[:, None], record["spikes"][:, :-1]], 1)
    torch.testing.assert_close(record["irec"], (before @ dynamics.w_rec).unflatten(-1, (N, 2)))
    _, _, feedforward = functional.lif(data, state, population(2), record=True)
    assert feedforward["irec"].shape == (B, T, N, 2)
    assert feedforward["irec"].count_nonzero() == 0


def test_float32_agrees_with_float64():
    low = population(2, dtype=torch.float32)
    spike = SpikeGeneration(low.spike.threshold.double(), low.spike.function, 0.5, 4.0)
    exact = LIFDynamics(low.alpha.double(), low.beta.double(), low.bias.double(), spike)
    state = start(2, dtype=torch.float32)
    single, _, record = functional.lif(events(2, torch.float32), state, low, record=True)
    doubled = LIFState(*(s.double() for s in state[:3]))
    double, _, expected = functional.lif(events(2), doubled, exact, record=True)
    assert single.dtype == torch.float32
    assert torch.equal(single.double(), double)
    torch.testing.assert_close(record["vmem"].double(), expected["vmem"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [StepPWL, PeriodicExponential])
def test_gradients_equal_those_of_the_backward_recursion(function):
    """The adjoint equations, written out for one neuron without recurrence."""
    torch.manual_seed(0)
    alpha, beta, bias, th = (
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.9, 0.7, 0.05, 0.8)
    )
    x = torch.rand(1, 12, 1, dtype=torch.float64) * 0.8
    g = torch.randn(1, 12, 1, dtype=torch.float64)
    dynamics = LIFDynamics(alpha, beta, bias, SpikeGeneration(th, function.apply, 0.5, 5.0))
    zero = torch.zeros(1, 1, dtype=torch.float64)
    spikes, _, record = functional.lif(x, LIFState(zero, zero[..., None], zero), dynamics, record=True)
    got = torch.autograd.grad((spikes * g).sum(), (alpha, beta, bias, th))
    s, post = spikes.flatten().tolist(), record["vmem"].flatten().tolist()
    isyn = record["isyn"].flatten().tolist()
    d = {"alpha": 0.0, "beta": 0.0, "bias": 0.0, "th": 0.0}
    dv = di = 0.0
    for t in reversed(range(12)):
        pre = torch.tensor(post[t] + s[t] * th.item(), dtype=torch.float64, requires_grad=True)
        level = th.detach().clone().requires_grad_()
        slope = torch.autograd.grad(function.apply(pre, level, 0.5, 5.0), (pre, level))
        ds = g[0, t, 0].item() - th.item() * dv
        dpre = dv + ds * slope[0].item()
        d["th"] += -s[t] * dv + ds * slope[1].item()
        d["bias"] += dpre
        d["alpha"] += dpre * (post[t - 1] if t else 0.0)
        di = dpre + di
        d["beta"] += di * isyn[t] / beta.item()
        di *= beta.item()
        dv = dpre * alpha.item()
    torch.testing.assert_close(torch.stack(got), torch.tensor(list(d.values()), dtype=torch.float64))


def test_noise_has_its_standard_deviation_and_none_is_drawn_without_it():
    like = torch.zeros(1, dtype=torch.float64)
    noise = functional.gaussian_noise(
        (400, 500), 2.0, 1e-2, like=like, generator=torch.Generator().manual_seed(0)
    )
    assert noise.dtype == torch.float64
    assert float(noise.std()) == pytest.approx(0.2, rel=0.01)
    before = torch.get_rng_state()
    assert functional.gaussian_noise((4, 5), 0.0, 1e-2, like=like) is None
    assert torch.equal(before, torch.get_rng_state())


def test_equal_generators_give_equal_noise():
    like = torch.zeros(1)
    draws = [
        functional.gaussian_noise((3, 4), 1.0, 1e-3, like=like, generator=torch.Generator().manual_seed(5))
        for _ in range(2)
    ]
    assert torch.equal(*draws)


def test_neuron_without_synapse_integrates_its_input():
    spike = SpikeGeneration(torch.tensor(1.0), StepPWL.apply, 0.5, 2.0)
    data = torch.tensor([0.6, 0.6, 0.0, 5.0, 0.0]).reshape(1, 5, 1)
    spikes, vmem, record = functional.lif_neuron(
        data, torch.zeros(1, 1), torch.tensor(0.5), torch.tensor(0.1), spike, record=True
    )
    torch.testing.assert_close(record["vmem"].flatten(), torch.tensor([0.7, 0.05, 0.125, 3.1625, 0.68125]))
    assert spikes.flatten().tolist() == [0, 1, 0, 2, 1]
    assert torch.equal(vmem, record["vmem"][:, -1])


def test_exponential_synapse_is_a_leaky_sum():
    data = torch.randn(2, 30, 3, dtype=torch.float64)
    beta = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    currents, last = functional.exp_synapse(data, torch.ones(2, 3, dtype=torch.float64), beta)
    lags = torch.arange(30)[:, None] - torch.arange(30)[None, :]
    kernel = torch.where(lags[..., None] >= 0, beta ** (lags[..., None] + 1), 0.0)
    expected = torch.einsum("tsn,bsn->btn", kernel, data) + beta ** (torch.arange(30)[:, None] + 1)
    torch.testing.assert_close(currents, expected)
    assert torch.equal(last, currents[:, -1])


def test_rate_neurons_settle_at_their_fixed_point():
    w_rec = torch.tensor([[0.0, 0.5], [-0.5, 0.0]], dtype=torch.float64)
    drive = torch.tensor([1.0, 2.0], dtype=torch.float64)
    data = drive.expand(1, 2000, 2)
    step, bias = torch.tensor(0.05, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)
    rates, x, _ = functional.rate(
        data, torch.zeros(1, 2, dtype=torch.float64), step, bias, activation=lambda v: v, w_rec=w_rec
    )
    expected = torch.linalg.solve(torch.eye(2, dtype=torch.float64) - w_rec.T, drive + bias)
    torch.testing.assert_close(x[0], expected)
    torch.testing.assert_close(rates[0, -1], expected)


def leaves(dynamics, data, state, noise):
    """Return copies of everything that can take a gradient, and a function to the run's arguments."""
    spike = dynamics.spike
    values = [
        data,
        *state[:3],
        dynamics.alpha,
        dynamics.beta,
        dynamics.bias,
        spike.threshold,
        dynamics.w_rec,
        noise,
    ]
    values = [value if value is None else value.clone().requires_grad_() for value in values]

    def arguments():
        x, vmem, isyn, spikes, alpha, beta, bias, threshold, w_rec, drawn = values
        generation = SpikeGeneration(threshold, spike.function, spike.window, spike.max_spikes)
        return x, LIFState(vmem, isyn, spikes), LIFDynamics(alpha, beta, bias, generation, w_rec), drawn

    return values, arguments


@pytest.mark.parametrize("function", [StepPWL, PeriodicExponential])
@pytest.mark.parametrize("synapses", [1, 2])
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("readout", ["spikes", "records", "state"])
def test_the_single_node_equals_the_plain_loop(function, synapses, recurrent, noisy, readout):
    plain = population(synapses, recurrent)
    spike = SpikeGeneration(plain.spike.threshold, function.apply, 0.3, 4.0)
    dynamics = LIFDynamics(plain.alpha, plain.beta, plain.bias, spike, plain.w_rec)
    noise = torch.randn(B, T, N, dtype=torch.float64) * 0.1 if noisy else None
    results = []
    for run in (functional.lif, functional.lif_reference):
        values, arguments = leaves(dynamics, events(synapses), start(synapses), noise)
        spikes, final, record = run(*arguments(), record=readout == "records")
        observed = {"spikes": [spikes], "records": list(record.values()), "state": list(final[:3])}[readout]
        generator = torch.Generator().manual_seed(1)
        loss = sum((o * torch.randn(o.shape, generator=generator, dtype=o.dtype)).sum() for o in observed)
        loss.backward()
        results.append((observed, [None if v is None else v.grad for v in values]))
    (ours, gradients), (expected, expected_gradients) = results
    assert all(torch.equal(one, other) for one, other in zip(ours, expected, strict=True))
    for one, other in zip(gradients, expected_gradients, strict=True):
        if one is None or other is None:
            assert one is None or one.count_nonzero() == 0
            assert other is None or other.count_nonzero() == 0
        else:
            torch.testing.assert_close(one, other)


def test_scalar_constants_get_scalar_gradients():
    scalars = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.9, 0.8, 0.05, 0.7)]
    gradients = []
    for run in (functional.lif, functional.lif_reference):
        alpha, beta, bias, threshold = scalars
        dynamics = LIFDynamics(alpha, beta, bias, SpikeGeneration(threshold))
        spikes, _, _ = run(events(2), start(2), dynamics)
        gradients.append(torch.autograd.grad((spikes * torch.arange(T)[:, None]).sum(), scalars))
    for one, other in zip(*gradients, strict=True):
        assert one.shape == ()
        torch.testing.assert_close(one, other)


def test_a_leak_of_zero_keeps_its_gradient_finite():
    beta = torch.zeros(N, 1, dtype=torch.float64, requires_grad=True)
    plain = population(1)
    spikes, _, _ = functional.lif(
        events(1), start(1), LIFDynamics(plain.alpha, beta, plain.bias, plain.spike)
    )
    spikes.sum().backward()
    assert beta.grad.isfinite().all()


def test_gradients_cross_a_cut_of_the_sequence():
    values, arguments = leaves(population(2, recurrent=True), events(2), start(2), None)
    x, state, dynamics, _ = arguments()
    whole = torch.autograd.grad(functional.lif(x, state, dynamics)[0].sum(), values[4])
    first, middle, _ = functional.lif(x[:, :9], state, dynamics)
    second, _, _ = functional.lif(x[:, 9:], middle, dynamics)
    cut = torch.autograd.grad(first.sum() + second.sum(), values[4])
    torch.testing.assert_close(whole, cut)


def test_per_sample_gradients_by_vmap_equal_those_of_single_runs():
    plain, data = population(1, recurrent=True), events(1)
    zero = torch.zeros(1, N, dtype=torch.float64)

    def loss(alpha, sample):
        dynamics = LIFDynamics(alpha, plain.beta, plain.bias, plain.spike, plain.w_rec)
        spikes, _, _ = functional.lif(sample[None], LIFState(zero, zero[..., None], zero), dynamics)
        return (spikes * torch.arange(T)[:, None]).sum()

    mapped = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(plain.alpha, data)
    for sample, gradient in zip(data, mapped, strict=True):
        torch.testing.assert_close(gradient, torch.func.grad(loss)(plain.alpha, sample))
