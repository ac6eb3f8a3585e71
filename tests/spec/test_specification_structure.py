"""What forms a specification and what does not."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from strategies import specifications

from snnkit.hw.xylo.specification.core import Population, Specification, SpecificationError
from snnkit.utilities.chips import CHIPS


def small(**changes):
    values = {
        "chip": "imu",
        "weights_in": np.array([[1, -2, 0], [0, 3, 4]]),
        "weights_rec": np.diag([5, 6, 7]),
        "weights_out": np.array([[1, 2], [3, 4]]),
        "threshold": [10, 20, 30],
        "threshold_out": [40, 50],
    }
    return Specification.create(**(values | changes))


def test_create_fills_in_what_is_left_out():
    spec = small()
    assert spec.shape == (2, 3, 2)
    assert spec.n_synapses == 1
    assert spec.weights_in.shape == (2, 3, 1)
    assert spec.weights_rec[:, :, 0].tolist() == np.diag([5, 6, 7]).tolist()
    assert spec.dash_mem.tolist() == [1, 1, 1]
    assert spec.dash_syn_out.tolist() == [1, 1]
    assert spec.bias.tolist() == [0, 0, 0]
    assert spec.aliases == ((), (), ())
    assert spec.dt == CHIPS["imu"].default_dt
    assert spec.violations() == ()


def test_hidden_size_without_recurrent_weights_comes_from_what_is_given():
    assert small(weights_rec=None).n_hidden == 3
    assert small(weights_rec=None, threshold=7, dash_mem=[1, 2, 3, 4]).n_hidden == 4
    assert small(weights_rec=None, threshold=7, aliases=[[], [], [], [], [0]]).n_hidden == 5


def test_synapse_axis_is_shared_and_missing_weights_are_zero():
    spec = small(chip="a2", weights_rec=np.ones((3, 3, 2), int))
    assert spec.weights_in.shape == (2, 3, 2)
    assert not spec.weights_in[:, :, 1].any()


def test_torch_tensors_and_whole_floats_are_taken():
    weights = torch.tensor([[1.0, -2, 0], [0, 3, 4]], requires_grad=True)
    assert small(weights_in=weights, threshold=torch.tensor([10, 20, 30])) == small()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights_in": [[0.5, 1, 1], [0, 0, 0]]}, r"weights_in\[0, 0\] = 0.5 is not a whole number"),
        ({"weights_in": [[200, 1, 1], [0, 0, 0]]}, r"weights_in\[0, 0\] = 200 is outside -128..127"),
        ({"weights_in": [["a", "b", "c"]]}, "integers are needed"),
        ({"weights_in": [[1], [2, 3]]}, "not a rectangular array"),
        ({"weights_in": [1, 2, 3]}, r"weights_in has shape \(3,\)"),
        ({"weights_in": np.zeros((2, 3, 3))}, "3 synapses for each neuron; 1 or 2"),
        ({"weights_in": np.zeros((2, 4))}, "weights_in has 4 targets, but there are 3"),
        ({"weights_in": np.zeros((0, 3))}, "There are no input channels"),
        ({"weights_out": np.zeros((4, 2))}, "weights_out has 4 sources, but there are 3"),
        ({"weights_out": np.zeros((2, 2, 1))}, r"\(Noen, Nout\) is needed"),
        ({"weights_rec": np.zeros((3, 4))}, r"weights_rec has shape \(3, 4, 1\), \(3, 3, 1\) is needed"),
        ({"threshold": [1, 2]}, r"threshold has shape \(2,\), \(3,\) is needed"),
        ({"threshold": [1, 2, 40000]}, r"threshold\[2\] = 40000 is outside"),
        ({"bias_out": [1, float("nan")]}, r"bias_out\[1\] = nan is not finite"),
        ({"dash_mem": -1}, "dash_mem"),
        ({"dash_mem": 256}, "outside 0..255"),
        ({"weight_shift_in": 16}, "weight_shift_in = 16 is outside 0..15"),
        ({"weight_shift_rec": [1, 2]}, "must be one number"),
        ({"aliases": [[0], [1]]}, "aliases has 2 entries"),
        ({"aliases": [[0], [1], [3]]}, r"aliases\[2\] names hidden neuron 3"),
        ({"aliases": [[0], [1], [-1]]}, r"aliases\[2\] names hidden neuron -1"),
        ({"aliases": [0, 1, 2]}, "one list of targets"),
        ({"dt": 0.0}, "dt = 0.0 s must be"),
        ({"dt": float("inf")}, "must be finite"),
        ({"dt": "0.001"}, "not a number of seconds"),
        ({"dt": True}, "not a number of seconds"),
        ({"populations": (Population("x", "hidden", 1, 4),)}, "covers 1..4 of 3 hidden neurons"),
        ({"populations": (Population("x", "input", 0, 1),)}, "layer 'input'"),
        ({"populations": ("x",)}, "must be Population objects"),
    ],
)
def test_impossible_content_is_refused(changes, message):
    with pytest.raises(SpecificationError, match=message):
        small(**changes)


def test_all_problems_are_told_at_once():
    with pytest.raises(SpecificationError) as caught:
        dataclasses.replace(small(), threshold=[10**6, 1, 1], dt=-1.0, chip="imo", dash_syn_out=[0.5, 1])
    text = str(caught.value)
    for part in ("threshold[0] = 1000000", "dt = -1.0", "Did you mean 'imu'", "dash_syn_out[0] = 0.5"):
        assert part in text


def test_unknown_argument_is_a_type_error():
    with pytest.raises(TypeError, match="bias_hidden"):
        Specification.create(chip="imu", weights_in=[[1]], weights_out=[[1]], bias_hidden=[1])


def test_content_is_frozen():
    source = np.zeros((2, 3), np.int8)
    spec = small(weights_in=source)
    source[:] = 9
    assert not spec.weights_in.any()
    with pytest.raises(ValueError, match="read-only"):
        spec.weights_in[0, 0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.dt = 1.0


@settings(max_examples=30, deadline=None)
@given(specifications("a3"))
def test_copies_are_equal_and_stay_frozen(spec):
    for twin in (pickle.loads(pickle.dumps(spec)), copy.deepcopy(spec), dataclasses.replace(spec)):
        assert twin == spec
        assert hash(twin) == hash(spec)
        assert twin.digest == spec.digest
        assert not twin.weights_rec.flags.writeable


def test_every_field_counts_for_equality_and_digest():
    spec = small()
    others = {
        "chip": "a3",
        "aliases": ((0,), (), ()),
        "dt": 0.002,
        "populations": (Population("p", "output", 0, 1),),
    }
    others |= dict.fromkeys(("weight_shift_in", "weight_shift_rec", "weight_shift_out"), 1)
    for field in dataclasses.fields(spec):
        value = others.get(field.name)
        if value is None:
            value = getattr(spec, field.name).astype(int) + 1
        changed = dataclasses.replace(spec, **{field.name: value})
        assert changed != spec, field.name
        assert changed.digest != spec.digest, field.name
    assert spec != "imu"


def test_repr_is_one_short_line():
    assert (
        repr(small())
        == "Specification(imu: 2 inputs, 3 hidden neurons, 2 outputs, 3 recurrent weights, dt 0.005 s)"
    )


@settings(max_examples=30, deadline=None)
@given(specifications("imu", legal=True))
def test_legal_specifications_have_no_violations(spec):
    assert spec.violations() == ()
