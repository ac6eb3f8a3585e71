import pytest
import torch

from snnkit.nn.modules import PeriodicExponential, StepPWL

SURROGATES = [StepPWL, PeriodicExponential]


def independent_counts(v, threshold, most):
    counts = []
    for potential, th in zip(v.tolist(), threshold.expand_as(v).tolist(), strict=True):
        count = 0
        while count < most and potential >= (count + 1) * th * (1 - 1e-7):
            count += 1
        counts.append(float(count))
    return torch.tensor(counts)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("most", [1, 3, 31])
def test_counts_are_the_whole_thresholds_in_the_potential(surrogate, most):
    v = torch.linspace(-3.05, 9.04, 400)
    threshold = torch.tensor(0.75)
    counts = surrogate.apply(v, threshold, 0.5, most)
    assert torch.equal(counts, independent_counts(v, threshold, most))


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_potential_at_threshold_fires_and_the_next_float_below_does_not(surrogate):
    generator = torch.Generator().manual_seed(0)
    threshold = torch.rand(10_000, generator=generator) * 10 + 1e-6
    below = torch.nextafter(threshold, torch.zeros_like(threshold))
    assert surrogate.apply(threshold, threshold, 0.5, 5).eq(1).all()
    assert surrogate.apply(below, threshold, 0.5, 5).eq(0).all()


def gradients(surrogate, v, threshold, window, most):
    v = v.clone().requires_grad_()
    threshold = threshold.clone().requires_grad_()
    upstream = torch.linspace(-1, 2, v.numel()).reshape(v.shape)
    (surrogate.apply(v, threshold, window, most) * upstream).sum().backward()
    return v.grad, threshold.grad, upstream


@pytest.mark.parametrize("window", [0.5, 0.2])
def test_step_pwl_gradient_follows_its_formula(window):
    v, threshold = torch.linspace(-2, 6, 300), torch.tensor(0.8)
    grad_v, grad_threshold, upstream = gradients(StepPWL, v, threshold, window, 3)
    mask = (v >= threshold - window).float()
    torch.testing.assert_close(grad_v, upstream * mask / threshold)
    torch.testing.assert_close(grad_threshold, (-upstream * mask * v / threshold**2).sum())


@pytest.mark.parametrize("most", [2, 31])
def test_periodic_exponential_gradient_follows_its_formula(most):
    v, threshold, window = torch.linspace(-2, 6, 300), torch.tensor(0.8), 0.3
    grad_v, grad_threshold, upstream = gradients(PeriodicExponential, v, threshold, window, most)
    density = []
    for potential in v.tolist():
        shifted = potential - 0.4
        periods = min(shifted // 0.8, most - 1)
        folded = shifted if potential < 0.8 else shifted - periods * 0.8
        density.append(torch.exp(torch.tensor(-abs(folded - 0.4) / window)).item() / 0.8)
    density = torch.tensor(density)
    torch.testing.assert_close(grad_v, upstream * density, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(grad_threshold, (-upstream * density * v / 0.8).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_threshold_gradient_sums_over_the_axes_that_it_broadcasts_over(surrogate):
    torch.manual_seed(0)
    v, threshold = torch.randn(5, 7, 3), torch.rand(3) + 0.2
    _, per_neuron, upstream = gradients(surrogate, v, threshold, 0.5, 9)
    _, full, _ = gradients(surrogate, v, threshold.expand(5, 7, 3), 0.5, 9)
    assert upstream.shape == full.shape
    torch.testing.assert_close(per_neuron, full.sum((0, 1)))


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates_work_under_grad_and_vmap(surrogate):
    torch.manual_seed(0)
    v, threshold = torch.randn(4, 6), torch.rand(6) + 0.3

    def loss(th, sample):
        return (surrogate.apply(sample, th, 0.5, 8.0) * torch.arange(1.0, 7.0)).sum()

    mapped = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(threshold, v)
    for sample, gradient in zip(v, mapped, strict=True):
        th = threshold.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(th, sample), th)
        torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_window_and_maximum_may_be_tensors(surrogate):
    torch.manual_seed(0)
    v, threshold = torch.randn(4, 6) * 3, torch.rand(6) + 0.3
    numbers = gradients(surrogate, v, threshold, 0.25, 3.0)
    tensors = gradients(surrogate, v, threshold, torch.full((6,), 0.25), torch.full((6,), 3.0))
    for number, tensor in zip(numbers, tensors, strict=True):
        torch.testing.assert_close(number, tensor)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_broken_potential_stays_visible(surrogate):
    counts = surrogate.apply(torch.tensor([float("nan"), 2.5]), torch.tensor(1.0), 0.5, 9)
    assert counts[0].isnan()
    assert counts[1] == 2


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["StepPWL", "PeriodicExponential"])
@pytest.mark.parametrize("most", [1.0, 4.0, 65536.0])
def test_surrogates_equal_rockpools(name, most):
    pytest.importorskip("rockpool", reason="rockpool is the oracle")
    from rockpool.nn.modules.torch import lif_torch

    ours, theirs = (
        {"StepPWL": StepPWL, "PeriodicExponential": PeriodicExponential}[name],
        getattr(lif_torch, name),
    )
    torch.manual_seed(1)
    v, threshold = torch.randn(50, 20) * 4, torch.rand(50, 20) + 0.1
    mine = gradients(ours, v, threshold, torch.tensor(0.4), torch.tensor(most))
    reference = gradients(theirs, v, threshold, torch.tensor(0.4), torch.tensor(most))
    counts = [f.apply(v, threshold, torch.tensor(0.4), torch.tensor(most)) for f in (ours, theirs)]
    assert torch.equal(*counts)
    for one, other in zip(mine, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
