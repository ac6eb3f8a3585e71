"""Equalisation and canonical forms: the same from every net of an orbit, and what they are for."""

import copy

import pytest
import torch
from attention_models import GatedMlp
from torch import nn
from torch.nn import functional as F

from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport import TeleportError, random_teleport, teleport
from snnkit.teleport.activation_ranges import activation_ranges
from snnkit.teleport.equalisation import are_equivalent, canonical_form, equalize
from snnkit.utilities.errors import DataError


class ResidualNet(nn.Module):
    """A stem with batch norm, a residual branch, depthwise and grouped convolutions, a flattened head."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.mix, self.grouped = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = x + torch.relu(self.mix(torch.relu(self.depthwise(x))))
        return self.head(F.adaptive_avg_pool2d(F.relu(self.grouped(x)), 2).flatten(1))


class Odd(nn.Module):
    """Two layers of tanh."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def mlp():
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 4))


CASES = {
    "mlp": (mlp, (7, 20)),
    "residual": (ResidualNet, (2, 3, 8, 8)),
    "tanh": (Odd, (3, 4)),
    "gated": (GatedMlp, (3, 8)),
}


def case(name, seed=0):
    torch.manual_seed(seed)
    make, shape = CASES[name]
    return make().double().eval(), torch.randn(shape, dtype=torch.float64)


def moved(model, x, seed, **options):
    other = copy.deepcopy(model)
    random_teleport(other, x, 0.95, generator=torch.Generator().manual_seed(seed), **options)
    return other


def largest_difference(one, other):
    pairs = zip(named_tensors(one).values(), named_tensors(other).values(), strict=True)
    return max(float(((a - b).abs().max() / a.abs().max().clamp(min=1e-300)).detach()) for a, b in pairs)


def relative(one, other):
    return float(((one - other).norm() / other.norm()).detach())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("options", [{}, {"measure": "energy"}, {"calibration": True, "strength": 0.7}])
def test_result_is_the_same_from_every_net_of_the_orbit(name, options):
    model, x = case(name)
    outputs, found = model(x), []
    for seed in range(2):
        other = moved(model, x, seed) if seed else copy.deepcopy(model)
        given = options | ({"calibration": [x, (x / 2,)]} if "calibration" in options else {})
        equalize(other, x, **given)
        assert relative(other(x), outputs) <= 1e-12
        found.append(other)
    assert largest_difference(*found) <= 1e-10


def test_rows_and_columns_have_equal_ranges():
    model, x = case("mlp")
    equalize(model, x)
    for first, second in ((0, 2), (2, 4)):
        rows, columns = model[first].weight.abs().amax(1), model[second].weight.abs().amax(0)
        assert torch.allclose(rows, columns, rtol=1e-12)


def test_energy_is_the_least_of_the_orbit():
    model, x = case("residual")

    def energy(net):
        return float(sum(p.detach().square().sum() for p in net.parameters()))

    least = copy.deepcopy(model)
    equalize(least, x, measure="energy", batch_norm="fixed")
    for seed in range(5):
        other = copy.deepcopy(least)
        random_teleport(other, x, 0.1, generator=torch.Generator().manual_seed(seed), batch_norm="fixed")
        assert energy(other) > energy(least)
    assert energy(least) < energy(model)


def test_element_takes_the_equalisation_back():
    model, x = case("residual")
    old = copy.deepcopy(model)
    teleport(model, equalize(model, x).inverse())
    assert largest_difference(model, old) <= 1e-12


def test_migration_strength_moves_ranges_from_activations_into_weights():
    model, x = case("mlp")
    spread = {}
    for strength in (0.0, 0.5, 1.0):
        other = copy.deepcopy(model)
        equalize(other, x, calibration=[x], strength=strength)
        seen = activation_ranges(other, [x])["2.weight"].flatten()
        columns = other[2].weight.abs().amax(0).detach()
        live = seen > 0
        spread[strength] = float(seen[live].log().std()), float(columns[live].log().std())
        if strength == 0.5:
            assert torch.allclose(seen[live], columns[live], rtol=1e-9)
    assert spread[1.0][0] < 1e-9 < spread[0.0][0]
    assert spread[0.0][1] < 1e-9 < spread[1.0][1]


def test_activation_ranges_are_those_of_the_inputs_of_weights():
    model, x = case("residual")
    seen = activation_ranges(model, [x, x * 2])
    stem = torch.cat([x, x * 2]).abs().amax((0, 2, 3))
    assert torch.allclose(seen["stem.weight"].flatten(), stem)
    assert seen["depthwise.weight"].shape == (8, 1, 1, 1)
    hidden = torch.relu(model.norm(model.stem(x * 2))).abs().amax((0, 2, 3))
    first = torch.relu(model.norm(model.stem(x))).abs().amax((0, 2, 3))
    assert torch.allclose(seen["depthwise.weight"].flatten(), hidden.maximum(first))
    assert seen["grouped.weight"].shape == (8, 4, 1, 1)
    assert torch.equal(seen["grouped.weight"][0], seen["grouped.weight"][3])


def test_calibration_leaves_modes_and_statistics_alone():
    model, x = case("residual")
    model.train()
    model.head.eval()
    before = model.norm.num_batches_tracked.clone()
    activation_ranges(model, [x])
    assert torch.equal(model.norm.num_batches_tracked, before)
    assert model.training
    assert not model.head.training


def test_per_tensor_quantisation_survives_a_teleport_once_equalised():
    model, x = case("mlp")
    outputs = model(x)

    def error(net, bits):
        rounded = copy.deepcopy(net)
        with torch.no_grad():
            for layer in (rounded[0], rounded[2], rounded[4]):
                step = layer.weight.abs().max() / (2 ** (bits - 1) - 1)
                layer.weight.copy_((layer.weight / step).round() * step)
        return relative(rounded(x), outputs)

    far = copy.deepcopy(model)
    random_teleport(far, x, 30.0, "positive", generator=torch.Generator().manual_seed(0))
    equalised, again = copy.deepcopy(model), copy.deepcopy(far)
    equalize(equalised, x)
    equalize(again, x)
    assert error(far, 6) > 3 * error(model, 6)
    assert error(again, 6) == pytest.approx(error(equalised, 6), rel=1e-6)
    assert error(again, 6) < 1.5 * error(model, 6)


def test_dead_channels_do_no_harm():
    model, x = case("mlp")
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = 0.0, 0.0
        model[4].weight[:, 5] = 0.0
    outputs = model(x)
    equalize(model, x)
    assert relative(model(x), outputs) <= 1e-12
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert float(model[2].weight.detach().abs().max()) < 10


def test_unknown_measures_and_strengths_are_refused():
    model, x = case("mlp")
    with pytest.raises(TeleportError, match="range"):
        equalize(model, x, measure="rnage")
    with pytest.raises(TeleportError, match="between 0 and 1"):
        equalize(model, x, calibration=[x], strength=1.5)


@pytest.mark.parametrize("name", CASES)
def test_canonical_form_is_one_for_the_whole_orbit(name):
    model, x = case(name)
    form = canonical_form(model, x)
    assert relative(form(x), model(x)) <= 1e-12
    other = moved(model, x, 1, sampling="inter_landscape", permutations=True)
    assert largest_difference(canonical_form(other, x), form) <= 1e-10
    assert are_equivalent(model, other, x)
    assert largest_difference(model, case(name)[0]) == 0.0


@pytest.mark.parametrize("name", CASES)
def test_nets_of_other_orbits_are_told_apart(name):
    model, x = case(name)
    other = moved(model, x, 1, permutations=True)
    assert not are_equivalent(model, case(name, seed=1)[0], x)
    with torch.no_grad():
        next(other.parameters())[0] *= 1.001
        last = list(other.parameters())[-1]
        last.reshape(-1)[0] += 0.01
    assert not are_equivalent(model, other, x)


def test_channels_that_are_alike_keep_their_order():
    model, x = case("mlp")
    with torch.no_grad():
        for row in (1, 2):
            model[0].weight[row], model[0].bias[row] = model[0].weight[0], model[0].bias[0]
            model[2].weight[:, row] = model[2].weight[:, 0]
    assert are_equivalent(model, moved(model, x, 3, permutations=True), x)


def test_a_calibration_without_batches_is_refused():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(DataError, match="no batch"):
        equalize(model, torch.randn(1, 4), calibration=[])
