import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.sparse import SparseLayer, convert, convert_model
from snnkit.sparse.pruning import (
    Magnitude,
    Snip,
    apply_masks,
    masks_of,
    prunable_weights,
    prune_masks,
    prune_weights,
    sparsity_of,
)
from snnkit.utilities.errors import ConfigurationError


class Shared(nn.Module):
    """Two layers that share a weight, one that is used twice, one deep inside, one alone."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(12, 6)
        self.twice = nn.Linear(6, 6)
        self.deep = nn.ModuleDict({"a": nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6))})
        self.again = self.twice
        self.decoder = nn.Linear(6, 12, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, x):
        return self.decoder(self.deep["a"](self.again(torch.relu(self.twice(self.embedding(x))))))


def model_with_everything():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 8), nn.Bilinear(8, 8, 3)
    )


@given(
    st.floats(0, 0.98),
    st.sampled_from(["global", "local", "er", "erk", "output"]),
    st.sampled_from(["magnitude", "random"]),
)
@settings(deadline=None, max_examples=40)
def test_the_share_is_exact_to_one_weight_over_the_model(sparsity, allocation, criterion):
    model = model_with_everything()
    masks = prune_masks(model, sparsity, criterion, allocation)
    size = sum(mask.numel() for mask in masks.values())
    assert list(masks) == ["0.weight", "3.weight", "4.weight"]
    assert sum(int(mask.sum()) for mask in masks.values()) == size - round(sparsity * size)


def test_global_magnitude_keeps_the_largest_weights_of_the_model():
    model = model_with_everything()
    masks = prune_masks(model, 0.7, minimum=0)
    weights = {weight.name: weight.dense().abs() for weight in prunable_weights(model)}
    kept = torch.cat([weights[name][mask] for name, mask in masks.items()])
    dropped = torch.cat([weights[name][~mask] for name, mask in masks.items()])
    assert kept.min() >= dropped.max()


def test_output_allocation_keeps_as_many_sources_of_every_target():
    model = nn.Sequential(nn.Linear(20, 7), LinearTorch((20, 7)))
    masks = prune_masks(model, 0.75, allocation="output")
    assert masks["0.weight"].sum(1).tolist() == [5] * 7
    assert masks["1.weight"].sum(0).tolist() == [5] * 7


def test_shared_weights_are_found_once_under_all_their_names():
    model = Shared()
    found = {weight.name: set(weight.aliases) for weight in prunable_weights(model)}
    assert found == {
        "twice.weight": {"twice.weight", "again.weight"},
        "deep.a.0.weight": {"deep.a.0.weight"},
        "decoder.weight": {"decoder.weight", "embedding.weight"},
    }


def test_shared_weights_are_pruned_once_and_by_any_name():
    model = Shared()
    masks = prune_masks(model, 0.5, names=["again", "embedding.weight"])
    assert set(masks) == {"twice.weight", "decoder.weight"}
    mask = masks["decoder.weight"]
    apply_masks(model, {"embedding.weight": mask})
    assert torch.equal(model.embedding.weight != 0, mask)
    with pytest.raises(ConfigurationError, match="shared"):
        apply_masks(model, {"embedding.weight": mask, "decoder.weight": ~mask})


def test_excluded_layers_stay_and_do_not_count():
    model = model_with_everything()
    masks = prune_masks(model, 0.9, exclude=["0", "4.weight"])
    assert list(masks) == ["3.weight"]
    assert int(masks["3.weight"].sum()) == 128 - round(0.9 * 128)


def test_all_kinds_of_weights_are_found():
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 4),
            "attention": nn.MultiheadAttention(4, 2),
            "up": nn.ConvTranspose1d(3, 2, 2),
            "spiking": Sequential(LinearTorch((3, 4)), LIFTorch(4, has_rec=True)),
            "sparse": SparseLayer(4, 4, density=0.5),
            "masked": convert(nn.Conv1d(2, 2, 3), "masked"),
        }
    )
    names = {weight.name: tuple(weight.shape) for weight in prunable_weights(model)}
    assert names == {
        "lstm.weight_ih_l0": (16, 3),
        "lstm.weight_hh_l0": (16, 4),
        "attention.in_proj_weight": (12, 4),
        "attention.out_proj.weight": (4, 4),
        "up.weight": (3, 2, 2),
        "spiking.0_LinearTorch.weight": (3, 4),
        "spiking.1_LIFTorch.w_rec": (4, 4),
        "sparse.weight": (4, 4),
        "masked.weight": (2, 2, 3),
    }


def test_parameters_of_unknown_modules_can_be_named():
    model = nn.Module()
    model.mixing = nn.Parameter(torch.randn(6, 6))
    with pytest.raises(ConfigurationError, match="no weight to prune"):
        prune_masks(model, 0.5)
    assert int(prune_masks(model, 0.5, names=["mixing"])["mixing"].sum()) == 18


@given(st.sampled_from(["csr", "csc", "coo"]), st.floats(0.5, 0.95))
@settings(deadline=None, max_examples=15)
def test_a_sparse_model_is_pruned_as_its_dense_twin(kind, sparsity):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(10, 12), nn.ReLU(), nn.Linear(12, 5))
    prune_weights(dense, 0.5)
    sparse = convert_model(copy.deepcopy(dense), nn.Linear, kind)
    one, other = prune_masks(dense, sparsity), prune_masks(sparse, sparsity)
    assert all(torch.equal(one[name], other[name]) for name in one)
    apply_masks(dense, one)
    apply_masks(sparse, other)
    x = torch.randn(3, 10)
    torch.testing.assert_close(sparse(x), dense(x))
    assert sparsity_of(sparse) == sparsity_of(dense)


def test_more_weights_than_a_sparse_layer_stores_are_refused():
    layer = SparseLayer(10, 10, density=0.2)
    with pytest.raises(ConfigurationError, match="50 weights are to stay, but the layers allow 1 to 20"):
        prune_masks(layer, 0.5)


def test_within_masks_nothing_returns():
    model = model_with_everything()
    first = prune_masks(model, 0.5, "random")
    second = prune_masks(model, 0.8, within=first)
    assert all(bool((first[name] | ~mask).all()) for name, mask in second.items())
    assert sum(int(mask.sum()) for mask in second.values()) == 392 - round(0.8 * 392)


def test_pruning_needs_the_gradient_of_no_one():
    model = nn.Linear(4, 4)
    model.weight.requires_grad_(False)
    prune_masks(model, 0.5, Snip(lambda m: m(torch.ones(1, 4)).sum()))
    assert not model.weight.requires_grad


def test_everything_that_is_wrong_is_said_at_once():
    model = model_with_everything()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigurationError) as caught:
        prune_weights(model, 1.0, "magnitud", "globl", exclude=["7"], minimum=-1)
    text = str(caught.value)
    for part in ("sparsity is 1.0", "'magnitude'", "'global'", "minimum is -1", "'7'"):
        assert part in text
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5, math.nan])
def test_a_sparsity_is_a_share(sparsity):
    with pytest.raises(ConfigurationError, match="without 1"):
        prune_masks(nn.Linear(4, 4), sparsity)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: prune_masks(m, 0.999), "leaves none of 392 weights"),
        (lambda m: prune_masks(m, 0.99, minimum=5), "allow 15 to 392"),
        (lambda m: prune_masks(m, 0.5, "snip"), r"pass Snip\(loss\)"),
        (lambda m: prune_masks(m, 0.5, "movement"), "follows the training"),
        (lambda m: prune_masks(m, 0.5, exclude=["0", "3", "4"]), "all of them are excluded"),
        (lambda m: apply_masks(m, {"3.wieght": torch.ones(8, 16) > 0}), "'3.weight'"),
        (lambda m: apply_masks(m, {"3.weight": torch.ones(16, 8) > 0}), r"the mask is \(16, 8\)"),
        (lambda m: apply_masks(m, {"3.weight": torch.ones(8, 16)}), "not torch.float32"),
        (lambda m: apply_masks(m, {"3.weight": torch.zeros(8, 16) > 0}), "leaves nothing"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(call, message):
    model = model_with_everything()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigurationError, match=message):
        call(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_that_are_no_plain_parameters_are_named():
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 3)), nn.LazyLinear(3))
    with pytest.raises(ConfigurationError) as caught:
        prune_masks(normed, 0.5)
    assert "0.weight is computed from other tensors" in str(caught.value)
    assert "1.weight has no shape yet" in str(caught.value)


def test_types_may_differ_among_layers():
    model = nn.Sequential(nn.Linear(6, 6).half(), nn.Linear(6, 6), nn.Linear(6, 6).double())
    masks = prune_masks(model, 0.5)
    assert sum(int(mask.sum()) for mask in masks.values()) == 54
    apply_masks(model, masks)
    assert [layer.weight.dtype for layer in model] == [torch.float16, torch.float32, torch.float64]


def test_masks_of_a_model_are_where_its_weights_are():
    model = model_with_everything()
    masks = prune_weights(model, 0.6)
    assert all(torch.equal(mask, masks[name]) for name, mask in masks_of(model).items())
    table = sparsity_of(model)
    assert table.sparsity == pytest.approx(round(0.6 * 392) / 392)
    assert "all" in str(table).splitlines()[-1]


def test_a_criterion_of_ones_own_is_asked_for_each_round():
    calls = []

    class Halving(Magnitude):
        rounds = 3

        def __call__(self, model, weights):
            calls.append(int((weights[0].dense() != 0).sum()))
            return super().__call__(model, weights)

    Halving.runs_model = True
    assert int(prune_masks(nn.Linear(8, 8), 1 - 1 / 8, Halving())["weight"].sum()) == 8
    assert calls == [64, 32, 16]
