"""Rockpool, where it is installed, gives the same values wherever it does not have a known flaw."""

import numpy as np
import pytest
import torch

import snnkit.transforms.torch_transform as ours
from snnkit.transforms import channel_quantize, global_quantize

pytestmark = pytest.mark.oracle

theirs = pytest.importorskip(
    "rockpool.transform.torch_transform", reason="rockpool is not installed: pip install snnkit[oracles]"
)


def values(seed, shape=(6, 4)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_levels", [3, 5, 15, 255])
def test_deterministic_rounding_to_odd_numbers_of_levels(seed, num_levels):
    value = values(seed)
    expected = theirs.deterministic_rounding(value, num_levels=num_levels)
    torch.testing.assert_close(ours.deterministic_rounding(value, num_levels=num_levels), expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_levels", [2, 4, 16, 256])
def test_deterministic_rounding_that_need_not_keep_zero(seed, num_levels):
    value = values(seed)
    keywords = {"num_levels": num_levels, "maintain_zero": False, "output_range": [-3.0, 5.0]}
    expected = theirs.deterministic_rounding(value, **keywords)
    torch.testing.assert_close(ours.deterministic_rounding(value, **keywords), expected)


@pytest.mark.parametrize("seed", range(5))
def test_rounding_within_a_given_range(seed):
    value = values(seed).clamp(-2, 2)
    keywords = {"input_range": [-2, 2], "output_range": [-127, 127], "num_levels": 255}
    expected = theirs.deterministic_rounding(value, **keywords)
    torch.testing.assert_close(ours.deterministic_rounding(value, **keywords), expected)


@pytest.mark.parametrize("num_levels", [5, 255])
def test_stochastic_rounding_uses_the_same_levels(num_levels):
    value = values(0, (2000,))
    step = 2 * value.abs().max() / (num_levels - 1)
    for library in (ours, theirs):
        levels = library.stochastic_rounding(value, num_levels=num_levels) / step
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("n_bits", [2, 3, 8])
def test_int_quant(n_bits):
    value = values(n_bits)
    torch.testing.assert_close(ours.int_quant(value, n_bits=n_bits), theirs.int_quant(value, n_bits=n_bits))


def test_passthrough_functions():
    value = values(0) * 3
    assert torch.equal(ours.round_passthrough(value), theirs.round_passthrough(value))
    assert torch.equal(ours.floor_passthrough(value), theirs.floor_passthrough(value))


@pytest.mark.filterwarnings("ignore:To copy construct")
def test_t_decay_of_exact_bit_shifts():
    decay = 1 - 2.0 ** -torch.arange(1.0, 12.0)
    for value in decay:
        torch.testing.assert_close(ours.t_decay(value), theirs.t_decay(value))
        quantised = theirs.class_calc_q_decay(1e-3)(value)
        torch.testing.assert_close(ours.class_calc_q_decay(1e-3)(value), quantised)


def specification(seed, synapses, receiving):
    rng = np.random.default_rng(seed)
    return {
        "weights_in": rng.normal(size=(4, receiving, synapses)),
        "weights_rec": rng.normal(size=(8, 8, synapses)),
        "weights_out": rng.normal(size=(8, 3)),
        "threshold": rng.uniform(0.5, 2, 8),
        "threshold_out": rng.uniform(0.5, 2, 3),
        "dash_mem": rng.uniform(1, 6, 8),
        "dash_mem_out": rng.uniform(1, 6, 3),
        "dash_syn": rng.uniform(1, 6, 8),
        "dash_syn_2": rng.uniform(1, 6, 8),
        "dash_syn_out": rng.uniform(1, 6, 3),
    }


# A window of 8 of 8: smaller ones raise an IndexError there.
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("synapses", [1, 2])
@pytest.mark.parametrize("quantize", [global_quantize, channel_quantize])
def test_quantising_specifications_without_bias(quantize, synapses, seed):
    methods = pytest.importorskip("rockpool.transform.quantize_methods", reason="rockpool is not installed")
    before = specification(seed, synapses, receiving=8)
    expected = getattr(methods, quantize.__name__)(**{key: value.copy() for key, value in before.items()})
    result = quantize(**before)
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value, err_msg=name)
