"""The 128-neuron windows are kept wherever whole populations allow it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from snnkit.hw.xylo.mapping.allocation import Role, order_populations
from snnkit.utilities.chips import get_chip

IMU = get_chip("imu")
NARROW = replace(IMU, max_input_expansion=12, max_output_expansion=12)

roles = st.builds(Role, st.integers(1, 8), st.booleans(), st.booleans())


def windows_kept(order, found, chip):
    ends, total = {}, 0
    for index in order:
        total += found[index].size
        ends[index] = total
    receiving = max((ends[i] for i in order if found[i].receives_input), default=0)
    driving = max((total - ends[i] + found[i].size for i in order if found[i].drives_outputs), default=0)
    return receiving <= chip.max_input_expansion and driving <= chip.max_output_expansion


def some_order_keeps_windows(found, chip):
    from itertools import permutations

    return any(windows_kept(order, found, chip) for order in permutations(range(len(found))))


@given(st.lists(roles, min_size=1, max_size=6))
def test_windows_are_kept_if_any_order_of_populations_keeps_them(found):
    order = order_populations(found, NARROW)
    assert sorted(order) == list(range(len(found)))
    assert windows_kept(order, found, NARROW) == some_order_keeps_windows(found, NARROW)


def test_input_layers_come_first_and_output_layers_last():
    found = [Role(100, True, False), Role(100, False, True), Role(200, False, False), Role(20, True, False)]
    assert order_populations(found, IMU) == [0, 3, 2, 1]


def test_populations_that_fill_both_gaps_are_split_between_them():
    found = [Role(60, False, False), Role(70, False, False), Role(40, True, True)]
    order = order_populations(found, IMU)
    assert order == [1, 2, 0]
    assert windows_kept(order, found, IMU)


def test_small_networks_keep_the_order_of_computation():
    found = [Role(30, True, False), Role(30, True, True), Role(30, False, False)]
    assert order_populations(found, IMU) == [0, 1, 2]
