import copy
import io
from functools import cache

import pytest
import torch
from teleport_training.teleport_nets import cross_entropy, mlp, problem, relative_distance
from torch import nn, optim

from snnkit.teleport import random, symmetries, teleport
from snnkit.teleport.training import (
    GRADIENT,
    Law,
    Move,
    moves_of,
    optimiser_frame,
    register_state_laws,
    teleport_in_training,
    transport,
)
from snnkit.utilities.errors import ConfigurationError, ParameterError, SnnkitError

OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "SGD, coupled weight decay": lambda p: optim.SGD(p, 0.1, weight_decay=0.01),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, dampening=0.1),
    "Nesterov": lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "Adam": lambda p: optim.Adam(p, 0.01),
    "Adam, large epsilon": lambda p: optim.Adam(p, 0.01, eps=0.1, weight_decay=0.1),
    "AMSGrad": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1),
    "AdamW, one by one": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1, foreach=False, amsgrad=True),
    "NAdam": optim.NAdam,
    "RAdam": optim.RAdam,
    "Adamax": optim.Adamax,
    "Adagrad": optim.Adagrad,
    "Adadelta": optim.Adadelta,
    "RMSprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "Rprop": optim.Rprop,
    "ASGD": optim.ASGD,
}
BATCH = problem()
STEPS = 12


@cache
def found_of(activation):
    return symmetries(mlp(activation=activation), BATCH[0][:1])


def an_element(model, seed, *, permutations=True, sampling="inter_landscape"):
    found = found_of(type(model[1]))
    generator = torch.Generator().manual_seed(seed)
    return random(found, 0.8, sampling, permutations=permutations, generator=generator)


def step(model, optimiser):
    optimiser.zero_grad()
    loss = cross_entropy(model, BATCH)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def train(model, optimiser, steps=STEPS):
    return [step(model, optimiser) for _ in range(steps)]


def values(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def twins(make, activation=nn.ReLU):
    nets = [mlp(activation=activation) for _ in range(2)]
    return [(net, make(net.parameters())) for net in nets]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_and_teleporting_commute_for_every_optimiser(name):
    (plain, first), (moved, second) = twins(OPTIMISERS[name])
    elements = [an_element(plain, seed) for seed in range(2)]
    for model, optimiser in ((plain, first), (moved, second)):
        train(model, optimiser)
    for element in elements:
        teleport_in_training(moved, element, second)
        train(moved, second)
        train(plain, first)
    for element in elements:
        teleport(plain, element)
    assert relative_distance(values(moved), values(plain)) < 1e-12


def test_signs_of_odd_activations_move_the_state_too():
    (plain, first), (moved, second) = twins(lambda p: optim.Adam(p, 0.01), nn.Tanh)
    element = an_element(plain, 3, sampling="negative")
    assert any(bool((sign < 0).any()) for sign in element.signs.values())
    train(plain, first), train(moved, second)
    teleport_in_training(moved, element, second)
    train(plain, first), train(moved, second)
    teleport(plain, element)
    assert relative_distance(values(moved), values(plain)) < 1e-12


def test_steps_with_closures_commute_and_leave_the_model_where_it_is():
    def closure_of(model, optimiser):
        def closure():
            optimiser.zero_grad()
            loss = cross_entropy(model, BATCH)
            loss.backward()
            return loss

        return closure

    (plain, first), (moved, second) = twins(lambda p: optim.LBFGS(p, lr=0.2, max_iter=4))
    element = an_element(plain, 0)
    teleport_in_training(moved, element, second)
    pairs = ((plain, first), (moved, second))
    losses = [[optimiser.step(closure_of(model, optimiser)) for model, optimiser in pairs] for _ in range(4)]
    teleport(plain, element)
    assert relative_distance(values(moved), values(plain)) < 1e-10
    assert all(a.item() == pytest.approx(b.item(), rel=1e-10) for a, b in losses)


def test_several_groups_and_a_schedule_stay_the_users():
    def make(model):
        groups = [{"params": model[0].parameters(), "lr": 0.3}, {"params": [*model[2].parameters()]}]
        optimiser = optim.SGD(groups, lr=0.1, momentum=0.9)
        return optimiser, optim.lr_scheduler.ExponentialLR(optimiser, 0.9)

    nets = [mlp(), mlp()]
    (first, one), (second, two) = (make(net) for net in nets)
    element = an_element(nets[0], 0)
    teleport_in_training(nets[1], element, second)
    for _ in range(STEPS):
        step(nets[0], first), one.step()
        step(nets[1], second), two.step()
    teleport(nets[0], element)
    assert relative_distance(values(nets[1]), values(nets[0])) < 1e-12
    assert [group["lr"] for group in second.param_groups] == [group["lr"] for group in first.param_groups]


def test_gradients_held_at_the_time_move_along():
    (plain, first), (moved, second) = twins(lambda p: optim.SGD(p, 0.1))
    for model in (plain, moved):
        cross_entropy(model, BATCH).backward()
    element = an_element(plain, 0)
    teleport_in_training(moved, element, second)
    first.step(), second.step()
    teleport(plain, element)
    assert relative_distance(values(moved), values(plain)) < 1e-12


def test_a_step_leaves_gradients_as_they_were():
    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.1)
    teleport_in_training(model, an_element(model, 0), optimiser)
    cross_entropy(model, BATCH).backward()
    before = [p.grad.clone() for p in model.parameters()]
    optimiser.step()
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), before, strict=True))


def test_parameters_without_gradient_do_not_wear_off():
    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.1)
    teleport_in_training(model, an_element(model, 0), optimiser)
    before = model[2].weight.detach().clone()
    model[0].bias.grad = torch.ones(9, dtype=torch.float64)
    for _ in range(5):
        optimiser.step()
    assert torch.equal(model[2].weight, before)


def test_the_inverse_ends_the_transport():
    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.1)
    element = an_element(model, 0, sampling="powers_of_two")
    teleport_in_training(model, element, optimiser)
    teleport_in_training(model, element.inverse(), optimiser)
    assert all(optimiser_frame(optimiser).move_of(p).is_identity for p in model.parameters())


# --- Kick and reset ---------------------------------------------------------------------------------


def test_a_kick_of_gradient_descent_is_a_learning_rate_of_each_weight():
    model, plain = mlp(), mlp()
    element = an_element(model, 0, permutations=False)
    optimiser = optim.SGD(model.parameters(), 0.1)
    teleport_in_training(model, element, optimiser, "kick")
    found = moves_of(model, element)
    moves = [found.get(parameter, Move()) for parameter in model.parameters()]
    train(model, optimiser)
    for _ in range(STEPS):
        plain.zero_grad()
        cross_entropy(plain, BATCH).backward()
        with torch.no_grad():
            for parameter, move in zip(plain.parameters(), moves, strict=True):
                parameter.sub_(0.1 * parameter.grad / move.factor**2)
    teleport(plain, element)
    assert relative_distance(values(model), values(plain)) < 1e-12


def test_a_kick_carries_the_state_with_the_laws_of_its_entries():
    model = mlp()
    optimiser = optim.Adam(model.parameters(), 0.01, amsgrad=True)
    train(model, optimiser)
    weight, before = model[2].weight, {k: v.clone() for k, v in optimiser.state[model[2].weight].items()}
    element = an_element(model, 0)
    move = moves_of(model, element)[weight]
    teleport_in_training(model, element, optimiser, "kick")
    after = optimiser.state[weight]
    order = [move.permutations[0], move.permutations[1]]
    moved = {key: value[order[0]][:, order[1]] for key, value in before.items() if value.ndim}
    torch.testing.assert_close(after["exp_avg"], moved["exp_avg"] / move.factor)
    torch.testing.assert_close(after["exp_avg_sq"], moved["exp_avg_sq"] / move.factor**2)
    torch.testing.assert_close(after["max_exp_avg_sq"], moved["max_exp_avg_sq"] / move.factor**2)
    assert after["step"] == before["step"]


def test_a_kick_and_a_frame_go_together():
    # Transparent, then a kick: as the kick alone, seen from where the optimiser began.
    (plain, first), (moved, second) = twins(lambda p: optim.Adam(p, 0.01))
    outer = an_element(plain, 0, permutations=False)
    inner = an_element(plain, 1, permutations=False)
    train(plain, first), train(moved, second)
    teleport_in_training(plain, inner, first, "kick")
    teleport_in_training(moved, outer, second)
    teleport_in_training(moved, inner, second, "kick")
    train(plain, first), train(moved, second)
    teleport(plain, outer)
    assert relative_distance(values(moved), values(plain)) < 1e-12


def test_reset_makes_the_optimiser_new():
    (plain, first), (moved, second) = twins(lambda p: optim.Adam(p, 0.01))
    element = an_element(plain, 0)
    train(moved, second)
    teleport_in_training(moved, element, second)
    teleport_in_training(moved, element, second, "reset")
    assert not second.state
    plain.load_state_dict(moved.state_dict())
    assert train(plain, first) == train(moved, second)


def test_an_unknown_state_is_refused_before_anything_is_moved():
    class Own(optim.SGD):
        pass

    class Other(optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {"lr": 0.1})

        @torch.no_grad()
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                self.state[p]["velocity"] = self.state[p].get("velocity", 0) * 0.9 + p.grad
                p.sub_(0.1 * self.state[p]["velocity"])

    model = mlp()
    optimiser = Other(model.parameters())
    train(model, optimiser, 2)
    before = values(model)
    with pytest.raises(ConfigurationError, match="velocity"):
        teleport_in_training(model, an_element(model, 0), optimiser, "kick")
    assert relative_distance(values(model), before) == 0
    register_state_laws(Other, {"velocity": GRADIENT})
    teleport_in_training(model, an_element(model, 0), optimiser, "kick")
    own = Own(model.parameters(), 0.1, momentum=0.9)
    train(model, own, 2)
    teleport_in_training(model, an_element(model, 0), own, "kick")


def test_an_unknown_mode_is_refused():
    model = mlp()
    with pytest.raises(ConfigurationError, match="transparent"):
        transport(optim.SGD(model.parameters(), 0.1), model, an_element(model, 0), "transparant")


# --- Files and copies -------------------------------------------------------------------------------


def through_a_file(content):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_resumed_run_goes_on_to_the_same_bits():
    model = mlp()
    optimiser = optim.Adam(model.parameters(), 0.01)
    train(model, optimiser)
    teleport_in_training(model, an_element(model, 0), optimiser)
    train(model, optimiser)
    saved = through_a_file({"model": model.state_dict(), "optimiser": optimiser.state_dict()})
    train(model, optimiser)
    other = mlp(seed=5)
    resumed = optim.Adam(other.parameters(), 0.01)
    optimiser_frame(resumed)
    other.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimiser"])
    train(other, resumed)
    assert relative_distance(values(other), values(model)) == 0


def test_a_program_that_knows_no_frames_starts_a_new_state():
    model = mlp()
    optimiser = optim.Adam(model.parameters(), 0.01)
    train(model, optimiser)
    teleport_in_training(model, an_element(model, 0), optimiser)
    plain = copy.deepcopy(model)
    resumed = optim.Adam(plain.parameters(), 0.5)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    teleport_in_training(model, an_element(model, 0).inverse().then(an_element(model, 0)), optimiser, "reset")
    assert resumed.param_groups[0]["lr"] == 0.01
    train(plain, resumed), train(model, optimiser)
    assert relative_distance(values(plain), values(model)) < 1e-12


@pytest.mark.parametrize("plain", [{"nonsense": 1}, {"factor": torch.ones(2, 2), "permutations": {}}])
def test_a_damaged_frame_is_refused(plain):
    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.1)
    optimiser_frame(optimiser)
    content = {**optimiser.state_dict(), "teleport_frame": {"moves": {0: plain}, "state": {}}}
    with pytest.raises(SnnkitError):
        optimiser.load_state_dict(content)


def test_loading_a_state_without_frame_takes_the_frame_off():
    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    train(model, optimiser)
    saved = copy.deepcopy((model.state_dict(), optimiser.state_dict()))
    expected = train(model, optimiser)
    teleport_in_training(model, an_element(model, 0), optimiser)
    model.load_state_dict(saved[0])
    optimiser.load_state_dict(saved[1])
    assert train(model, optimiser) == expected


def test_half_precision_moves_by_powers_of_two_only():
    model = mlp(dtype=torch.bfloat16)
    optimiser = optim.SGD(model.parameters(), 0.1)
    before = values(model)
    with pytest.raises(ConfigurationError, match="powers of two"):
        teleport_in_training(model, an_element(model, 0), optimiser)
    assert relative_distance(values(model), before) == 0
    teleport_in_training(model, an_element(model, 0, sampling="powers_of_two"), optimiser)
    inputs, labels = problem(dtype=torch.bfloat16)
    cross_entropy(model, (inputs, labels)).backward()
    optimiser.step()
    assert relative_distance(values(model), before) > 0


def test_a_frame_dies_with_its_optimiser():
    import gc
    import weakref

    model = mlp()
    optimiser = optim.SGD(model.parameters(), 0.1)
    teleport_in_training(model, an_element(model, 0), optimiser)
    frame = weakref.ref(optimiser_frame(optimiser))
    del optimiser
    gc.collect()
    assert frame() is None


# --- Moves ------------------------------------------------------------------------------------------


def test_moves_compose_invert_and_bring_back():
    generator = torch.Generator().manual_seed(0)

    def draw(signed):
        factor = torch.rand(5, 1, 4, generator=generator, dtype=torch.float64) + 0.5
        factor = factor * (torch.randint(2, (5, 1, 4), generator=generator) * 2 - 1) if signed else factor
        return Move(
            factor, {0: torch.randperm(5, generator=generator), 2: torch.randperm(4, generator=generator)}
        )

    one, two = draw(True), draw(True)
    value = torch.randn(5, 3, 4, generator=generator, dtype=torch.float64)
    for law in (Law(1, True), Law(-1, True), Law(-2, False), Law(0, True), Law(0, False)):
        together = one.then(two).carried(value, law)
        torch.testing.assert_close(together, two.carried(one.carried(value, law), law))
        torch.testing.assert_close(one.brought_back(one.carried(value, law), law), value)
        torch.testing.assert_close(one.inverse().carried(value, law), one.brought_back(value, law))
    assert not one.is_identity
    assert Move(torch.tensor(0.25)).is_power_of_two
    assert not one.is_power_of_two


@pytest.mark.parametrize("factor", [0.0, float("nan"), float("inf")])
def test_a_factor_without_inverse_is_refused(factor):
    with pytest.raises(ParameterError, match="inverse"):
        Move(torch.tensor([1.0, factor]))


def test_an_order_that_is_no_permutation_is_refused():
    with pytest.raises(ParameterError, match="axis 1"):
        Move(torch.ones(()), {1: torch.tensor([0, 0])})
