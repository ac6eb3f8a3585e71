"""Weights that carry exactly the events asked for, whatever aliases copy where."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from snnkit.hw.xylo.mapping.skips import contents, delays, sources_of
from snnkit.hw.xylo.mapping.values import INPUT, Circuit, Node, Projection, Skip


def node(index: int, size: int = 1) -> Node:
    flat, column = np.zeros(size), np.zeros((size, 1))
    return Node(index, f"n{index}", nn.Identity(), size, 1, flat, column, flat, flat, column, 1e-3)


def circuit_of(count: int, skips: set[tuple[int, int]]) -> Circuit:
    found = Circuit(nodes=[node(index) for index in range(count)])
    found.skips = [Skip(source, target, "add") for source, target in skips]
    return found


@st.composite
def circuits(draw: st.DrawFn) -> tuple[Circuit, dict[int, int]]:
    count = draw(st.integers(1, 7))
    pairs = [(source, target) for source in range(count) for target in range(source + 1, count)]
    skips = draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    wanted = draw(st.dictionaries(st.integers(0, count - 1), st.integers(-3, 3).filter(bool), min_size=1))
    return circuit_of(count, skips), wanted


@given(circuits())
def test_weights_from_the_sources_carry_exactly_the_events_wanted(case):
    circuit, wanted = case
    carried = contents(circuit)
    arriving: dict[int, int] = {}
    for population, factor in sources_of(tuple(sorted(wanted.items())), carried):
        for origin, times in carried[population].items():
            arriving[origin] = arriving.get(origin, 0) + factor * times
    assert {population: times for population, times in arriving.items() if times} == wanted


def test_copies_of_copies_arrive_with_the_last_population():
    carried = contents(circuit_of(3, {(0, 1), (1, 2)}))
    assert carried == [{0: 1}, {1: 1, 0: 1}, {2: 1, 1: 1, 0: 1}]
    assert sources_of(((0, 1), (1, 1), (2, 1)), carried) == ((2, 1),)
    assert sources_of(((2, 1),), carried) == ((1, -1), (2, 1))
    assert sources_of(((INPUT, 1),), carried) == ((INPUT, 1),)


def test_delays_follow_the_longest_path_and_name_what_is_early():
    circuit = circuit_of(3, set())
    weights = np.ones((1, 1, 1))
    for counts, target in ((((INPUT, 1),), 0), (((0, 1),), 1), (((0, 1), (1, 1)), 2), (((INPUT, 1),), 2)):
        circuit.projections.append(Projection(counts, target, weights, "w"))
    circuit.projections.append(Projection(((2, 1),), 2, weights, "w_rec", recurrent=True))
    found, notes = delays(circuit)
    assert found == [0, 1, 2]
    assert len(notes) == 2
    assert "n2: events of n0 arrive 1 step earlier" in notes[0]
    assert "the network's input arrive 2 steps earlier" in notes[1]
