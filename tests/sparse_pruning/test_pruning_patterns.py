import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from snnkit.sparse.pruning import (
    Blocks,
    Caps,
    Columns,
    NofM,
    apply_masks,
    block_mask,
    capped_mask,
    column_mask,
    n_of_m_mask,
    pattern_masks,
    row_mask,
)
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, ShapeError

CAP = st.none() | st.integers(0, 5)


def best_under_caps(scores, fan_in, fan_out, total):
    """Return the largest sum by trying all masks."""
    best = 0.0
    for bits in itertools.product([False, True], repeat=scores.size):
        mask = np.array(bits).reshape(scores.shape)
        allowed = (fan_in is None or mask.sum(1).max() <= fan_in) and (
            fan_out is None or mask.sum(0).max() <= fan_out
        )
        if allowed and (total is None or mask.sum() <= total):
            best = max(best, float(scores[mask].sum()))
    return best


def respects(mask, fan_in, fan_out, total):
    return (
        (fan_in is None or int(mask.sum(1).max()) <= fan_in)
        and (fan_out is None or int(mask.sum(0).max()) <= fan_out)
        and (total is None or int(mask.sum()) <= total)
    )


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=3), elements=st.floats(0, 8)),
    CAP,
    CAP,
    CAP,
)
@settings(deadline=None, max_examples=60)
def test_masks_under_caps_keep_as_much_as_the_best_of_all_masks(scores, fan_in, fan_out, total):
    found = capped_mask(torch.from_numpy(scores), fan_in, fan_out, total)
    best = best_under_caps(scores, fan_in, fan_out, total)
    assert respects(found.mask, fan_in, fan_out, total)
    assert found.kept == pytest.approx(float(scores[found.mask.numpy()].sum()))
    assert found.bound >= best - 1e-9
    assert found.kept >= best - (found.bound - found.kept) - 1e-9
    if total is None or fan_in is None or fan_out is None:
        assert found.kept == pytest.approx(best, abs=1e-9)


@given(
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    CAP,
    CAP,
    st.none() | st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_the_bound_proves_masks_of_distinct_scores_optimal(seed, shape, fan_in, fan_out, total):
    scores = torch.from_numpy(np.random.default_rng(seed).random(shape) ** 3)
    found = capped_mask(scores, fan_in, fan_out, total)
    assert respects(found.mask, fan_in, fan_out, total)
    assert found.bound == pytest.approx(found.kept, rel=1e-9, abs=1e-9)


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4), st.integers(0, 16))
@settings(deadline=None, max_examples=40)
def test_with_equal_scores_the_reported_bound_still_holds(seed, fan_in, fan_out, total):
    scores = np.random.default_rng(seed).integers(0, 3, (3, 4)).astype(float)
    found = capped_mask(torch.from_numpy(scores), fan_in, fan_out, total)
    best = best_under_caps(scores, fan_in, fan_out, total)
    assert respects(found.mask, fan_in, fan_out, total)
    assert found.kept <= best + 1e-9 <= found.bound + 2e-9


def test_caps_that_allow_everything_keep_everything():
    assert capped_mask(torch.zeros(3, 5)).mask.all()
    assert capped_mask(torch.rand(3, 5), 5, 3, 15).mask.all()


def test_caps_of_no_weights_keep_nothing():
    assert not capped_mask(torch.rand(3, 5), total=0).mask.any()
    assert not capped_mask(torch.rand(3, 5), fan_in=0, fan_out=2).mask.any()


def test_wrong_caps_and_scores_are_all_named():
    with pytest.raises(ConfigurationError) as caught:
        capped_mask(torch.tensor([[-1.0]]), fan_in=-1, total=2.5)
    assert all(word in str(caught.value) for word in ("fan_in is -1", "total is 2.5", "0 or more"))
    with pytest.raises(ShapeError, match="matrix"):
        capped_mask(torch.rand(3))


def test_a_chip_caps_fan_out_and_total():
    chip = get_chip("imu")
    caps = Caps.for_chip("imu")
    assert (caps.fan_out, caps.total) == (chip.max_fanout, chip.max_hidden * chip.mean_fanout_per_synapse)
    two_banks = Caps.for_chip("a2")
    assert two_banks.total == 2 * get_chip("a2").max_recurrent_weights


@given(hnp.arrays(np.float64, (3, 8), elements=st.floats(0, 1)), st.integers(1, 4))
@settings(deadline=None)
def test_n_of_m_keeps_the_largest_of_each_group(scores, n):
    mask = n_of_m_mask(torch.from_numpy(scores), n, 4).numpy()
    groups = scores.reshape(-1, 4)
    assert (mask.reshape(-1, 4).sum(1) == n).all()
    assert scores[mask].sum() == pytest.approx(np.sort(groups, 1)[:, 4 - n :].sum())


def best_of(parts, keep):
    return max(sum(part.sum() for part in chosen) for chosen in itertools.combinations(parts, keep))


@given(hnp.arrays(np.float64, (4, 5), elements=st.floats(0, 1)), st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_rows_columns_and_blocks_keep_the_largest_sums(scores, keep):
    given = torch.from_numpy(scores)
    blocks = [scores[i : i + 2, j : j + 2] for i in (0, 2) for j in (0, 2, 4)]
    for mask, parts in (
        (row_mask(given, keep), list(scores)),
        (column_mask(given, keep), list(scores.T)),
        (block_mask(given, (2, 2), keep), blocks),
    ):
        assert float(given[mask].sum()) == pytest.approx(best_of(parts, keep))


def test_blocks_at_the_edge_are_cut_short():
    scores = torch.zeros(3, 5)
    scores[2, 4] = 1
    mask = block_mask(scores, (2, 2), 1)
    assert mask.nonzero().tolist() == [[2, 4]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: n_of_m_mask(s, 2, 4), ShapeError, "multiple of 4"),
        (lambda s: n_of_m_mask(s, 4, 3), ConfigurationError, "0 < n <= m"),
        (lambda s: row_mask(s, 0), ConfigurationError, "one must stay"),
        (lambda s: column_mask(s, 7), ConfigurationError, "there are 6"),
        (lambda s: block_mask(s, (0, 2), 1), ConfigurationError, "at least one row"),
    ],
)
def test_patterns_that_do_not_fit_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(torch.rand(4, 6))


def test_patterns_go_by_the_name_of_the_weight():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(32, 16), nn.Linear(16, 4))
    patterns = {
        "0.weight": NofM(2, 4),
        "2.weight": Caps(fan_in=6, fan_out=4),
        "3.weight": Columns(0.25),
    }
    masks = pattern_masks(model, patterns)
    assert (masks["0.weight"].flatten(1).unflatten(1, (-1, 4)).sum(2) == 2).all()
    assert int(masks["2.weight"].sum(1).max()) <= 6
    assert int(masks["2.weight"].sum(0).max()) <= 4
    assert masks["3.weight"].all(0).sum() == 12
    apply_masks(model, masks)
    again = pattern_masks(model, patterns)
    assert all(torch.equal(masks[name], again[name]) for name in masks)
    assert pattern_masks(model, Blocks((4, 4), 0.5))["2.weight"].sum() == 256


def test_a_pattern_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigurationError, match="leaves nothing of weight"):
        pattern_masks(nn.Linear(4, 4), Caps(total=0))
