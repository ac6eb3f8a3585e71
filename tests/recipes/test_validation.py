import numpy as np

from snnkit.hw.xylo.specification import Population
from snnkit.recipes.activity import PopulationActivity
from snnkit.recipes.validation import first_difference


def activity(path, differences=(), saturated=(), layer="hidden"):
    shape = (3, 10, 4)
    net = np.ones(shape, dtype=np.int64)
    chip, limit = net.copy(), np.zeros(shape, dtype=bool)
    for place in differences:
        chip[place] += 2
    for place in saturated:
        limit[place] = True
    return PopulationActivity(Population(path, layer, 0, 4), net, chip, net * 1.25, chip * 1.5, limit)


def test_no_difference_is_none():
    assert first_difference([activity("a"), activity("b")]) is None


def test_the_earliest_step_wins_over_layers_and_recordings():
    found = first_difference(
        [activity("a", [(0, 7, 1)]), activity("b", [(2, 3, 2), (1, 3, 3)])], first_sample=32
    )
    assert (found.time, found.layer, found.sample, found.neuron) == (3, "b", 33, 3)
    assert (found.net_value, found.chip_value) == (1.0, 3.0)
    assert "1.25 thresholds in the net and at 4.5 on the chip" in found.reason


def test_at_the_same_step_the_earlier_layer_is_where_it_began():
    found = first_difference([activity("a", [(2, 5, 0)]), activity("b", [(0, 5, 0)])])
    assert (found.layer, found.sample) == ("a", 2)


def test_saturation_before_the_difference_is_the_reason():
    found = first_difference([activity("a", [(0, 5, 0)], saturated=[(0, 2, 0)])])
    assert "16 bits" in found.reason
    later = first_difference([activity("a", [(0, 5, 0)], saturated=[(0, 6, 0), (0, 2, 1), (1, 2, 0)])])
    assert "Rounding" in later.reason
