import math

import pytest
import torch
from teleport_training.teleport_nets import Residual, cross_entropy, mlp, problem
from torch import nn
from torch.func import functional_call

from snnkit.teleport import random, symmetries, teleport
from snnkit.teleport.training import (
    GradientNorm,
    HessianTrace,
    LargestEigenvalue,
    LossAfterStep,
    LossOnBatches,
    ObjectiveOptions,
    WeightedGradientNorm,
    find_element,
    objective_named,
)
from snnkit.utilities.errors import ConfigurationError, DataError, ParameterError

NAMES = ["grad_norm", "weighted_grad_norm", "hessian_trace", "hessian_eigenvalue", "loss_lookahead"]


def setting(seed=0):
    # tanh would have no scales; ReLU has kinks, which the seed keeps away from.
    model = mlp(seed)
    return model, symmetries(model, problem()[0][:1]), LossOnBatches(model, cross_entropy, [problem(32)])


def hessian(loss):
    """The whole Hessian, one product with a unit vector after the other."""
    names, sizes = list(loss.parameters), [p.numel() for p in loss.parameters.values()]
    rows = []
    for index in range(sum(sizes)):
        unit = torch.zeros(sum(sizes), dtype=torch.float64)
        unit[index] = 1.0
        parts = unit.split(sizes)
        vector = {n: part.view_as(loss.parameters[n]) for n, part in zip(names, parts, strict=True)}
        rows.append(torch.cat([h.flatten() for h in loss.hessian_times(vector).values()]))
    return torch.stack(rows)


def brute_force(name, loss, options):
    """The objective of a net where it stands, without its orbit."""
    gradient = torch.cat([g.flatten() for g in loss.gradients().values()])
    weights = torch.cat([p.detach().flatten() for p in loss.parameters.values()])
    if name == "grad_norm":
        return float(gradient.norm())
    if name == "weighted_grad_norm":
        return float(gradient.norm() / weights.norm())
    if name == "loss_lookahead":
        gradients = loss.gradients()
        after = {n: p.detach() - options.learning_rate * gradients[n] for n, p in loss.parameters.items()}
        return float(loss.value(after))
    if name == "hessian_eigenvalue":
        return float(torch.linalg.eigvalsh(hessian(loss)).abs().max())
    return float(hessian(loss).trace())


@pytest.mark.parametrize("name", NAMES)
def test_objectives_on_the_orbit_are_those_of_the_teleported_net(name):
    _model, found, loss = setting()
    options = ObjectiveOptions(learning_rate=0.3, draws=150)
    objective = objective_named(name, loss, options)
    if name == "hessian_eigenvalue":
        objective = LargestEigenvalue(loss, iterations=2000, tolerance=1e-12)
    element = random(found, 0.5, generator=torch.Generator().manual_seed(1))
    value = float(objective(found.log_factors(found.flat(element).log())))
    moved = mlp()
    teleport(moved, element)
    expected = brute_force(name, loss.of(moved), options)
    # Hutchinson's mean of 150 draws; everything else is exact.
    tolerance = {"hessian_trace": 0.1, "hessian_eigenvalue": 1e-6}.get(name, 1e-11)
    assert value == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_slopes_of_objectives_are_those_of_differences(name):
    _, found, loss = setting()
    objective = objective_named(name, loss, ObjectiveOptions(learning_rate=0.3))
    if name == "hessian_eigenvalue":
        objective = LargestEigenvalue(loss, iterations=5000, tolerance=1e-13)
    generator = torch.Generator().manual_seed(2)
    point = (0.3 * torch.randn(found.n_scales, generator=generator, dtype=torch.float64)).requires_grad_()
    along = torch.randn(found.n_scales, generator=generator, dtype=torch.float64)
    (slope,) = torch.autograd.grad(objective(found.log_factors(point)), [point])
    step = 1e-5
    ends = [float(objective(found.log_factors(point.detach() + sign * step * along))) for sign in (1, -1)]
    assert float(slope @ along) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_gradients_through_the_teleportation_itself_agree():
    # The plain reference: functional_call of the model at the teleported parameters, differentiated twice.
    model, found, loss = setting()
    point = torch.zeros(found.n_scales, dtype=torch.float64, requires_grad=True)
    logs = found.log_factors(point)
    moved = {n: p.detach() * logs[n].exp() if n in logs else p for n, p in model.named_parameters()}
    inputs, labels = problem(32)
    value = nn.functional.cross_entropy(functional_call(model, moved, (inputs,)), labels)
    gradients = torch.autograd.grad(value, list(moved.values()), create_graph=True)
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    (expected,) = torch.autograd.grad(norm, [point])
    (slope,) = torch.autograd.grad(GradientNorm(loss)(found.log_factors(point)), [point])
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", [GradientNorm, WeightedGradientNorm, HessianTrace])
def test_the_search_finds_a_better_place_within_bounds_and_the_net_is_there(kind, method):
    model, found, loss = setting()
    objective = kind(loss)
    found_place = find_element(found, objective, method=method, steps=30, max_log_scale=math.log(4.0))
    better = (
        found_place.after > found_place.before if kind.maximise else found_place.after < found_place.before
    )
    assert better
    scales = found.flat(found_place.element)
    assert float(scales.log().abs().max()) <= math.log(4.0) + 1e-12
    outputs = model(problem()[0])
    teleport(model, found_place.element)
    torch.testing.assert_close(model(problem()[0]), outputs, rtol=1e-11, atol=1e-12)
    if kind is GradientNorm:
        here = brute_force("grad_norm", loss.of(model), None)
        assert here == pytest.approx(found_place.after, rel=1e-10)


def test_a_gradient_norm_is_smallest_where_the_search_for_less_ends():
    # Its square is convex in the log scales: every start leads to the same place.
    _, found, loss = setting()

    class Small(GradientNorm):
        maximise = False

    objective = Small(loss)
    place = find_element(found, objective, steps=200, max_log_scale=math.log(30.0))
    log_scales = found.flat(place.element).log().requires_grad_()
    (slope,) = torch.autograd.grad(objective(found.log_factors(log_scales)), [log_scales])
    assert float(slope.norm()) < 1e-3 * place.after


def test_a_look_ahead_steps():
    _, found, loss = setting()
    here = found.log_factors(torch.zeros(found.n_scales, dtype=torch.float64))
    assert LossAfterStep(loss, 0.1)(here).item() < loss.value().item()
    assert LossAfterStep(loss, 0.0)(here).item() == pytest.approx(loss.value().item())


def test_a_loss_leaves_no_trace():
    model = Residual()
    model.drop = nn.Dropout(0.5)
    images, labels = torch.randn(8, 1, 6, 6), torch.randint(3, (8,))

    def noisy(net, batch):
        return nn.functional.cross_entropy(net.drop(net(batch[0])), batch[1])

    buffers = {name: b.clone() for name, b in model.named_buffers()}
    loss = LossOnBatches(model, noisy, [(images, labels)])
    state = torch.get_rng_state()
    first, gradients = loss.value(), loss.gradients()
    loss.hessian_times(gradients)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(loss.value(), first)


@pytest.mark.parametrize("training", [True, False])
def test_slopes_run_through_batch_norm_in_both_modes(training):
    model = Residual().double().train(training)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 1, 6, 6, generator=generator, dtype=torch.float64)
    loss = LossOnBatches(model, cross_entropy, [(images, torch.randint(3, (16,), generator=generator))])
    objective = LossAfterStep(loss, 0.1)
    found = symmetries(model, images[:1], batch_norm="fixed")
    point = torch.zeros(found.n_scales, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(objective(found.log_factors(point)), [point])
    along = torch.randn(found.n_scales, generator=generator, dtype=torch.float64)
    ends = [objective(found.log_factors(sign * 1e-5 * along)).item() for sign in (1, -1)]
    assert float(slope @ along) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_the_loss_is_the_mean_over_batches():
    model = mlp()
    inputs, labels = problem(64)
    halves = [(inputs[:32], labels[:32]), (inputs[32:], labels[32:])]
    whole, parts = (LossOnBatches(model, cross_entropy, b) for b in ([(inputs, labels)], halves))
    assert parts.value().item() == pytest.approx(whole.value().item(), rel=1e-12)
    for name, gradient in whole.gradients().items():
        torch.testing.assert_close(parts.gradients()[name], gradient)


def test_what_cannot_be_is_refused():
    model, found, loss = setting()
    with pytest.raises(DataError, match="batch"):
        LossOnBatches(model, cross_entropy, [])
    with pytest.raises(ConfigurationError, match="gradient"):
        LossOnBatches(mlp().requires_grad_(False), cross_entropy, [problem()])
    with pytest.raises(ParameterError, match="grad_norm"):
        objective_named("gradnorm", loss)
    with pytest.raises(ParameterError, match="lbfgs"):
        find_element(found, GradientNorm(loss), method="bfgs")
    with pytest.raises(ParameterError, match="steps is 0"):
        find_element(found, GradientNorm(loss), steps=0)
    with pytest.raises(ParameterError, match="learning rate"):
        LossAfterStep(loss, -1.0)
    gelu = mlp(activation=nn.GELU)
    with pytest.raises(ParameterError, match="free"):
        find_element(symmetries(gelu, problem()[0][:1]), GradientNorm(loss))
