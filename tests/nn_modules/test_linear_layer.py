import math

import pytest
import torch

from snnkit.nn.modules import LinearTorch
from snnkit.parameters import Constant
from snnkit.utilities.errors import ShapeError


def test_output_is_the_product_with_the_weights_plus_bias():
    layer = LinearTorch((3, 4), has_bias=True)
    data = torch.randn(2, 5, 3)
    output, state, record = layer(data, record=True)
    expected = torch.einsum("bti,io->bto", data, layer.weight) + layer.bias
    torch.testing.assert_close(output, expected)
    assert state == {}
    assert record == {}


def test_families_and_the_absent_bias():
    layer = LinearTorch((3, 4))
    assert layer.bias is None
    assert list(layer.parameters("weights")) == ["weight"]
    assert layer.parameters("biases") == {}
    assert list(LinearTorch((3, 4), has_bias=True).parameters("bias")) == ["bias"]


def test_a_given_bias_is_used():
    layer = LinearTorch((3, 2), bias=torch.tensor([1.0, 2.0]))
    assert layer(torch.zeros(1, 1, 3))[0].flatten().tolist() == [1.0, 2.0]


def test_initial_values_fill_the_documented_ranges():
    torch.manual_seed(0)
    layer = LinearTorch((40, 1000), has_bias=True)
    bound = math.sqrt(6 / 40)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert float(layer.weight.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)
    bias_bound = math.sqrt(1 / 1000)
    assert 0.98 * bias_bound < layer.bias.abs().max() <= bias_bound


def test_constants_are_no_parameters():
    layer = LinearTorch((2, 2), weight=Constant(torch.eye(2)))
    assert layer.parameters() == {}
    assert list(layer.simulation_parameters("weights")) == ["weight"]
    assert torch.equal(layer(torch.ones(1, 1, 2))[0], torch.ones(1, 1, 2))


def test_integer_events_and_missing_axes_are_accepted():
    layer = LinearTorch((3, 4))
    events = torch.randint(0, 2, (6, 3))
    assert layer(events)[0].shape == (1, 6, 4)
    torch.testing.assert_close(layer(events)[0], layer(events.float()[None])[0])


@pytest.mark.parametrize("shape", [3, (3,), (2, 3, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ShapeError, match="input and output sizes"):
        LinearTorch(shape)


def test_wrong_sizes_are_refused():
    with pytest.raises(ShapeError, match=r"\(4, 4\).*\(3, 4\)"):
        LinearTorch((3, 4), weight=torch.ones(4, 4))
    with pytest.raises(ShapeError, match="wrong neuron dimension"):
        LinearTorch((3, 4))(torch.ones(1, 2, 5))


@pytest.mark.oracle
def test_initial_weights_and_outputs_equal_rockpools_for_the_same_seed():
    rockpool = pytest.importorskip("rockpool.nn.modules", reason="rockpool is the oracle")
    layers = []
    for cls in (LinearTorch, rockpool.LinearTorch):
        torch.manual_seed(3)
        layers.append(cls((30, 50), has_bias=True))
    ours, theirs = layers
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    data = torch.randn(3, 7, 30)
    torch.testing.assert_close(ours(data)[0], theirs(data)[0])
