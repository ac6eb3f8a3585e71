"""Rockpool's specification dict, read and written."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import specifications

from snnkit.hw.xylo.specification.core import ARRAYS, Specification, SpecificationError
from snnkit.utilities.chips import CHIPS
from snnkit.utilities.errors import ConfigurationError

WEIGHTS = {"weights_in": [[1, 2, 3]], "weights_out": [[1], [2], [3]]}


def same_program(a, b):
    """Equal but for weights that are padded with zeros to full width, and populations."""
    w_in, w_out = b.weights_in, b.weights_out
    narrow_in, narrow_out = a.weights_in, a.weights_out
    ien, oen = narrow_in.shape[1], narrow_out.shape[0]
    assert np.array_equal(w_in[:, :ien], narrow_in)
    assert not w_in[:, ien:].any()
    assert np.array_equal(w_out[len(w_out) - oen :], narrow_out)
    assert not w_out[: len(w_out) - oen].any()
    for name in ARRAYS:
        if name not in ("weights_in", "weights_out"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
    assert (a.aliases, a.dt, a.chip) == (b.aliases, b.dt, b.chip)
    return True


@pytest.mark.parametrize("chip", CHIPS)
def test_round_trip_keeps_the_program(chip):
    @settings(max_examples=20, deadline=None)
    @given(specifications(chip))
    def check(spec):
        back = Specification.from_rockpool_dict(spec.to_rockpool_dict(), chip)
        assert same_program(spec, back)
        assert Specification.from_rockpool_dict(back.to_rockpool_dict(), chip) == back

    check()


def test_shapes_are_those_of_the_chips_mapper():
    arguments = {"weights_in": np.ones((2, 3)), "weights_out": np.ones((2, 1)), "threshold": [1, 2, 3, 4]}
    wide = Specification.create(chip="a2", **arguments).to_rockpool_dict()
    assert wide["weights_in"].shape == (2, 4)
    assert wide["weights_rec"].shape == (4, 4)
    assert wide["weights_out"].tolist() == [[0], [0], [1], [1]]
    windowed = Specification.create(chip="imu", **arguments).to_rockpool_dict()
    assert windowed["weights_in"].shape == (2, 3, 1)
    assert windowed["weights_rec"].shape == (4, 4, 1)
    assert windowed["weights_out"].shape == (2, 1)
    wide["threshold"][0] = 9  # the dict belongs to its reader
    assert wide["aliases"] == [[], [], [], []]


def test_left_out_values_are_those_that_rockpool_documents():
    spec = Specification.from_rockpool_dict(WEIGHTS, "imu")
    assert spec.dash_syn.tolist() == [1, 1, 1]
    assert spec.threshold.tolist() == [0, 0, 0]
    assert spec.dt == CHIPS["imu"].default_dt
    assert {v.rule for v in spec.violations()} == {"threshold"}


def test_mapped_graph_is_passed_over_and_tensors_are_read():
    extra = {"mapped_graph": object(), "bias": torch.tensor([1, 2, 3]), "dt": 0.01}
    spec = Specification.from_rockpool_dict(WEIGHTS | extra, "a2")
    assert spec.bias.tolist() == [1, 2, 3]
    assert spec.dt == 0.01


def test_both_names_of_the_hidden_bias_work():
    by_key = [
        Specification.from_rockpool_dict(WEIGHTS | {k: [4, 5, 6]}, "a3") for k in ("bias", "bias_hidden")
    ]
    assert by_key[0] == by_key[1]
    assert by_key[0].bias.tolist() == [4, 5, 6]
    with pytest.raises(ConfigurationError, match="differ"):
        Specification.from_rockpool_dict(WEIGHTS | {"bias": [1, 1, 1], "bias_hidden": [1, 1, 2]}, "a3")


def test_unknown_and_missing_keys_are_errors():
    with pytest.raises(ConfigurationError, match="Did you mean 'threshold_out'"):
        Specification.from_rockpool_dict(WEIGHTS | {"thresholds_out": [1]}, "imu")
    with pytest.raises(ConfigurationError, match="no weights_in and no weights_out"):
        Specification.from_rockpool_dict({}, "imu")


def test_values_that_are_not_quantised_are_refused():
    with pytest.raises(SpecificationError, match="quantise first"):
        Specification.from_rockpool_dict(WEIGHTS | {"weights_in": [[0.1, 0.2, 0.3]]}, "imu")
    with pytest.raises(SpecificationError, match=r"outside -128\.\.127"):
        Specification.from_rockpool_dict(WEIGHTS | {"weights_in": [[128, 0, 0]]}, "imu")
