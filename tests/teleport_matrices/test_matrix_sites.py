"""Where matrices may act, in every way that attention and residual streams are written."""

import pytest
import torch
from attention_models import Attention, Block, Cross, LanguageModel, Multihead, VisionModel
from torch import nn
from torch.nn import functional as F

from snnkit.dag import build_from_unstructured_module
from snnkit.dag.analysis.copying import named_tensors
from snnkit.teleport import Element, symmetries, teleport
from snnkit.teleport.matrices import matrix_sites, random_matrices

SEQUENCE = torch.randn(2, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(1))
IMAGES = torch.randn(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def prepared(model):
    """Fill a model with random numbers, gains included."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.double().eval()


def set_gains(model, value=1.0):
    """Make gains of norms and branches uniform, as a fold does."""
    for name, parameter in model.named_parameters():
        if ("norm" in name and name.endswith("weight")) or name.endswith("gamma"):
            nn.init.constant_(parameter, value)
    return model


def error_of(model, x, **options):
    """Return the number of sites by kind and the relative error of random matrices at all of them."""
    before = model(x)
    sites = matrix_sites(model, x)
    part = random_matrices(sites, generator=torch.Generator().manual_seed(2), **options)
    taken = named_tensors(model)
    old = {name: p.detach().clone() for name, p in taken.items()}
    teleport(model, Element(symmetries(model, x), (part,)))
    kinds = [site.kind for site in sites]
    moved = {id(p) for name, p in taken.items() if not torch.equal(p, old[name])}
    assert moved == {id(taken[name]) for site in sites for name in site.parameters}
    after = model(x)
    error = float((after - before).detach().norm() / before.detach().norm())
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}, error


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Attention(), {"linear": 4}),
        (Attention(fast=True), {"linear": 4}),
        (Attention(fused=False), {"linear": 4}),
        (Attention(fused=False, fast=True), {"linear": 4}),
        (Attention(fused=False, fast=True, shared=True), {"linear": 2}),
        (Attention(heads=1), {"linear": 2}),
        (Multihead(), {"linear": 4}),
        (Multihead(bias=False), {"linear": 4}),
        (Multihead(add_bias_kv=True), {"linear": 4}),
        (Multihead(add_zero_attn=True), {"linear": 4}),
        (Cross(), {"linear": 4}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_attention_has_a_matrix_for_queries_and_keys_and_one_for_values_of_each_head(model, expected):
    kinds, error = error_of(prepared(model), SEQUENCE)
    assert kinds == expected
    assert error <= 1e-12


def test_rotary_embeddings_leave_values_alone_free():
    sites = matrix_sites(prepared(Attention(fused=False, rotary=True)), SEQUENCE)
    assert [site.name for site in sites] == ["v.weight[0]", "v.weight[4]"]
    kinds, error = error_of(prepared(Attention(rotary=True)), SEQUENCE)
    assert kinds == {"linear": 2}
    assert error <= 1e-12


def test_norms_of_queries_and_keys_allow_rotations_once_their_gains_are_uniform():
    model = prepared(Attention(fused=False, query_norm=True))
    assert [site.kind for site in matrix_sites(model, SEQUENCE)] == ["linear", "linear"]
    kinds, error = error_of(set_gains(model, 0.7), SEQUENCE)
    assert kinds == {"orthogonal": 2, "linear": 2}
    assert error <= 1e-12


def test_shared_keys_take_one_matrix_with_all_their_queries():
    model = prepared(Attention(fused=False, fast=True, shared=True))
    scores, values = matrix_sites(model, SEQUENCE)
    assert {p.view.name: p.indices.tolist() for p in scores.places} == {
        "q.weight": [[0, 1, 2, 3], [4, 5, 6, 7]],
        "q.bias": [[0, 1, 2, 3], [4, 5, 6, 7]],
        "k.weight": [[0, 1, 2, 3]],
        "k.bias": [[0, 1, 2, 3]],
    }
    signs = {p.view.name: set(p.powers.tolist()) for p in scores.places}
    assert signs["q.weight"] == signs["q.bias"] == {1}
    assert signs["k.weight"] == signs["k.bias"] == {-1}
    assert values.parameters == ("v.weight", "out.weight")


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("norm", "kind"), [(nn.RMSNorm, "orthogonal"), (nn.LayerNorm, "rotation about ones")]
)
def test_residual_stream_under_uniform_gains_rotates(norm, kind, tied):
    model = set_gains(prepared(LanguageModel(norm, tied=tied)))
    kinds, error = error_of(model, TOKENS)
    assert kinds == {kind: 1, "linear": 8}
    assert error <= 1e-12


def test_residual_stream_under_gains_does_not_rotate():
    kinds, error = error_of(prepared(LanguageModel(nn.RMSNorm)), TOKENS)
    assert kinds == {"linear": 8}
    assert error <= 1e-12


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_class_tokens_positions_and_patches_rotate_with_the_stream(pool):
    model = set_gains(prepared(VisionModel(nn.RMSNorm, pool)))
    stream = next(site for site in matrix_sites(model, IMAGES) if site.kind == "orthogonal")
    assert {"patches.weight", "patches.bias", "token", "position", "head.weight"} <= set(stream.parameters)
    kinds, error = error_of(model, IMAGES)
    assert kinds["orthogonal"] == 1
    assert error <= 1e-12


def test_norm_written_by_hand_counts_as_one():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            x = self.first(x)
            x = x - x.mean(-1, keepdim=True)
            return self.second(x / (x * x).mean(-1, keepdim=True).add(1e-5).sqrt())

    kinds, error = error_of(prepared(Net()), SEQUENCE[..., :4])
    assert kinds == {"rotation about ones": 1}
    assert error <= 1e-12


def test_low_rank_factors_and_flattened_convolutions_take_any_matrix():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.up = nn.Linear(8, 3), nn.Linear(3, 8)
            self.maps, self.grouped = nn.Conv1d(5, 4, 3, padding=1), nn.Conv1d(4, 4, 3, groups=2)
            self.head = nn.Linear(4 * 6, 2)

        def forward(self, x):
            x = torch.relu(x + self.up(self.down(x)))
            return self.head(self.grouped(self.maps(x)).flatten(1))

    model = prepared(Net())
    sites = {site.name: site.size for site in matrix_sites(model, SEQUENCE)}
    assert sites == {
        "down.weight[0]": 3,
        "maps.weight[0]": 2,
        "maps.weight[2]": 2,
        "grouped.weight[0]": 2,
        "grouped.weight[2]": 2,
    }
    assert error_of(model, SEQUENCE)[1] <= 1e-12


def test_whatever_is_not_understood_is_left_alone():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(8, 6), nn.Linear(6, 8), nn.Linear(6, 4)

        def forward(self, x):
            hidden = self.a(x)
            return self.b(hidden), self.c(torch.cumsum(hidden, -1)), hidden.topk(2).values

    assert matrix_sites(prepared(Net()), SEQUENCE) == ()


def test_weight_that_is_also_read_by_the_input_stays():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared, self.head = nn.Linear(8, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.shared(self.shared(x)))

    assert matrix_sites(prepared(Net()), SEQUENCE) == ()


def test_layer_used_twice_takes_one_matrix():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.shared, self.head = nn.Linear(8, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            x = self.first(x)
            return self.head(x + self.shared(self.shared(x)))

    kinds, error = error_of(prepared(Net()), SEQUENCE)
    assert kinds == {"linear": 1}
    assert error <= 1e-12


def test_weights_that_are_made_of_others_stay():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.randn(6, 8)), nn.Linear(6, 2)

        def forward(self, x):
            return self.head(F.linear(x, F.normalize(self.weight, dim=1)))

    assert matrix_sites(prepared(Net()), SEQUENCE) == ()


def test_writing_into_a_slice_is_a_barrier():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, x):
            hidden = self.first(x)
            hidden[..., 0] = 1.0
            return self.head(hidden)

    assert matrix_sites(prepared(Net()), SEQUENCE) == ()


def test_adding_in_place_is_followed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 2)

        def forward(self, x):
            hidden = self.first(x)
            hidden += self.second(x)
            return self.head(hidden * 0.5)

    model = prepared(Net())
    (site,) = matrix_sites(model, SEQUENCE)
    assert set(site.parameters) == {
        "first.weight", "first.bias", "second.weight", "second.bias", "head.weight"
    }  # fmt: skip
    assert error_of(model, SEQUENCE)[1] <= 1e-12


def test_graph_of_a_model_has_its_sites():
    model = prepared(Block(nn.RMSNorm))
    graph = build_from_unstructured_module(model, (SEQUENCE,), copy=True)
    assert [site.name for site in matrix_sites(graph, SEQUENCE)] == [
        site.name for site in matrix_sites(model, SEQUENCE)
    ]
    assert error_of(graph, SEQUENCE)[1] <= 1e-12


def test_float32_models_keep_their_function():
    model = prepared(Attention()).float()
    kinds, error = error_of(model, SEQUENCE.float())
    assert kinds == {"linear": 4}
    assert error <= 1e-5
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_bad_conditioning_costs_digits_and_no_more():
    errors = [error_of(prepared(Attention()), SEQUENCE, condition=c)[1] for c in (1.0, 1e2, 1e4)]
    assert errors[0] <= 1e-14
    assert errors[1] <= 1e-12
    assert errors[2] <= 1e-9
