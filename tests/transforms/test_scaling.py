"""The rule by which floats become chip integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snnkit.transforms.scaling import (
    ScalePlan,
    dash_for_decay,
    fold_bias,
    neuron_scales,
    quantise_bias,
    quantise_threshold,
    quantise_weights,
)
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ParameterError, ShapeError

IMU = get_chip("imu")
ELEMENTS = st.floats(-8, 8, width=32, allow_subnormal=False)
WEIGHTS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 4), st.just(3), st.integers(1, 2)), elements=ELEMENTS
)
VECTORS = hnp.arrays(np.float32, 3, elements=st.floats(0.0078125, 500, width=32))


@settings(deadline=None)
@given(WEIGHTS, WEIGHTS, st.tuples(VECTORS, VECTORS, VECTORS), st.integers(0, 7))
def test_the_scale_is_the_largest_that_keeps_every_limit(first, second, vectors, shift):
    threshold, bias, peak = vectors
    weights = [(torch.from_numpy(first), shift), (torch.from_numpy(second), 0)]
    scale = neuron_scales(
        weights=weights,
        threshold=torch.from_numpy(threshold),
        bias=torch.from_numpy(bias),
        peak=torch.from_numpy(peak),
        chip=IMU,
        headroom=2.0,
    )
    used = torch.stack(
        [
            *(w.double().abs().amax((0, 2)) * scale / 2**s / IMU.max_weight for w, s in weights),
            torch.from_numpy(threshold).double() * scale / IMU.max_threshold,
            torch.from_numpy(bias).double() * scale / IMU.max_bias,
            torch.from_numpy(peak).double() * 2 * scale / IMU.max_state,
        ]
    )
    torch.testing.assert_close(used.amax(0), torch.ones(3, dtype=torch.float64))


@settings(deadline=None)
@given(WEIGHTS, VECTORS, VECTORS, VECTORS, st.integers(0, 7))
def test_quantising_twice_changes_nothing(weights, threshold, bias, peak, shift):
    weight, th, b = map(torch.from_numpy, (weights, threshold, bias))

    def quantised(weight, th, b, **kind):
        scale = neuron_scales(
            weights=[(weight, shift)], threshold=th, bias=b, peak=torch.from_numpy(peak), chip=IMU
        )
        return (
            quantise_weights(weight, scale, shift, IMU, **kind),
            quantise_threshold(th, scale, IMU, **kind),
            quantise_bias(b, scale, IMU, **kind),
        )

    integers = quantised(weight, th, b, integers=True)
    floats = quantised(weight, th, b)
    for once, twice in zip(integers, quantised(*floats, integers=True), strict=True):
        assert torch.equal(once, twice)


def test_float_values_are_the_integers_over_the_scale():
    weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    scale = neuron_scales(weights=[(weight, 2)], threshold=torch.tensor(1.0), chip=IMU)
    integers = quantise_weights(weight, scale, 2, IMU, integers=True)
    assert integers.abs().amax(0).tolist() == [127, 127, 127]
    assert integers.dtype == torch.int64
    values = quantise_weights(weight, scale, 2, IMU)
    torch.testing.assert_close(values.double(), integers * 4 / scale, rtol=1e-6, atol=0)
    assert values.dtype == weight.dtype


def test_gradients_go_straight_through():
    weight, threshold, bias = torch.randn(4, 3), torch.full((3,), 0.4), torch.randn(3)
    leaves = [value.requires_grad_() for value in (weight, threshold, bias)]
    scale = neuron_scales(weights=[(weight, 0)], threshold=threshold, bias=bias, chip=IMU)
    assert not scale.requires_grad
    total = quantise_weights(weight, scale, 0, IMU).sum() + quantise_threshold(threshold, scale, IMU).sum()
    (total + quantise_bias(bias, scale, IMU).sum()).backward()
    assert all(leaf.grad.eq(1).all() for leaf in leaves)


def test_a_scalar_threshold_becomes_one_value_per_neuron_and_its_gradient_adds_up():
    threshold = torch.tensor(1.0, requires_grad=True)
    scale = torch.tensor([3.3, 100.0], dtype=torch.float64)
    quantised = quantise_threshold(threshold, scale, IMU)
    quantised.sum().backward()
    torch.testing.assert_close(quantised.detach(), torch.tensor([3 / 3.3, 1.0]))
    assert threshold.grad == 2


def test_thresholds_are_never_zero():
    assert quantise_threshold(torch.tensor([0.001]), torch.ones(1), IMU, integers=True).tolist() == [1]


def test_neurons_without_weights_take_their_scale_from_the_other_limits():
    scale = neuron_scales(
        weights=[(torch.zeros(3, 2), 0), (torch.zeros(0, 2), 0)],
        threshold=torch.tensor([1.0, 2.0]),
        bias=torch.zeros(2),
        chip=IMU,
    )
    assert scale.tolist() == [32767.0, 16383.5]


def test_thresholds_that_are_never_reached_limit_nothing():
    scale = neuron_scales(weights=[(torch.ones(3, 1), 0)], threshold=torch.tensor([32767.0]), chip=IMU)
    assert scale.item() == 127
    alone = neuron_scales(weights=[(torch.zeros(3, 1), 0)], threshold=torch.tensor([1e6]), chip=IMU)
    assert alone.item() == IMU.max_threshold


def test_a_chip_without_bias_is_not_limited_by_one():
    keywords = {
        "weights": [(torch.ones(1, 1), 0)],
        "threshold": torch.ones(1),
        "bias": torch.full((1,), 100.0),
    }
    assert neuron_scales(**keywords, chip=get_chip("a1")).item() == 127
    assert neuron_scales(**keywords, chip=IMU).item() == 1.27


def test_impossible_values_are_refused():
    weights = [(torch.ones(2, 2), 0)]
    with pytest.raises(ParameterError, match="greater than 0"):
        neuron_scales(weights=weights, threshold=torch.tensor([1.0, 0.0]), chip=IMU)
    with pytest.raises(ParameterError, match=r"weights\[0\]"):
        neuron_scales(weights=[(torch.full((2, 2), torch.nan), 0)], threshold=torch.ones(2), chip=IMU)
    with pytest.raises(ShapeError, match="different numbers of neurons"):
        neuron_scales(weights=weights, threshold=torch.ones(3), chip=IMU)
    with pytest.raises(ShapeError, match="weight matrix"):
        neuron_scales(weights=[(torch.ones(2), 0)], threshold=torch.ones(2), chip=IMU)
    with pytest.raises(ParameterError, match="weight_shift_rec"):
        ScalePlan(weight_shift_rec=-1)
    with pytest.raises(ParameterError, match="headroom"):
        ScalePlan(headroom=0)


def test_a_synaptic_bias_folds_into_what_it_settles_at():
    bias, dash = torch.tensor([0.5, 0.25, -1.0, 0.0]), torch.tensor([[1, 3], [2, 2]])
    folded = fold_bias(bias, dash)
    current, beta = torch.zeros(2, 2, dtype=torch.float64), 1 - 2.0 ** -dash.double()
    for _ in range(400):
        current = (current + bias.double().reshape(2, 2)) * beta
    torch.testing.assert_close(folded, current.sum(1))


def test_dashes_stay_within_the_chip():
    assert dash_for_decay(torch.tensor([0.0, 0.5, 0.7, 1.0, 2.0])).tolist() == [1, 1, 2, 15, 15]
