import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnkit.sparse.pruning import allocate, apportion, kept_total
from snnkit.utilities.errors import ConfigurationError, ParameterError
from snnkit.utilities.masks import keep_largest, largest_of_columns
from snnkit.utilities.schedules import CosineSchedule, CubicSchedule, OneShot, schedule_named

SHAPES = {"conv": (64, 3, 3, 3), "fc1": (100, 200), "fc2": (10, 100)}


def random_scores(shapes=SHAPES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@st.composite
def problems(draw):
    n = draw(st.integers(1, 8))
    lower = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    upper = [low + draw(st.integers(0, 50)) for low in lower]
    shares = draw(st.lists(st.floats(1e-3, 1e6), min_size=n, max_size=n))
    return shares, draw(st.integers(sum(lower), sum(upper))), lower, upper


@given(problems())
def test_whole_shares_add_up_within_their_bounds(problem):
    _, total, lower, upper = problem
    found = apportion(*problem)
    assert sum(found) == total
    assert all(low <= n <= high for low, n, high in zip(lower, found, upper, strict=True))


@given(problems())
def test_free_shares_are_proportional_up_to_one(problem):
    shares, _, lower, upper = problem
    found = apportion(*problem)
    free = [i for i, n in enumerate(found) if lower[i] + 1 < n < upper[i] - 1]
    for i in free:
        for j in free:
            expected = found[j] * shares[i] / shares[j]
            assert abs(found[i] - expected) <= 2 + 2 * shares[i] / shares[j]


def test_equal_remainders_go_to_the_first():
    assert apportion([1, 1, 1], 4, [0] * 3, [9] * 3) == (2, 1, 1)


def test_impossible_totals_are_refused():
    with pytest.raises(ConfigurationError, match="allow 2 to 4"):
        apportion([1, 1], 5, [1, 1], [2, 2])


@given(st.sampled_from(["global", "local", "er", "erk"]), st.floats(0, 0.999), st.integers(0, 20))
@settings(deadline=None)
def test_every_allocation_is_exact_to_one_weight(method, sparsity, minimum):
    scores = random_scores()
    size = sum(score.numel() for score in scores.values())
    total = max(kept_total(size, sparsity), 3 * minimum)
    found = allocate(method, scores, total, minimum)
    assert sum(found.values()) == total
    assert all(minimum <= n <= scores[name].numel() for name, n in found.items())


@given(st.integers(1, 22_000))
@settings(deadline=None, max_examples=20)
def test_global_keeps_what_sorting_all_scores_keeps(total):
    scores = random_scores()
    everything = torch.cat([score.flatten() for score in scores.values()])
    least = everything.sort(descending=True).values[min(total, len(everything)) - 1]
    found = allocate("global", scores, min(total, len(everything)))
    assert sum(found.values()) == min(total, len(everything))
    for name, score in scores.items():  # of equal scores at the edge, only some stay
        assert int((score > least).sum()) <= found[name] <= int((score >= least).sum())


def test_er_and_erk_densities_follow_their_formulas():
    scores = random_scores()
    total = 500
    er, erk = allocate("er", scores, total), allocate("erk", scores, total)
    er_weights = {"conv": 27 * 64 * 67 / (3 * 64), "fc1": 300, "fc2": 110}
    erk_weights = {"conv": 64 + 3 + 3 + 3, "fc1": 300, "fc2": 110}
    for found, weights in ((er, er_weights), (erk, erk_weights)):
        for name, weight in weights.items():
            assert abs(found[name] - total * weight / sum(weights.values())) <= 1


def test_erk_fills_small_layers_and_gives_the_rest_to_large_ones():
    scores = random_scores()
    found = allocate("erk", scores, 20_000)
    assert found["fc2"] == 1000
    assert found["conv"] == 1728
    assert found["fc1"] == 20_000 - 2728


def test_a_minimum_saves_a_layer_of_small_scores():
    scores = {"strong": torch.rand(50) + 1, "weak": torch.rand(50)}
    assert allocate("global", scores, 10) == {"strong": 10, "weak": 0}
    assert allocate("global", scores, 10, minimum=2) == {"strong": 8, "weak": 2}


def test_places_without_a_weight_are_never_kept():
    scores = {"a": torch.tensor([1.0, -math.inf, -math.inf]), "b": torch.tensor([0.5, -1.0])}
    for method in ("global", "local", "er", "erk"):
        assert allocate(method, scores, 3) == {"a": 1, "b": 2}
        with pytest.raises(ConfigurationError, match="allow 0 to 3"):
            allocate(method, scores, 4)


def test_unknown_allocations_get_the_nearest_name():
    with pytest.raises(ConfigurationError, match="'erk'"):
        allocate("erkk", random_scores(), 10)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_of_equal_scores_the_first_stay(values, keep):
    keep = min(keep, len(values))
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    mask = keep_largest(torch.tensor(values, dtype=torch.float32), keep)
    assert mask.nonzero().flatten().tolist() == sorted(order[:keep])
    column = largest_of_columns(torch.tensor(values, dtype=torch.float32)[:, None], keep)
    assert torch.equal(column[:, 0], mask)


@pytest.mark.parametrize("schedule", [CubicSchedule(3, 11), CosineSchedule(3, 11), OneShot(7)])
def test_schedules_rise_from_nothing_to_all(schedule):
    values = [schedule.progress(step) for step in range(20)]
    assert values[0] == 0
    assert all(value == 1 for value in values[schedule.end :])
    assert values == sorted(values)


def test_schedules_are_those_of_their_formulas():
    assert CubicSchedule(0, 4).progress(1) == 1 - 0.75**3
    assert CosineSchedule(0, 4).progress(1) == pytest.approx((1 - math.cos(math.pi / 4)) / 2)
    assert CosineSchedule(0, 4).progress(2) == pytest.approx(0.5)


def test_schedules_have_names():
    assert schedule_named("cubic", 1, 2) == CubicSchedule(1, 2)
    assert schedule_named("cosine", 1, 2) == CosineSchedule(1, 2)
    assert schedule_named("one-shot", 1, 2) == OneShot(1)
    with pytest.raises(ConfigurationError, match="'cosine'"):
        schedule_named("cosin", 1, 2)
    with pytest.raises(ParameterError, match="begin < end"):
        CosineSchedule(2, 2)
