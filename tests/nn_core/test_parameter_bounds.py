import math

import pytest
import torch

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.training.torch_loss import (
    ParameterBoundaryRegularizer,
    bounds_cost,
    make_bounds,
    summed_exp_boundary_loss,
)
from snnkit.utilities.tree_utils import branches, tree_flatten

DATA = torch.tensor([1.0, -2.0, 3.0])


def net():
    return Sequential(LinearTorch((2, 2)), LIFTorch(2))


def test_bounds_have_the_structure_of_the_parameters_and_bound_nothing():
    parameters = net().parameters()

    lower, upper = make_bounds(parameters)

    assert list(branches(lower)) == list(branches(upper)) == list(branches(parameters))
    assert set(tree_flatten(lower)[0]) == {-math.inf}
    assert set(tree_flatten(upper)[0]) == {math.inf}
    assert bounds_cost(parameters, lower, upper).item() == 0.0


@pytest.mark.parametrize(
    ("lower", "upper", "expected"),
    [
        (None, None, 0.0),
        (-1.0, None, math.exp(1)),
        (None, 2.0, math.exp(1)),
        (0.0, None, math.exp(2)),
        (None, 0.0, math.exp(1) + math.exp(3)),
        (0, 0, math.exp(2) + math.exp(1) + math.exp(3)),
        (1.0, 3.0, math.exp(3)),
        (torch.tensor([2.0, -5.0, 0.0]), None, math.exp(1)),
    ],
)
def test_cost_is_the_exponential_of_the_distance(lower, upper, expected):
    assert float(summed_exp_boundary_loss(DATA, lower, upper)) == pytest.approx(expected)


def test_regularizer_is_the_same_as_a_module():
    assert ParameterBoundaryRegularizer(0.0, 2.0)(DATA)[0] == summed_exp_boundary_loss(DATA, 0.0, 2.0)


def test_gradient_pushes_back_inside():
    module = net()
    lower, upper = make_bounds(module.parameters())
    lower["1_LIFTorch"]["tau_mem"] = 0.1

    bounds_cost(module.parameters(), lower, upper).backward()

    assert module[1].tau_mem.grad.max() < 0
    assert module[1].tau_syn.grad is None or not module[1].tau_syn.grad.any()


def test_bounds_may_be_left_out():
    module = net()

    cost = bounds_cost(module.parameters(), {"1_LIFTorch": {"bias": 1.0}}, {})

    assert cost.item() == pytest.approx(2 * math.e)


def test_a_bound_for_no_parameter_is_an_error():
    with pytest.raises(ValueError, match=r"Did you mean '1_LIFTorch\.bias'"):
        bounds_cost(net().parameters(), {"1_LIFTorch": {"biass": 1.0}}, {})
    assert float(bounds_cost({}, {}, {})) == 0.0
