"""``global_quantize`` and ``channel_quantize``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snnkit.transforms import channel_quantize, global_quantize
from snnkit.transforms.quantize_methods import QuantizeArgumentError
from snnkit.utilities.errors import ParameterError, ShapeError

BOTH = pytest.mark.parametrize("quantize", [global_quantize, channel_quantize])
WEIGHTS = ("weights_in", "weights_rec", "weights_out")


def spec(seed=0, synapses=1, receiving=5, bias=True):
    rng = np.random.default_rng(seed)
    hidden = 6
    result = {
        "weights_in": rng.normal(size=(3, receiving, synapses)),
        "weights_rec": rng.normal(size=(hidden, hidden, synapses)),
        "weights_out": rng.normal(size=(hidden, 2)),
        "threshold": rng.uniform(0.5, 2, hidden),
        "threshold_out": rng.uniform(0.5, 2, 2),
        "dash_mem": rng.uniform(0, 6, hidden),
        "dash_mem_out": rng.uniform(0, 6, 2),
        "dash_syn": rng.uniform(0, 6, hidden),
        "dash_syn_2": rng.uniform(1, 6, hidden) if synapses == 2 else np.zeros(hidden),
        "dash_syn_out": rng.uniform(0, 20, 2),
    }
    if bias:
        result |= {"bias": rng.normal(size=hidden), "bias_out": rng.normal(size=2)}
    return result


@settings(deadline=None)
@given(
    st.sampled_from([global_quantize, channel_quantize]),
    st.integers(0, 2**31),
    st.integers(1, 2),
    st.integers(1, 6),
    st.booleans(),
)
def test_results_are_integers_within_their_bits(quantize, seed, synapses, receiving, bias):
    before = spec(seed, synapses, receiving, bias)
    copies = {key: value.copy() for key, value in before.items()}
    result = quantize(**before)
    assert set(result) == set(before)
    for name, value in result.items():
        assert value.shape == before[name].shape
        assert value.dtype.kind == "i"
        limit = {"threshold": 32767, "dash_mem"[:4]: 15}.get(name.split("_")[0], 127)
        assert np.abs(value).max() <= limit
        np.testing.assert_array_equal(before[name], copies[name])
    assert min(result["threshold"].min(), result["threshold_out"].min(), result["dash_mem"].min()) >= 1


@BOTH
def test_the_largest_weight_uses_all_bits(quantize):
    result = quantize(**spec(bias=False), bits_per_weight=6)
    hidden = max(np.abs(result["weights_in"]).max(), np.abs(result["weights_rec"]).max())
    assert hidden == np.abs(result["weights_out"]).max() == 31


def test_channels_have_their_own_scale_also_beyond_the_input_window():
    result = channel_quantize(**spec(bias=False, receiving=5))
    peaks = np.abs(result["weights_rec"]).max((0, 2))
    peaks[:5] = np.maximum(peaks[:5], np.abs(result["weights_in"]).max((0, 2)))
    assert peaks.tolist() == [127] * 6
    assert np.abs(result["weights_out"]).max(0).tolist() == [127, 127]


@BOTH
def test_biases_share_the_scale_of_their_neurons(quantize):
    before = spec()
    before["bias"][:] = before["threshold"] / 2
    before["bias_out"][:] = before["threshold_out"] / 2
    result = quantize(**before)
    np.testing.assert_allclose(result["bias"], result["threshold"] / 2, atol=0.76)
    np.testing.assert_allclose(result["bias_out"], result["threshold_out"] / 2, atol=0.76)


@BOTH
def test_large_biases_and_thresholds_limit_the_scale_instead_of_overflowing(quantize):
    before = spec()
    before["bias"][0] = 100.0
    before["threshold_out"][1] = 1e6
    result = quantize(**before)
    assert result["bias"][0] == 127
    assert result["threshold_out"][1] == 32767


@BOTH
def test_small_thresholds_of_neurons_without_weights_stay_above_zero(quantize):
    before = spec(bias=False)
    for name in WEIGHTS:
        before[name][:] = 0
    before["threshold"][:] = 0.4
    assert quantize(**before)["threshold"].min() >= 1


def test_fuzzy_scaling_clips_outliers():
    before = spec(bias=False)
    before["weights_rec"][0, 0, 0] = 50.0
    plain, fuzzy = global_quantize(**before), global_quantize(**before, fuzzy_scaling=True)
    assert np.abs(fuzzy["weights_rec"]).max() == 127
    assert np.abs(fuzzy["weights_in"]).mean() > 2 * np.abs(plain["weights_in"]).mean()


@BOTH
def test_dashes_are_rounded_into_the_chips_range(quantize):
    before = spec() | {"dash_mem": np.array([0.2, 1.5, 2.5, 14.6, 17.0, 3.0])}
    assert quantize(**before)["dash_mem"].tolist() == [1, 2, 2, 15, 15, 3]
    assert quantize(**spec())["dash_syn_2"].tolist() == [0] * 6


@BOTH
def test_matrices_without_a_synapse_axis_are_taken(quantize):
    before = spec()
    flat = before | {name: before[name][:, :, 0] for name in ("weights_in", "weights_rec")}
    for name, value in quantize(**before).items():
        np.testing.assert_array_equal(quantize(**flat)[name], value)


@BOTH
def test_every_key_of_a_specification_is_taken_and_others_are_errors(quantize):
    rest = {"weight_shift_in": 0, "weight_shift_rec": 0, "weight_shift_out": 0}
    rest |= {"aliases": [[]], "dt": 1e-3, "mapped_graph": None}
    expected = quantize(**spec())
    result = quantize(**spec(), **rest)
    assert set(result) == set(expected)
    with pytest.raises(QuantizeArgumentError, match="Did you mean 'bits_per_weight'"):
        quantize(**spec(), bits_per_wieght=4)
    assert issubclass(QuantizeArgumentError, TypeError)


@BOTH
def test_bias_hidden_is_another_name_of_bias(quantize):
    before = spec()
    renamed = {("bias_hidden" if key == "bias" else key): value for key, value in before.items()}
    np.testing.assert_array_equal(quantize(**renamed)["bias_hidden"], quantize(**before)["bias"])
    with pytest.raises(ParameterError, match="two names"):
        quantize(**before, bias_hidden=before["bias"])


@BOTH
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"threshold": np.zeros(6)}, ParameterError, "greater than 0"),
        ({"weights_in": np.full((3, 5, 1), np.nan)}, ParameterError, "weights_in"),
        ({"weights_rec": None}, ParameterError, "weights_rec"),
        ({"weights_in": np.ones((3, 7, 1))}, ShapeError, "Nien <= Nhid"),
        ({"weights_out": np.ones((6, 2, 1))}, ShapeError, "Noen, Nout"),
        ({"threshold": np.ones(4)}, ShapeError, "threshold"),
        ({"bits_per_weight": 1}, ParameterError, "bits_per_weight"),
    ],
)
def test_impossible_specifications_are_refused(quantize, change, error, message):
    with pytest.raises(error, match=message):
        quantize(**(spec() | change))
