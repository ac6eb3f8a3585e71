"""Rounding to levels: values, zero, range, number of levels, gradient, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snnkit.transforms import (
    deterministic_rounding,
    deterministic_transforms,
    int_quant,
    stochastic_channel_rounding,
    stochastic_rounding,
)
from snnkit.utilities.errors import ParameterError, ShapeError

VALUES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=3, max_side=5),
    elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False),
).map(torch.from_numpy)
LEVELS = st.integers(3, 300)


@settings(deadline=None)
@given(VALUES, LEVELS)
def test_deterministic_rounding_is_idempotent_keeps_zero_and_uses_few_levels(value, num_levels):
    once = deterministic_rounding(value, num_levels=num_levels)
    torch.testing.assert_close(deterministic_rounding(once, num_levels=num_levels), once, rtol=0, atol=0)
    assert (once[value == 0] == 0).all()
    assert len(once.unique()) <= num_levels
    assert once.abs().max() == value.abs().max()
    step = 2 * value.abs().max() / (num_levels - 2 + num_levels % 2)
    assert (once - value).abs().max() <= step / 2 * 1.001


@settings(deadline=None)
@given(VALUES, LEVELS)
def test_stochastic_rounding_moves_by_less_than_a_level_and_keeps_zero(value, num_levels):
    rounded = stochastic_rounding(value, num_levels=num_levels)
    assert (rounded[value == 0] == 0).all()
    assert rounded.abs().max() <= value.abs().max()
    step = 2 * value.abs().max() / (num_levels - 2 + num_levels % 2)
    assert (rounded - value).abs().max() <= step * 1.001
    if rounded.abs().max() == value.abs().max():
        # What lies on a level stays there.
        assert torch.equal(stochastic_rounding(rounded, num_levels=num_levels), rounded)


@settings(deadline=None)
@given(VALUES, LEVELS)
def test_rounding_without_zero_uses_both_ends_of_the_range(value, num_levels):
    rounded = deterministic_rounding(value, num_levels=num_levels, maintain_zero=False)
    span = float(value.max() - value.min())
    torch.testing.assert_close(rounded.min(), value.min(), rtol=0, atol=1e-6 * span)
    torch.testing.assert_close(rounded.max(), value.max(), rtol=0, atol=1e-6 * span)
    assert len(rounded.unique()) <= num_levels


@settings(deadline=None)
@given(VALUES)
def test_int_quant_gives_whole_numbers_in_range(value):
    quantised = int_quant(value, n_bits=5)
    assert (quantised == quantised.round()).all()
    assert quantised.abs().max().item() in {0.0, 15.0}
    assert (quantised[value == 0] == 0).all()


@pytest.mark.parametrize(
    "function", [deterministic_rounding, stochastic_rounding, int_quant, stochastic_channel_rounding]
)
def test_all_zero_input_stays_zero(function):
    assert function(torch.zeros(3, 4)).eq(0).all()


@pytest.mark.parametrize("function", [deterministic_rounding, stochastic_rounding, int_quant])
@pytest.mark.parametrize("maintain_zero", [True, False])
def test_gradient_is_the_identity_for_every_element(function, maintain_zero):
    value = torch.tensor([-1.0, -0.51, 0.0, 0.26, 0.9], requires_grad=True)
    function(value, maintain_zero=maintain_zero).backward(torch.arange(5.0))
    assert value.grad.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_gradient_is_the_identity_whatever_the_output_range():
    value = torch.tensor([-1.0, 0.3, 0.9], requires_grad=True)
    deterministic_rounding(value, output_range=[-128, 127]).sum().backward()
    assert value.grad.tolist() == [1.0, 1.0, 1.0]


def test_values_outside_a_given_input_range_are_clipped_and_get_no_gradient():
    value = torch.tensor([-3.0, -0.5, 0.2, 3.0], requires_grad=True)
    rounded = deterministic_rounding(value, input_range=[-1, 1], num_levels=5)
    rounded.sum().backward()
    assert rounded.tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert value.grad.tolist() == [0.0, 1.0, 1.0, 0.0]


def test_output_range_of_a_signed_byte_gives_whole_numbers_with_zero_in_place():
    value = torch.linspace(-1.4, 1.4, 9)
    rounded = deterministic_rounding(value, output_range=[-128, 127], num_levels=2**8)
    assert rounded.tolist() == [-128.0, -96.0, -64.0, -32.0, 0.0, 32.0, 64.0, 96.0, 127.0]


def test_four_bit_stochastic_rounding_of_the_tutorial_gives_whole_numbers_in_range():
    value = torch.rand((50, 5), generator=torch.Generator().manual_seed(1)) - 0.5
    bits = 4
    rounded = stochastic_rounding(
        value, output_range=[-(2 ** (bits - 1)) + 1, 2 ** (bits - 1)], num_levels=2**bits
    )
    assert (rounded == rounded.round()).all()
    assert rounded.min() >= -7
    assert rounded.max() <= 8


def test_affine_ranges_that_disagree_about_zero_map_end_to_end():
    rounded = deterministic_rounding(
        torch.tensor([-1.0, 0.0, 1.0]), input_range=[-1, 1], output_range=[0, 10], num_levels=11
    )
    assert rounded.tolist() == [0.0, 5.0, 10.0]


def test_unsigned_ranges_keep_zero():
    rounded = deterministic_rounding(
        torch.tensor([0.0, 0.5, 1.0, 2.0]), input_range=[0, 1], output_range=[0, 255], num_levels=256
    )
    assert rounded.tolist() == [0.0, 128.0, 255.0, 255.0]


def test_stochastic_rounding_is_right_on_average():
    value = torch.full((20000,), 0.3)
    rounded = stochastic_rounding(
        value, input_range=[-1, 1], num_levels=3, generator=torch.Generator().manual_seed(0)
    )
    assert set(rounded.tolist()) == {0.0, 1.0}
    assert abs(rounded.mean().item() - 0.3) < 0.02


def test_the_same_generator_seed_gives_the_same_draw():
    value = torch.randn(4, 4)
    first, second = (
        stochastic_rounding(value, num_levels=4, generator=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_deterministic_context_rounds_to_nearest():
    value = torch.randn(6, 4)
    with deterministic_transforms():
        assert torch.equal(stochastic_rounding(value), deterministic_rounding(value))


def test_channel_rounding_gives_each_column_its_own_range_and_leaves_its_argument_alone():
    value = torch.tensor([[1.0, 100.0], [-0.5, -50.0]], requires_grad=True)
    rounded = stochastic_channel_rounding(value, [-127, 127], num_levels=255)
    rounded.sum().backward()
    assert rounded[0].tolist() == [127.0, 127.0]
    assert rounded[1, 0].item() in {-64.0, -63.0}
    assert value.tolist() == [[1.0, 100.0], [-0.5, -50.0]]
    assert value.grad.eq(1).all()


def test_channel_rounding_takes_several_synapses_and_refuses_vectors():
    value = torch.randn(3, 4, 2)
    peaks = stochastic_channel_rounding(value, num_levels=7).abs().amax((0, 2))
    assert torch.equal(peaks, value.abs().amax((0, 2)))
    with pytest.raises(ShapeError, match="stochastic_rounding for vectors"):
        stochastic_channel_rounding(torch.zeros(3))


def test_int_quant_examples():
    value = torch.tensor([-1, -0.5, 0.25, 0, 0.5, 1])
    assert int_quant(value, n_bits=3).tolist() == [-3, -2, 1, 0, 2, 3]
    # The levels stay those of three bits, spread over the range of eight.
    assert int_quant(value, n_bits=3, map_to_max=True).tolist() == [-127, -85, 42, 0, 85, 127]
    assert int_quant(torch.tensor([1.0, 2.0, 3.0]), maintain_zero=False, n_bits=3).tolist() == [-3, 0, 3]


def test_float64_and_half_precision_keep_their_type():
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        assert deterministic_rounding(torch.tensor([0.1, -1.0], dtype=dtype)).dtype == dtype


def test_empty_tensors_pass():
    assert deterministic_rounding(torch.zeros(0)).shape == (0,)
    assert int_quant(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_levels": 2}, "maintain_zero=False"),
        ({"num_levels": 1, "maintain_zero": False}, "at least 2"),
        ({"input_range": [1, -1]}, "input_range"),
        ({"output_range": [0, 0]}, "output_range"),
        ({"output_range": [0, 1, 2]}, "output_range"),
    ],
)
def test_impossible_arguments_are_refused(keywords, message):
    with pytest.raises(ParameterError, match=message):
        deterministic_rounding(torch.ones(2), **keywords)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_random_numbers_are_made_where_the_values_are():
    value = torch.randn(4, 4, device="cuda")
    assert stochastic_channel_rounding(value).device == value.device
    assert stochastic_rounding(value, generator=torch.Generator().manual_seed(0)).device == value.device
