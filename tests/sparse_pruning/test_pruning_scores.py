import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from snnkit.nn.combinators import Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.sparse import SparseLayer, convert
from snnkit.sparse.pruning import (
    Grasp,
    Magnitude,
    Movement,
    OrbitInvariant,
    Random,
    Snip,
    SynFlow,
    Wanda,
    prunable_weights,
    prune_masks,
)
from snnkit.utilities.errors import ConfigurationError, DataError


def small_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)
    ).double()


def batch(seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 2, 4, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 4, (6,), generator=generator)


def loss_on(x, y):
    return lambda model: F.cross_entropy(model(x), y)


def scores_of(model, criterion):
    copied = copy.deepcopy(model)
    return criterion(copied, prunable_weights(copied))


def weights_of(model):
    return {weight.name: weight.parameter.detach() for weight in prunable_weights(model)}


def test_snip_is_the_derivative_by_a_gate_on_each_connection():
    model, (x, y) = small_model(), batch()
    weights = weights_of(model)
    gates = {name: torch.ones_like(w, requires_grad=True) for name, w in weights.items()}
    output = functional_call(model, {name: gates[name] * w for name, w in weights.items()}, (x,))
    expected = torch.autograd.grad(F.cross_entropy(output, y), list(gates.values()))
    found = scores_of(model, Snip(loss_on(x, y)))
    for name, slope in zip(gates, expected, strict=True):
        torch.testing.assert_close(found[name], slope.abs())


def test_grasp_is_the_weight_times_the_full_hessian_times_the_gradient():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Tanh(), nn.Linear(4, 2, bias=False)).double()
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randint(0, 2, (5,))

    def loss(flat):
        one, two = flat[:12].reshape(4, 3), flat[12:].reshape(2, 4)
        return F.cross_entropy(torch.tanh(x @ one.T) @ two.T, y)

    flat = torch.cat([w.flatten() for w in weights_of(model).values()])
    hessian = torch.autograd.functional.hessian(loss, flat)
    gradient = torch.autograd.functional.jacobian(loss, flat)
    found = scores_of(model, Grasp(loss_on(x, y)))
    joined = torch.cat([score.flatten() for score in found.values()])
    torch.testing.assert_close(joined, flat * (hessian @ gradient))


def test_synflow_is_the_sum_over_paths_of_products_of_magnitudes():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    one, two = (weight.double().abs() for weight in weights_of(model).values())
    paths = one.T[:, :, None] * two.T[None]  # input, hidden, output
    found = scores_of(model, SynFlow(torch.zeros(1, 3), rounds=1))
    torch.testing.assert_close(found["0.weight"], paths.sum(2).T)
    torch.testing.assert_close(found["2.weight"], paths.sum(0).T)


def test_synflow_prunes_in_rounds_and_keeps_every_layer_connected():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 5))
    masks = prune_masks(model, 0.97, SynFlow(torch.zeros(1, 20)), minimum=0)
    path = masks["0.weight"].any(1)
    for name in ("2.weight", "4.weight"):
        path = (masks[name] & path).any(1)
    assert path.any()
    # What feeds nothing has no flow, so iterating leaves no dead ends.
    assert torch.equal(masks["0.weight"].any(1), masks["2.weight"].any(0))


def test_movement_sums_minus_weight_times_gradient_over_the_steps():
    model, (x, y) = small_model(), batch()
    optimizer = torch.optim.SGD(nn.Module.parameters(model), lr=0.5)
    movement = Movement(model, optimizer)
    expected = {name: torch.zeros_like(w) for name, w in weights_of(model).items()}
    for _ in range(3):
        optimizer.zero_grad()
        loss_on(x, y)(model).backward()
        for weight in prunable_weights(model):
            expected[weight.name] -= weight.parameter.detach() * weight.parameter.grad
        optimizer.step()
    found = movement(model, prunable_weights(model))
    for name, total in expected.items():
        torch.testing.assert_close(found[name], total)


def test_movement_without_training_is_refused():
    model = small_model()
    movement = Movement(model, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(ConfigurationError, match="train with its optimiser first"):
        prune_masks(model, 0.5, movement)


def test_movement_follows_a_sparse_layer_through_a_change():
    torch.manual_seed(0)
    layer = convert(nn.Linear(4, 3), "csr")
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    movement = Movement(layer, optimizer)
    x = torch.randn(5, 4)

    def step():
        optimizer.zero_grad()
        layer(x).square().sum().backward()
        optimizer.step()

    step()
    (weight,) = prunable_weights(layer)
    before = movement(layer, [weight])["weight"]
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[0, 1] = mask[2, 3] = False
    weight.restrict(mask, optimizer)
    after = movement(layer, [weight])["weight"]
    assert torch.equal(after[mask], before[mask])
    assert bool((after[~mask] == -torch.inf).all())
    step()
    assert movement(layer, [weight])["weight"][mask].isfinite().all()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, padding=1, groups=2),
        nn.Conv2d(4, 6, (3, 2), stride=2, dilation=(1, 2)),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    ],
)
def test_wanda_of_a_convolution_is_that_of_its_patches(layer):
    layer = layer.double()
    x = torch.randn(3, 4, 7, 7, dtype=torch.float64)
    padded = x
    if layer.padding != (0, 0):
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        padded = F.pad(x, (1, 1, 1, 1), mode=mode)
    patches = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    norms = patches.square().sum((0, 2)).sqrt().reshape(layer.groups, 1, -1)
    expected = (
        layer.weight.detach().abs().reshape(layer.groups, layer.out_channels // layer.groups, -1) * norms
    )
    found = scores_of(layer, Wanda(x))
    torch.testing.assert_close(found["weight"].flatten(), expected.flatten())


def test_wanda_of_a_transposed_convolution_counts_what_each_weight_multiplies():
    layer = nn.ConvTranspose2d(2, 3, 2, stride=2).double()
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    norms = x.square().sum((0, 2, 3)).sqrt()
    found = scores_of(layer, Wanda(x))
    torch.testing.assert_close(found["weight"], layer.weight.detach().abs() * norms[:, None, None, None])


def test_wanda_takes_batches_of_any_leading_shape():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    x = torch.randn(6, 7, 5)
    whole = scores_of(model, Wanda(x))
    halves = scores_of(model, Wanda([x[:2], x[2:]]))
    expected = model[0].weight.detach().abs() * x.flatten(0, 1).norm(dim=0)
    torch.testing.assert_close(whole["0.weight"], expected)
    for name in whole:
        torch.testing.assert_close(whole[name], halves[name])


def test_wanda_counts_all_that_a_shared_weight_multiplies():
    model = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5))
    model[2].weight = model[0].weight
    x = torch.randn(7, 5)
    between = model[1](model[0](x)).detach()
    expected = model[0].weight.detach().abs() * torch.cat([x, between]).norm(dim=0)
    torch.testing.assert_close(scores_of(model, Wanda(x))["0.weight"], expected)


def test_scores_of_a_sparse_layer_are_those_of_its_dense_twin_where_it_has_weights():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4))
    masks = prune_masks(dense, 0.5)
    with torch.no_grad():
        for name, mask in masks.items():
            dense.get_parameter(name).mul_(mask)
    sparse = nn.Sequential(convert(dense[0], "csr"), nn.Tanh(), convert(dense[2], "csc"))
    x, y = torch.randn(8, 6), torch.randint(0, 4, (8,))
    for criterion in (Magnitude(), Snip(loss_on(x, y)), Wanda(x)):
        one, other = scores_of(dense, criterion), scores_of(sparse, criterion)
        for name, mask in masks.items():
            torch.testing.assert_close(other[name][mask], one[name][mask], rtol=1e-4, atol=1e-6)
            assert bool((other[name][~mask] == -torch.inf).all())


def spiking_net(seed=0):
    torch.manual_seed(seed)
    return Sequential(
        LinearTorch((3, 12)),
        LIFTorch((12, 6), threshold=torch.rand(6) + 0.5, has_rec=True, w_rec=torch.randn(6, 12) * 0.1),
        Residual(LinearTorch((6, 6)), LIFTorch(6, threshold=torch.rand(6) + 0.5)),
        LinearTorch((6, 2), has_bias=True),
    )


def rescaled(net, factors, bias=0.0):
    """Return the net with other units of the membranes in its two populations: the same function."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        layers = ((net[0].weight, net[1], factors[0]), (net[2][0].weight, net[2][1], factors[1]))
        for weight, neurons, c in layers:
            for tensor in (weight, neurons.w_rec):
                if tensor is not None:
                    tensor.mul_(c.repeat_interleave(tensor.shape[1] // 6))
            neurons.threshold = neurons.threshold * c
            neurons.bias = neurons.bias * c
    return net


def test_the_orbit_score_is_the_same_for_all_rescaled_nets_and_the_magnitude_is_not():
    net = spiking_net()
    events = (torch.rand(4, 40, 3) < 0.4).float()
    # Powers of two, so that the nets compute the same numbers to the last bit.
    factors = 2.0 ** torch.randint(-2, 3, (2, 6))
    other = rescaled(net, factors)
    assert torch.equal(net(events)[0], other(events)[0])
    one, two = scores_of(net, OrbitInvariant(events)), scores_of(other, OrbitInvariant(events))
    for name in one:
        torch.testing.assert_close(one[name], two[name])
    masks = [prune_masks(model, 0.6, OrbitInvariant(events)) for model in (net, other)]
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])
    by_size = [prune_masks(model, 0.6) for model in (net, other)]
    assert not all(torch.equal(by_size[0][name], by_size[1][name]) for name in by_size[0])


def test_the_orbit_score_is_what_a_synapse_adds_in_units_of_the_threshold():
    net = spiking_net()
    events = (torch.rand(4, 40, 3) < 0.4).float()
    found = scores_of(net, OrbitInvariant(events))
    _, _, record = copy.deepcopy(net).reset_state()(events, record=True)
    first = record["1_LIFTorch_output"].detach().square().mean((0, 1)).sqrt()
    theta = net[1].threshold.detach().repeat_interleave(2)
    expected = net[0].weight.detach().abs() * events.square().mean((0, 1)).sqrt()[:, None] / theta
    torch.testing.assert_close(found["0_LinearTorch.weight"], expected)
    torch.testing.assert_close(
        found["1_LIFTorch.w_rec"], net[1].w_rec.detach().abs() * first[:, None] / theta
    )
    inner = net[2][1].threshold.detach()
    torch.testing.assert_close(
        found["2_TorchResidual.0_LinearTorch.weight"],
        net[2][0].weight.detach().abs() * first[:, None] / inner,
    )
    second = record["2_TorchResidual_output"].detach().square().mean((0, 1)).sqrt()
    torch.testing.assert_close(found["3_LinearTorch.weight"], net[3].weight.detach().abs() * second[:, None])


def test_random_scores_depend_on_the_seed_alone():
    model = small_model()
    torch.manual_seed(5)
    one = prune_masks(model, 0.5, Random(3))
    torch.manual_seed(6)
    assert all(torch.equal(mask, prune_masks(model, 0.5, Random(3))[name]) for name, mask in one.items())
    assert any(not torch.equal(mask, prune_masks(model, 0.5, Random(4))[name]) for name, mask in one.items())


def test_criteria_leave_model_gradients_mode_and_the_generator_alone():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 4))
    x, y = torch.randn(8, 6), torch.randint(0, 4, (8,))
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    for criterion in (Snip(loss_on(x, y)), Grasp(loss_on(x, y)), SynFlow(x[:1], rounds=3), Wanda(x)):
        prune_masks(model, 0.5, criterion)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (Snip(lambda model: torch.zeros(())), "does not depend on the weights"),
        (Snip(lambda model: model(torch.ones(2, 6))), "must return one number"),
        (Grasp(lambda model: model(torch.ones(2, 6)).sum()), "no second derivative"),
        (Wanda(torch.ones(2, 6, dtype=torch.float64)), "the weights torch.float32"),
        (Wanda([]), "have no batch"),
        (Snip(lambda model: model(torch.ones(2, 6)).sum() * float("nan")), "not finite"),
    ],
)
def test_what_a_criterion_cannot_use_is_said(criterion, message):
    with pytest.raises((ConfigurationError, DataError), match=message):
        prune_masks(nn.Linear(6, 4), 0.5, criterion)


def test_layers_whose_inputs_are_unknown_are_named():
    model = nn.ModuleDict({"rnn": nn.LSTM(3, 4), "unused": nn.Linear(2, 2)})
    with pytest.raises(ConfigurationError, match=r"rnn\.weight_ih_l0, rnn\.weight_hh_l0"):
        prune_masks(model, 0.5, Wanda(torch.ones(1, 3)))


def test_a_layer_that_does_not_run_is_named():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.used(x)

    with pytest.raises(ConfigurationError, match=r"unused\.weight were not called"):
        prune_masks(Half(), 0.5, Wanda(torch.ones(1, 3)))
    masks = prune_masks(Half(), 0.5, Wanda(torch.ones(1, 3)), exclude=["unused"])
    assert list(masks) == ["used.weight"]


def test_a_sparse_root_layer_is_scored():
    layer = SparseLayer(6, 4, density=0.5)
    assert list(prune_masks(layer, 0.75)) == ["weight"]
