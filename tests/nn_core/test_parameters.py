import copy
import pickle

import numpy as np
import pytest
import torch

from snnkit.parameters import (
    Constant,
    Parameter,
    RP_Constant,
    SimulationParameter,
    State,
    as_constant_free,
    family_matches,
)
from snnkit.utilities.errors import ShapeError


def test_families_compare_by_value_not_by_identity():
    built_at_run_time = "".join(["wei", "ghts"])

    assert family_matches("weights", built_at_run_time)
    assert not family_matches("weights", "taus")
    assert family_matches("weights", ("taus", built_at_run_time))


@pytest.mark.parametrize(
    ("family", "wanted"), [("bias", "biases"), ("biases", "bias"), ("bias", ["taus", "biases"])]
)
def test_bias_and_biases_are_one_family(family, wanted):
    assert family_matches(family, wanted)


def test_no_family_matches_only_when_none_is_asked_for():
    assert family_matches(None, None)
    assert not family_matches(None, "weights")


def test_first_shape_of_a_list_is_the_default_and_the_others_are_accepted():
    default = Parameter(shape=[(3,), ()], init_func=np.ones)
    scalar = Parameter(2.0, shape=[(3,), ()])

    assert default.shape == (3,)
    assert scalar.shape == ()


def test_an_integer_shape_is_a_vector():
    assert Parameter(shape=3, init_func=np.zeros).shape == (3,)


def test_data_with_as_many_elements_is_reshaped_unless_forbidden():
    assert Parameter(np.arange(6.0), shape=(2, 3)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"must be of shape \(2, 3\)"):
        Parameter(np.arange(6.0), shape=(2, 3), permit_reshape=False)


def test_data_of_another_size_is_refused_with_all_permitted_shapes():
    with pytest.raises(ValueError, match=r"\(3,\) or \(\)"):
        Parameter(np.ones(4), shape=[(3,), ()])


@pytest.mark.parametrize("shape", ["abc", (1.5,), (None, 3), True, []])
def test_what_is_no_shape_is_a_type_error(shape):
    with pytest.raises(TypeError, match="shape"):
        Parameter(shape=shape, init_func=np.ones)


def test_data_or_shape_with_initialiser_is_needed():
    with pytest.raises(ValueError, match="one of `data` and `shape`"):
        Parameter()
    with pytest.raises(ValueError, match="init_func"):
        State(shape=3)
    with pytest.raises(ValueError, match="callable"):
        Parameter(shape=3, init_func=3)


def test_given_data_is_what_the_initialiser_returns_as_a_copy():
    data = torch.tensor([1.0, 2.0])
    declared = Parameter(data)
    data.fill_(0)

    first, second = declared.init_func((2,)), declared.init_func((2,))

    assert first.tolist() == [1.0, 2.0]
    assert first is not second


def test_cast_fn_takes_one_element_arrays():
    assert SimulationParameter(np.array([3.0]), cast_fn=int).data == 3
    assert SimulationParameter(torch.tensor(0.5), cast_fn=float).data == 0.5


def test_cast_fn_is_applied_to_initialised_values_too():
    assert SimulationParameter(shape=(), init_func=lambda _shape: 2.7, cast_fn=int).data == 2


@pytest.mark.parametrize("value", [1.5, 3, "abc", [1, 2], (1, 2), np.ones(2), np.float64(2.0), torch.ones(2)])
def test_constants_compute_like_the_value_they_mark(value):
    constant = Constant(value)

    assert isinstance(constant, RP_Constant)
    assert isinstance(constant, type(value)) or isinstance(value, np.number)
    assert np.array_equal(np.asarray(constant), np.asarray(value))
    assert not isinstance(as_constant_free(constant), RP_Constant)


def test_constant_leaves_the_callers_tensor_as_it_is():
    tensor = torch.ones(3, requires_grad=True)

    constant = Constant(tensor)

    assert type(tensor) is torch.Tensor
    assert tensor.requires_grad
    assert constant.data_ptr() == tensor.data_ptr()
    assert not constant.requires_grad


def test_arithmetic_with_a_constant_tensor_stays_constant():
    assert isinstance(Constant(torch.ones(2)) * 2, RP_Constant)


def test_constants_can_be_copied_and_pickled():
    for value in (Constant(1.5), Constant(torch.ones(2)), Constant([1])):
        assert isinstance(copy.deepcopy(value), RP_Constant)
        assert isinstance(pickle.loads(pickle.dumps(value)), RP_Constant)


@pytest.mark.parametrize("value", [None, True, torch.relu])
def test_what_cannot_be_a_constant_is_refused(value):
    with pytest.raises(TypeError, match="Constant"):
        Constant(value)


def test_declaration_knows_that_its_data_was_constant():
    assert Parameter(Constant(1.0)).is_constant
    assert Parameter(shape=(), init_func=lambda _shape: Constant(1.0)).is_constant
    assert not Parameter(1.0).is_constant


def test_data_of_a_wrong_shape_is_refused_with_its_family():
    with pytest.raises(
        ShapeError, match=r"shape \(4,\), but this attribute \(family 'taus'\) must be of shape \(5,\)"
    ):
        Parameter(torch.ones(4), "taus", shape=[(5,), ()])
