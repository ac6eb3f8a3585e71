import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from snnkit.training.metrics import accuracy, confusion_matrix
from snnkit.training.readout import Readout
from snnkit.utilities.errors import ShapeError


def events(*trains):
    """One recording; each train lists the steps in which an output fires."""
    raster = np.zeros((1, 10, len(trains)), dtype=np.int64)
    for neuron, steps in enumerate(trains):
        raster[0, list(steps), neuron] = 1
    return raster


def test_most_events_win_over_a_classs_outputs_together():
    assert Readout(2, 2).predict(events([1], [2], [3, 4, 5], [])) == [1]
    assert Readout(2, 2).predict(events([1, 7], [2, 3], [3, 4, 5], [])) == [0]


def test_a_tie_goes_to_the_earlier_events_then_to_the_lower_class():
    assert Readout(2).predict(events([5, 6], [1, 2])) == [1]
    assert Readout(3).predict(events([9], [4], [4])) == [1]
    assert Readout(3).predict(events([], [], [])) == [0]


def test_torch_and_numpy_events_of_any_type_agree():
    raster = np.random.default_rng(0).integers(0, 2, (20, 30, 6))
    expected = Readout(3, 2).predict(raster)
    for same in (torch.from_numpy(raster).float(), raster.astype(np.uint8), torch.from_numpy(raster)):
        np.testing.assert_array_equal(Readout(3, 2).predict(same), expected)


@given(hnp.arrays(np.int64, (4, 7, 6), elements=st.integers(0, 1)))
def test_the_prediction_is_a_class_with_the_most_events(raster):
    predictions = Readout(3, 2).predict(raster)
    counts = raster.sum(1).reshape(4, 3, 2).sum(2)
    assert (counts[np.arange(4), predictions] == counts.max(1)).all()


def test_logits_are_rates_times_the_scale():
    raster = torch.from_numpy(events(range(10), range(10), [0], [])).float()
    np.testing.assert_allclose(Readout(2, 2).logits(raster, 20.0), [[20.0, 1.0]])


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 6)])
def test_a_wrong_number_of_outputs_is_refused(shape):
    with pytest.raises(ShapeError, match="3 classes with 2 outputs each"):
        Readout(3, 2).predict(np.zeros(shape))


def test_accuracy_and_confusion():
    predictions, labels = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    assert accuracy(predictions, labels) == 0.75
    np.testing.assert_array_equal(confusion_matrix(predictions, labels, 3), [[1, 0, 0], [0, 1, 0], [0, 1, 1]])


def test_predictions_and_labels_must_match():
    with pytest.raises(ShapeError, match="one shape"):
        accuracy(np.zeros(3), np.zeros(4))
    with pytest.raises(ShapeError, match="one shape"):
        accuracy(np.zeros(0), np.zeros(0))
