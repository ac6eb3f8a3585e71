"""The interface of the neural-teleportation project, and what went wrong there."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport import TeleportError, random_teleport
from snnkit.teleport.neural_teleportation_model import NeuralTeleportationModel


class Residual(nn.Module):
    """Functions in forward, a layer used twice, additions in both orders, groups, batch norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.late, self.head = nn.Conv2d(16, 4, 1), nn.Linear(16, 3)

    def forward(self, x):
        first = F.relu(self.norm(self.stem(x)))
        second = self.twice(first)
        x = second + first  # what was computed last comes first
        x = x + self.twice(F.relu(x))
        x = F.relu(torch.cat([x, F.leaky_relu(self.grouped(x), 0.1)], 1))
        x = F.relu(self.late(F.max_pool2d(x, 2)))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def mlp():
    return nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 7), nn.LeakyReLU(), nn.Linear(7, 3)
    )


SHAPES = {mlp: (1, 6), Residual: (1, 3, 8, 8), Odd: (1, 6)}
MAKERS = pytest.mark.parametrize("make", list(SHAPES), ids=lambda make: make.__name__)


def teleportable(make, dtype=torch.float64):
    torch.manual_seed(0)
    net = make().to(dtype).eval()
    x = torch.randn(5, *SHAPES[make][1:], dtype=dtype)
    return NeuralTeleportationModel(net, input_shape=SHAPES[make]), x


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def relative(one, other):
    return float(((one - other).norm() / other.norm()).detach())


def state(model):
    return {name: tensor.detach().clone() for name, tensor in named_tensors(model).items()}


def equal_states(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


LOSS = nn.CrossEntropyLoss()
TARGET = torch.tensor([0, 1, 1, 0, 1])


@MAKERS
@pytest.mark.parametrize(
    "sampling", ["intra_landscape", "inter_landscape", "positive", "negative", "centered", "powers_of_two"]
)
def test_function_stays_and_undo_restores_every_bit(make, sampling):
    model, x = teleportable(make)
    outputs, before = model(x), state(model.network)
    model.random_teleport(0.9, sampling, generator=seeded())
    moves = make is not Odd or "negative" in sampling or "inter" in sampling
    assert equal_states(state(model.network), before) != moves
    assert relative(model(x), outputs) <= 1e-12
    model.undo_teleportation()
    assert equal_states(state(model.network), before)
    assert torch.equal(model.get_cob(), torch.ones(model.get_cob_size(), dtype=torch.float64))


@MAKERS
def test_float32_keeps_its_function_and_its_type(make):
    model, x = teleportable(make, torch.float32)
    outputs = model(x)
    model.random_teleport(0.9, "inter_landscape", generator=seeded())
    assert relative(model(x), outputs) <= 1e-5
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_float64_nets_are_right_to_float64():
    """Where the basis was rounded to float32, errors of 5e-9 remained."""
    model, x = teleportable(mlp)
    outputs = model(x)
    assert relative(model.random_teleport(0.9, generator=seeded())(x), outputs) <= 1e-14


def test_further_teleports_add_up_and_are_undone_together():
    model, _ = teleportable(Residual)
    before = state(model.network)
    model.random_teleport(0.5, generator=seeded(1))
    first = model.get_cob()
    second = model.generate_random_cob(0.5, generator=seeded(2))
    model.teleport(second, reset_teleportation=False)
    assert torch.allclose(model.get_cob(), first * second)
    assert equal_states(state(model.undo_teleportation().network), before)


def test_reset_forgets_what_came_before():
    model, _ = teleportable(mlp)
    model.random_teleport(0.5, generator=seeded(1))
    between, cob = state(model.network), model.generate_random_cob(0.5, generator=seeded(2))
    model.teleport(cob)
    assert torch.equal(model.get_cob(), cob)
    assert equal_states(state(model.undo_teleportation().network), between)


def test_weights_trained_since_are_divided_by_the_basis():
    model, x = teleportable(mlp)
    model.random_teleport(0.9, generator=seeded())
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    LOSS(model(x), TARGET).backward()
    optimiser.step()
    outputs = model(x)
    model.undo_teleportation()
    assert relative(model(x), outputs) <= 1e-12


def test_optimiser_made_before_goes_on_training_the_network():
    """Where parameters were replaced, optimisers trained tensors that nothing read."""
    model, x = teleportable(mlp)
    parameters = list(model.parameters())
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model.random_teleport(0.9, generator=seeded())
    assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
    before = LOSS(model(x), TARGET)
    before.backward()
    optimiser.step()
    assert LOSS(model(x), TARGET) < before


@MAKERS
def test_state_dict_of_a_teleported_network_loads_into_the_plain_class(make):
    """Where the basis of activations was lost on saving, outputs came back wrong."""
    model, x = teleportable(make)
    outputs = model(x)
    model.random_teleport(0.9, "inter_landscape", generator=seeded())
    plain = make().double().eval()
    plain.load_state_dict(model.network.state_dict())
    assert relative(plain(x), outputs) <= 1e-12


def test_order_of_an_addition_does_not_matter():
    """Where the second addend was rescaled at run time, one order gave wrong outputs."""

    class Skip(nn.Module):
        def __init__(self, swapped):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.swapped = swapped

        def forward(self, x):
            one = F.relu(self.a(x))
            two = self.b(one)
            return self.c(two + one if self.swapped else one + two)

    bases = []
    for swapped in (False, True):
        torch.manual_seed(0)
        net, x = Skip(swapped).double(), torch.randn(4, 6, dtype=torch.float64)
        model = NeuralTeleportationModel(net, (1, 6))
        outputs = model(x)
        model.random_teleport(0.9, generator=seeded())
        assert relative(model(x), outputs) <= 1e-13
        bases.append(model.get_cob())
    assert torch.equal(*bases)


def test_sum_that_nothing_reads_is_no_obstacle():
    """Where an addition had to be followed by a layer, such networks were refused."""

    class End(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 4), nn.Linear(8, 4)

        def forward(self, x):
            x = F.relu(self.a(x))
            return self.b(x) + self.c(x)

    model, x = NeuralTeleportationModel(End().double(), (1, 6)), torch.randn(4, 6, dtype=torch.float64)
    outputs = model(x)
    assert model.get_cob_size() == 8
    assert relative(model.random_teleport(0.9, generator=seeded())(x), outputs) <= 1e-13


def test_wrapping_a_network_keeps_its_weights_and_adds_none():
    """Where layers were swapped for others, weights were drawn anew and biases appeared."""
    net = nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.LeakyReLU(), nn.Dropout(), nn.Linear(8, 2, bias=False)
    )
    before, classes = state(net), [type(module) for module in net.modules()]
    model = NeuralTeleportationModel(net, (1, 6))
    assert model.network is net
    assert equal_states(state(net), before)
    assert [type(module) for module in net.modules()] == classes


def test_basis_is_read_and_written_in_parts_and_with_ones():
    model, x = teleportable(Residual)
    model.random_teleport(0.9, generator=seeded())
    whole, parts = model.get_cob(), model.get_cob(concat=False)
    assert torch.equal(torch.cat(parts), whole)
    assert [len(part) for part in parts] == [entry.size for entry in model.basis.entries]
    assert len(whole) == model.get_cob_size()
    with_ones = model.get_cob(contain_ones=True)
    assert len(with_ones) == model.get_cob_size(contain_ones=True) == len(whole) + 3 + 3
    assert torch.equal(with_ones[3:-3], whole)
    model.initialize_cob()
    model.set_change_of_basis(with_ones, contain_ones=True)
    outputs = model(x)
    assert relative(model.teleport_weights()(x), outputs) <= 1e-12
    assert torch.equal(model.get_cob(), whole)


def test_impossible_bases_are_refused_and_change_nothing():
    model, _ = teleportable(mlp)
    before = state(model.network)
    ones = torch.ones(model.get_cob_size())
    for cob, match in (
        (ones[:-1], "takes"),
        (ones * 0, "zero"),
        (-ones, "not odd"),
        (ones * float("nan"), "not finite"),
    ):
        with pytest.raises(TeleportError, match=match):
            model.teleport(cob)
    odd, _ = teleportable(Odd)
    with pytest.raises(TeleportError, match="1 or -1"):
        odd.teleport(2 * torch.ones(5))
    with pytest.raises(TeleportError, match="either"):
        NeuralTeleportationModel(mlp())
    assert equal_states(state(model.network), before)


def test_weights_are_read_and_written():
    model, x = teleportable(Residual)
    flat, listed = model.get_weights(), model.get_weights(concat=False, flatten=False)
    assert torch.equal(torch.cat([w.reshape(-1) for w in listed]), flat)
    assert [w.shape for w in listed] == [p.shape for p in model.parameters()]
    without = model.get_weights(bias=False, ignore_bn=True, concat=False, flatten=False)
    assert [w.dim() for w in without] == [4, 4, 4, 4, 2]
    outputs = model(x)
    other, _ = teleportable(Residual)
    other.reset_weights()
    assert not torch.equal(other.get_weights(), flat)
    other.set_weights(flat)
    assert torch.equal(other(x), outputs)
    other.set_weights(listed)
    assert torch.equal(other(x), outputs)
    with pytest.raises(TeleportError, match="give them all"):
        model.set_weights(flat[:-1])
    with pytest.raises(TeleportError, match="flatten"):
        model.get_weights(flatten=False)


def test_parameters_and_basis_travel_together():
    model, x = teleportable(mlp)
    plain, outputs = model.get_weights(), model(x)
    weights, cob = model.random_teleport(0.9, generator=seeded()).get_params()
    other, _ = teleportable(mlp)
    other.set_params(weights, cob)
    assert relative(other(x), outputs) <= 1e-13
    assert torch.allclose(other.undo_teleportation().get_weights(), plain, rtol=1e-13)


def test_proxy_weights_are_differentiable_in_the_basis():
    model, _ = teleportable(Residual)
    cob = model.generate_random_cob(0.5, "inter_landscape", requires_grad=True, generator=seeded())
    model.set_change_of_basis(cob)
    proxies = model.get_weights(get_proxy_weight=True)
    (found,) = torch.autograd.grad(proxies.square().sum(), cob)
    model.teleport_weights()
    assert torch.allclose(model.get_weights(), proxies, rtol=1e-12)
    step = torch.zeros_like(cob)
    step[3] = 1e-6
    model.undo_teleportation()
    sums = []
    for moved in (cob + step, cob - step):
        model.set_change_of_basis(moved)
        sums.append(model.get_weights(get_proxy_weight=True).square().sum())
    assert float((sums[0] - sums[1]).detach()) / 2e-6 == pytest.approx(float(found[3]), rel=1e-6)


def test_gradient_is_that_of_the_loss():
    model, x = teleportable(mlp)
    LOSS(model(x), TARGET).backward()
    expected = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
    assert torch.allclose(model.get_grad(x, TARGET, LOSS), expected)
    assert torch.allclose(model.get_grad(x, TARGET, LOSS, zero_grad=False), 2 * expected)
    assert [g.numel() for g in model.get_grad(x, TARGET, LOSS, concat=False)] == [
        p.numel() for p in model.parameters()
    ]


def test_gradient_is_divided_by_what_weights_are_multiplied_by():
    model, x = teleportable(mlp)
    before, gradient = model.get_weights(), model.get_grad(x, TARGET, LOSS)
    model.random_teleport(0.9, generator=seeded())
    factor = model.get_weights() / before
    assert torch.allclose(model.get_grad(x, TARGET, LOSS) * factor, gradient, rtol=1e-9, atol=1e-14)


def test_second_derivatives_agree_with_each_other():
    model, x = teleportable(Odd)
    whole = model.get_hessian(x, TARGET, LOSS)
    assert torch.allclose(whole, whole.T)
    trace = model.get_hessian_trace(x, TARGET, LOSS)
    assert trace == pytest.approx(float(whole.trace()))
    layers = model.get_layer_hessians(x, TARGET, LOSS)
    assert {path: len(matrix) for path, matrix in layers.items()} == {"a": 35, "b": 12}
    assert torch.allclose(layers["b"], whole[35:, 35:])
    traces = model.get_layer_hessian_traces(x, TARGET, LOSS)
    assert sum(traces.values()) == pytest.approx(trace)
    estimate = model.get_hessian_trace(x, TARGET, LOSS, samples=400, generator=seeded())
    assert estimate == pytest.approx(trace, rel=0.3)
    # Column by column the derivatives of the gradient.
    weights, step = model.get_weights(), torch.zeros(47, dtype=torch.float64)
    step[7] = 1e-5
    model.set_weights(weights + step)
    above = model.get_grad(x, TARGET, LOSS)
    model.set_weights(weights - step)
    below = model.get_grad(x, TARGET, LOSS)
    assert torch.allclose((above - below) / 2e-5, whole[:, 7], atol=1e-8)


@MAKERS
def test_basis_between_two_nets_of_an_orbit_is_found(make):
    model, _ = teleportable(make)
    before = model.get_weights()
    model.random_teleport(0.9, "inter_landscape", generator=seeded())
    after, cob = model.get_weights(), model.get_cob()
    assert torch.allclose(model.calculate_cob(before, after, steps=0), cob, rtol=1e-12)
    parts = model.calculate_cob(before, after, concat=False)
    assert torch.allclose(torch.cat(parts), cob, rtol=1e-9)


@MAKERS
def test_basis_and_order_between_two_nets_of_an_orbit_are_found(make):
    model, x = teleportable(make)
    other = copy.deepcopy(model.network)
    random_teleport(other, x, 0.8, "inter_landscape", seeded(4), permutations=True)
    target = NeuralTeleportationModel(other, SHAPES[make]).get_weights()
    cob, orders = model.calculate_cob(model.get_weights(), target, permutations=True)
    outputs = model(x)
    model.teleport(cob, permutations=orders)
    assert torch.allclose(model.get_weights(), target, rtol=1e-10, atol=1e-12)
    assert relative(model(x), outputs) <= 1e-12


def test_descent_comes_closer_to_a_net_of_another_orbit():
    model, _ = teleportable(mlp)
    source = model.get_weights()
    target = source * (1 + 0.3 * torch.rand(len(source), generator=seeded(), dtype=torch.float64))
    distances = []
    for steps in (0, 50):
        model.set_weights(source)
        model.teleport(model.calculate_cob(source, target, steps=steps))
        distances.append(relative(model.get_weights(), target))
    assert distances[1] < distances[0] < relative(source, target)


def test_weights_drawn_from_histograms_have_their_ranges():
    model, _ = teleportable(mlp)
    before = [w.detach().clone() for w in model.parameters()]
    model.init_like_histogram(generator=seeded())
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)
        assert old.min() <= new.min() <= new.max() <= old.max()
    assert float(model.network[0].weight.std().detach()) == pytest.approx(float(before[0].std()), rel=0.35)


def test_other_activations_are_scaled_on_request():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.ELU(), nn.Linear(4, 2)).double()
    x = torch.randn(3, 6, dtype=torch.float64)
    model = NeuralTeleportationModel(net, (1, 6), scale_activations=True)
    assert model.get_cob_size() == 9
    outputs, before, weights = model(x), state(model.network), model.get_weights()
    assert torch.equal(outputs, net(x))
    model.random_teleport(0.9, "intra_landscape", generator=seeded())
    assert relative(model(x), net(x)) <= 1e-13
    assert torch.allclose(model.calculate_cob(weights, model.get_weights()), model.get_cob())
    other = NeuralTeleportationModel(net, (1, 6), scale_activations=True)
    other.load_state_dict(model.state_dict())
    assert relative(other(x), net(x)) <= 1e-13
    assert equal_states(state(model.undo_teleportation().network), before)


def test_layers_with_parameters_are_listed():
    model, _ = teleportable(Residual)
    assert [type(layer).__name__ for layer in model.get_neuron_layers()] == [
        "Conv2d", "BatchNorm2d", "Conv2d", "Conv2d", "Conv2d", "Linear"
    ]  # fmt: skip
