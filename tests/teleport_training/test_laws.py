import math

import pytest
import torch
from teleport_training.teleport_nets import Residual, cross_entropy, mlp, problem

from snnkit.teleport import random, symmetries
from snnkit.teleport.training import (
    LossOnBatches,
    angle,
    generator_cosines,
    gradient_growth,
    layer_of,
    moments,
    orbit_direction,
    slopes_along_orbit,
    weight_growth,
)
from snnkit.utilities.errors import ParameterError

WEIGHTS = {"0.weight": "first", "2.weight": "hidden", "4.weight": "last"}
SAMPLINGS = {
    "intra_landscape": 0.6,
    "inter_landscape": 0.6,
    "centered": 0.6,
    "powers_of_two": 1.0,
}


@pytest.fixture(scope="module")
def net():
    model = mlp()
    return model, symmetries(model, problem()[0][:1]), LossOnBatches(model, cross_entropy, [problem()])


def test_closed_forms_of_the_uniform_law():
    s = 0.5
    assert gradient_growth("first", s) == pytest.approx(1 / (1 - s**2))
    assert gradient_growth("hidden", s) == pytest.approx((1 + s**2 / 3) / (1 - s**2))
    assert gradient_growth("last", s) == pytest.approx(1 + s**2 / 3)
    assert weight_growth("first", s) == gradient_growth("last", s)
    assert gradient_growth("hidden", 0.0) == 1.0


@pytest.mark.parametrize(
    ("sampling", "cob_range"), [*SAMPLINGS.items(), ("positive", 2.0), ("negative", 2.0)]
)
def test_moments_are_those_of_the_samples(net, sampling, cob_range):
    _, found, _ = net
    generator = torch.Generator().manual_seed(4)
    drawn = torch.cat(
        [found.flat(random(found, cob_range, sampling, center=2.0, generator=generator)) for _ in range(600)]
    )
    law = moments(cob_range, sampling, center=2.0)
    for values, expected in ((drawn**2, law.square), (drawn**-2, law.inverse_square)):
        if math.isfinite(expected):
            error = float(values.std()) / math.sqrt(len(values))
            assert float(values.mean()) == pytest.approx(expected, abs=5 * error)
    assert math.isinf(law.inverse_square) == (sampling in ("positive", "negative"))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_gradients_and_weights_grow_by_the_law_of_their_layer(net, sampling):
    model, found, loss = net
    cob_range, draws = SAMPLINGS[sampling], 400
    gradients, generator = loss.gradients(), torch.Generator().manual_seed(1)
    ratios: dict[tuple[str, int], list[float]] = {}
    for _ in range(draws):
        element = random(found, cob_range, sampling, center=2.0, generator=generator, permutations=True)
        changes = element.changes()
        for name in WEIGHTS:
            for power, values in ((-1, gradients[name]), (1, dict(model.named_parameters())[name].detach())):
                moved = changes[name].apply(values, power=power)
                ratios.setdefault((name, power), []).append(float((moved.norm() / values.norm()) ** 2))
    for (name, power), sample in ratios.items():
        law = gradient_growth if power == -1 else weight_growth
        values = torch.tensor(sample)
        error = float(values.std()) / math.sqrt(draws)
        assert float(values.mean()) == pytest.approx(
            law(WEIGHTS[name], cob_range, sampling, 2.0), abs=5 * error
        )


def test_the_gradient_of_a_teleported_net_is_the_carried_one(net):
    from snnkit.teleport import teleport

    _, found, loss = net
    element = random(found, 0.5, generator=torch.Generator().manual_seed(0), permutations=True)
    moved = mlp()
    teleport(moved, element)
    after, changes = loss.of(moved).gradients(), element.changes()
    for name, gradient in loss.gradients().items():
        expected = changes[name].apply(gradient, power=-1) if name in changes else gradient
        torch.testing.assert_close(after[name], expected, rtol=1e-11, atol=1e-14)


def test_the_way_the_scales_reach_a_parameter(net):
    _, found, _ = net
    assert {name: layer_of(found, name) for name in WEIGHTS} == WEIGHTS
    assert layer_of(found, "0.bias") == "first"
    assert layer_of(found, "4.bias") is None


def test_the_orbit_leaves_a_net_orthogonally_to_its_gradient(net):
    _, found, loss = net
    cosines = generator_cosines(found, loss, 50, torch.Generator().manual_seed(0))
    assert float(cosines.abs().max()) < 1e-12
    typical = float(torch.cat([g.flatten() for g in loss.gradients().values()]).norm())
    assert float(slopes_along_orbit(found, loss).abs().max()) < 1e-14 * max(1.0, typical) * 10


def test_also_with_batch_norm_and_skips_but_for_epsilon():
    model = Residual().double()
    with torch.no_grad():
        model.norm.weight.uniform_(0.5, 2.0)
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(32, 1, 6, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (32,), generator=generator)
    found = symmetries(model, images[:2], batch_norm="fixed")
    loss = LossOnBatches(model, cross_entropy, [(images, labels)])
    assert found.n_scales > 0
    assert float(generator_cosines(found, loss, 20, generator).abs().max()) < 1e-12


def test_the_generator_is_the_limit_of_small_teleportations(net):
    model, found, _ = net
    before = {name: p.detach() for name, p in model.named_parameters()}
    log_scales = torch.randn(found.n_scales, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    direction = orbit_direction(found, before, log_scales)
    small = found.element(flat_scales=(1e-7 * log_scales).exp()).changes()
    way = {
        n: (small[n].apply(v) - v) / 1e-7 if n in small else torch.zeros_like(v) for n, v in before.items()
    }
    for name in before:
        torch.testing.assert_close(way[name], direction[name], rtol=1e-5, atol=1e-7)
    assert angle(way, direction) < 1e-4


def test_impossible_arguments_are_refused():
    with pytest.raises(ParameterError, match="intra_landscape"):
        moments(0.5, "intra_landscpe")
    with pytest.raises(ParameterError, match="-1"):
        moments(-1.0)
    with pytest.raises(ParameterError, match="hidden"):
        gradient_growth("hiden", 0.5)
