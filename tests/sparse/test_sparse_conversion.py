"""Layers and models from one form to another, and models that cannot be converted."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from snnkit.sparse import (
    MaskedConv2d,
    SparseLayer,
    SparsityError,
    convert,
    convert_model,
    memory,
    report,
    sparse_layers,
)
from snnkit.sparse.formats import FORMATS
from snnkit.sparse.structure import Compressed, Pattern


def sparse_linear(bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    layer = nn.Linear(16, 8, bias=bias)
    with torch.no_grad():
        layer.weight[torch.rand(8, 16) < 0.6] = 0
    return layer


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("bias", [True, False])
def test_zeros_drop_out_and_the_way_back_is_exact(kind, bias):
    linear = sparse_linear(bias)
    before = copy.deepcopy(linear.state_dict())
    layer = convert(linear, kind)
    assert isinstance(layer, SparseLayer)
    assert layer.format == kind
    if kind != "bsr":
        assert layer.nnz == int((linear.weight != 0).sum())
    x = torch.randn(3, 16)
    assert torch.allclose(layer(x), linear(x), atol=1e-6)
    back = convert(layer, "dense")
    assert type(back) is nn.Linear
    assert torch.equal(back.weight, linear.weight)
    with torch.no_grad():
        layer.values.zero_()
    assert all(torch.equal(tensor, linear.state_dict()[name]) for name, tensor in before.items())
    assert all(layer.values.data_ptr() != parameter.data_ptr() for parameter in linear.parameters())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("other", FORMATS)
def test_sparse_layers_convert_to_each_other(kind, other):
    layer = convert(sparse_linear(), kind)
    layer.set_k(0.2)
    found = convert(layer, other)
    assert (found.format, found.k) == (other, 0.2)
    assert torch.equal(found.dense_weight(), layer.dense_weight())


def test_a_mask_alone_decides():
    linear, mask = sparse_linear(), torch.rand(8, 16) < 0.5
    layer = convert(linear, "csr", mask)
    assert torch.equal(layer.mask(), mask)
    assert torch.equal(layer.dense_weight(), linear.weight * mask)
    assert torch.equal(convert(linear, "dense", mask).weight, linear.weight * mask)
    assert torch.equal(convert(layer, "coo", mask.float()).mask(), mask)


def test_blocks_are_stored_where_any_weight_is():
    linear = nn.Linear(8, 8)
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[5, 2] = 1.0
    layer = convert(linear, "bsr", block=(4, 2))
    assert (layer.nnz, layer.block) == (8, (4, 2))
    assert torch.equal(layer.dense_weight(), linear.weight)


def test_modes_types_and_frozen_parameters_are_kept():
    linear = sparse_linear().double().eval()
    linear.weight.requires_grad_(False)
    layer = convert(linear, "csr")
    assert (layer.values.dtype, layer.training) == (torch.float64, False)
    assert not layer.values.requires_grad
    assert layer.bias.requires_grad
    assert not convert(layer, "dense").weight.requires_grad


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(16, 16)
        self.body = nn.ModuleDict({"one": nn.Sequential(self.shared, nn.ReLU()), "two": self.shared})
        self.head = nn.Linear(16, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body["two"](self.body["one"](self.shared(x))))


def test_nested_and_shared_layers():
    model, x = Nested(), torch.randn(3, 16)
    y = model(x)
    assert convert_model(model, nn.Linear, "coo", {"head.weight": torch.rand(4, 16) < 2}) is model
    assert torch.allclose(model(x), y, atol=1e-6)
    assert model.shared is model.body["two"] is model.body["one"][0]
    assert list(sparse_layers(model)) == ["shared", "head"]
    convert_model(model, SparseLayer, "dense")
    assert torch.allclose(model(x), y, atol=1e-6)
    assert not sparse_layers(model)


def test_a_model_that_is_a_layer_comes_back_as_another():
    linear = sparse_linear()
    layer = convert_model(linear, nn.Linear, "csr", {"": linear.weight != 0})
    assert isinstance(layer, SparseLayer)
    assert list(sparse_layers(layer)) == [""]


class Renamed(nn.Linear):
    """A subclass that computes what its base does."""


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_subclasses_with_a_forward_of_their_own_are_refused_and_nothing_changes():
    assert isinstance(convert(Renamed(4, 4), "csr"), SparseLayer)
    model = nn.Sequential(nn.Linear(4, 4), Doubled(4, 4), nn.Sequential(Doubled(4, 4)))
    before = list(model.modules())
    with pytest.raises(SparsityError, match="forward") as error:
        convert_model(model, nn.Linear, "csr")
    assert "1: Doubled" in str(error.value)
    assert "2.0: Doubled" in str(error.value)
    assert before == list(model.modules())


def test_transformers_keep_computing_the_same():
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 5, 16)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 3:] = True
    with torch.no_grad():
        y = model(x, src_key_padding_mask=padding)
        convert_model(model, nn.Linear, "csr")
        found = model(x, src_key_padding_mask=padding)
    assert torch.allclose(found[~padding], y[~padding], atol=1e-5)
    assert len(sparse_layers(model)) == 4
    assert type(model.layers[0].self_attn.out_proj) is type(layer.self_attn.out_proj)


def test_masked_convolutions_and_back():
    conv, mask = (
        nn.Conv2d(3, 4, 3, stride=2, padding="valid", dtype=torch.float64),
        torch.rand(4, 3, 3, 3) < 0.4,
    )
    x = torch.randn(2, 3, 9, 9).double()
    layer = convert(conv, "masked", mask)
    assert type(layer) is MaskedConv2d
    assert (layer.nnz, f"nnz={layer.nnz}" in repr(layer)) == (int(mask.sum()), True)
    back = convert(layer, "dense")
    assert type(back) is nn.Conv2d
    assert torch.equal(back(x), layer(x))
    assert torch.equal(convert(back, "masked").mask(), mask & (conv.weight != 0))
    restored = MaskedConv2d(3, 4, 3, stride=2, dtype=torch.float64)
    restored.load_state_dict(layer.state_dict())
    assert torch.equal(restored(x), layer(x))


@pytest.mark.parametrize(
    ("layer", "target", "mask", "message"),
    [
        (nn.Linear(4, 4), "crs", None, "Did you mean 'csr'"),
        (nn.Linear(4, 4), "masked", None, "for convolutions"),
        (nn.Linear(4, 4), "csr", torch.ones(3, 4), r"\(3, 4\)"),
        (nn.Linear(4, 4), "csr", torch.zeros(4, 4), "Nothing would be left"),
        (nn.Linear(4, 4), "bsr", torch.full((4, 4), 2), "0 and 1"),
        (nn.Linear(6, 4), "bsr", None, "does not divide"),
        (nn.Linear(4, 4), "2:4", None, "CUDA"),
        (nn.Conv2d(1, 1, 1), "csr", None, "'masked' or 'dense'"),
        (nn.Conv2d(1, 1, 1), "masked", torch.zeros(1, 1, 1, 1), "Nothing would be left"),
        (nn.ConvTranspose2d(1, 1, 1), "masked", None, "sparse forms exist"),
        (nn.Bilinear(2, 2, 2), "csr", None, "sparse forms exist"),
        (nn.LazyLinear(4), "csr", None, "no sizes yet"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "csr", None, "parametrizations"),
        (prune.l1_unstructured(nn.Linear(4, 4), "weight", 0.5), "csr", None, "prune"),
    ],
)
def test_what_cannot_be_converted(layer, target, mask, message):
    with pytest.raises(SparsityError, match=message):
        convert(layer, target, mask)


def test_layers_with_hooks_and_ties_are_refused():
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda *_: None)
    with pytest.raises(SparsityError, match="hooks"):
        convert(layer, "csr")
    model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 8), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(SparsityError, match="1 shares its weight with 0"):
        convert_model(model, nn.Linear, "csr")
    assert type(model[2]) is nn.Linear
    with pytest.raises(SparsityError, match="Unknown layer '22'"):
        convert_model(
            nn.Sequential(nn.ReLU(), nn.ReLU(), nn.Linear(4, 4)), nn.Linear, "csr", {"22": torch.ones(4, 4)}
        )
    with pytest.raises(SparsityError, match="class of layers"):
        convert_model(model, "Linear", "csr")


def held(thing: object) -> list[torch.Tensor]:
    """Return every tensor that an object holds, however deep."""
    if isinstance(thing, torch.Tensor):
        return [thing]
    if isinstance(thing, dict):
        return [tensor for value in thing.values() for tensor in held(value)]
    if isinstance(thing, list | tuple):
        return [tensor for value in thing for tensor in held(value)]
    return held(vars(thing)) if isinstance(thing, nn.Module | Compressed | Pattern) else []


def storages(model: nn.Module) -> int:
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in held(model)}.values())


@pytest.mark.parametrize("kind", FORMATS)
def test_memory_is_the_sum_of_the_storages(kind):
    model = Nested()
    convert_model(model, nn.Linear, kind, {"shared": torch.eye(16).repeat_interleave(1, 0)})
    assert memory(model).total == int(memory(model)) == storages(model)
    model(torch.randn(3, 16, requires_grad=True)).sum().backward()
    trained = memory(model)
    assert trained.total == storages(model)
    assert memory(model.eval()).total == storages(model)
    if kind in ("csr", "coo"):
        assert memory(model).total < trained.total
    assert memory(model).dense == 4 * (16 * 16 + 16 + 16 * 4)


def test_memory_counts_what_is_shared_once_and_sparse_tensors_in_full():
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, layer, nn.Linear(8, 8))
    model[2].weight = layer.weight
    assert memory(model).total == 4 * (64 + 8 + 8) == storages(model)
    model.register_buffer("part", torch.zeros(100)[:10])
    assert memory(model).total == 4 * (64 + 8 + 8 + 100)
    weight = torch.sparse_csr_tensor(torch.arange(9), torch.arange(8), torch.ones(8), (8, 8))
    model.register_buffer("sparse", weight)
    assert memory(model).total == 4 * (180 + 8) + 8 * (9 + 8)
    masked = convert(nn.Conv2d(1, 2, 3), "masked")
    assert memory(masked).total == 4 * 18 + 18 + 4 * 2
    assert "bytes" in str(memory(masked))


def test_a_report_says_what_sparsity_brings():
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    convert_model(model, nn.Linear, "csr", {"0": torch.rand(32, 64) < 0.1})
    first, last = model[0].nnz, model[2].nnz
    found = report(model, torch.randn(5, 64), repeats=3)
    assert (found.macs, found.dense_macs) == (5 * (first + last), 5 * (64 * 32 + 32 * 4))
    assert (found.weights, found.dense_weights) == (first + last, 64 * 32 + 32 * 4)
    assert found.dense_bytes == 4 * (64 * 32 + 32 + 32 * 4 + 4)
    assert found.memory.total == memory(model).total
    assert found.seconds > 0
    assert found.speedup == found.dense_seconds / found.seconds
    assert f"{found.macs:,}" in str(found)
    assert model.training
    assert isinstance(model[0], SparseLayer)
    assert report(model[0], (torch.randn(64),), repeats=1).macs == first
