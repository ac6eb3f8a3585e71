"""SparseLayer as a module: made, printed, saved, copied, cast, switched, and refused what does not fit."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snnkit.sparse import (
    SparseLayer,
    SparsityError,
    convert,
    new_random_basic_coo,
    new_random_basic_csr,
    prune_sparse_model,
    set_global_k,
)
from snnkit.sparse.formats import FORMATS
from snnkit.utilities.errors import ShapeError


def make(**settings) -> SparseLayer:
    options = {"density": 0.3, "generator": torch.Generator().manual_seed(1), **settings}
    return SparseLayer(40, 24, **options)


def test_users_make_and_print_it_as_they_know_it():
    layer = SparseLayer(in_features=4, out_features=4, bias=True, csr_mode=False, train_mode=True, k=0.05)
    assert repr(layer).startswith(
        "SparseLayer(in_features=4, out_features=4, bias=True, csr_mode=False, k=0.05"
    )
    assert "format=coo" in repr(layer)
    assert "nnz=16" in repr(layer)
    assert "density=1" in repr(layer)
    assert SparseLayer(4, 4, True, True).csr_mode
    assert not SparseLayer(4, 4, train_mode=False).training
    assert layer(torch.ones(4)).shape == (4,)


def test_initial_weights_are_as_large_as_those_of_linear():
    torch.manual_seed(0)
    full, linear = SparseLayer(100, 50), nn.Linear(100, 50)
    assert full.values.std().item() == pytest.approx(linear.weight.std().item(), rel=0.05)
    sparse = SparseLayer(1000, 500, density=0.1)
    x = torch.randn(64, 1000)
    assert sparse(x).std().item() == pytest.approx(nn.Linear(1000, 500)(x).std().item(), rel=0.1)
    assert sparse.nnz == 50_000


def test_places_and_values_follow_the_generator():
    one, other = (make() for _ in range(2))
    assert torch.equal(one.dense_weight(), other.dense_weight())
    assert torch.equal(one.bias, other.bias)


@pytest.mark.parametrize("kind", FORMATS)
def test_weight_is_torchs_sparse_tensor_of_the_format(kind):
    layer = make(format=kind)
    layout = {
        "csr": torch.sparse_csr,
        "coo": torch.sparse_coo,
        "csc": torch.sparse_csc,
        "bsr": torch.sparse_bsr,
    }
    assert layer.weight.layout == layout[kind]
    assert torch.equal(layer.weight.to_dense(), layer.dense_weight())
    rows, columns = layer.coordinates()
    assert torch.equal(layer.dense_weight()[rows, columns], layer.values)
    assert torch.equal(layer.flat_indices(), rows * 40 + columns)
    assert layer.mask().sum() == layer.nnz
    assert layer.density + layer.sparsity == 1


def test_indices_are_int32_where_they_fit():
    for kind, names in FORMATS.items():
        buffers = dict(make(format=kind).named_buffers())
        assert set(buffers) == set(names)
        assert all(tensor.dtype == torch.int32 for tensor in buffers.values())


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("other", FORMATS)
def test_state_dicts_have_one_form_and_fit_any_number_of_weights(kind, other):
    source, target = make(format=kind), make(format=other, density=0.9)
    if other == "bsr" and kind != "bsr":
        source = make(format=kind, density=1.0)
    state = source.state_dict()
    assert list(state) == ["values", "crow_indices", "col_indices", "bias"]
    parameter = target.values
    target.load_state_dict(state)
    assert target.values is parameter
    assert target.format == other
    assert torch.equal(target.dense_weight(), source.dense_weight())
    x = torch.randn(3, 40)
    assert torch.allclose(target(x), source(x), atol=1e-6)


def test_a_state_dict_of_a_dense_layer_fits():
    linear, layer = nn.Linear(40, 24), make()
    with torch.no_grad():
        linear.weight[torch.rand(24, 40) < 0.8] = 0
    layer.load_state_dict(linear.state_dict())
    assert torch.equal(layer.dense_weight(), linear.weight)
    assert layer.nnz == int((linear.weight != 0).sum())


def test_layers_made_without_numbers_are_filled_by_a_state_dict():
    source = make(format="csr")
    with torch.device("meta"):
        target = SparseLayer(40, 24, density=0.1)
    assert {tensor.device.type for tensor in (*target.parameters(), *target.buffers())} == {"meta"}
    target.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(target.dense_weight(), source.dense_weight())


def test_assigned_state_keeps_its_tensors():
    source, target = make(format="csr"), make(density=0.1, format="csr")
    state = source.state_dict()
    target.load_state_dict(state, assign=True)
    assert torch.equal(target.dense_weight(), source.dense_weight())
    x = torch.randn(2, 40)
    assert torch.equal(target(x), source(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("values"), "values"),
        (lambda s: s.update(col_indices=s["col_indices"] + 40), "from 0 to 39"),
        (lambda s: s.update(col_indices=s["col_indices"].flip(0)), "rise within each row"),
        (lambda s: s.update(crow_indices=s["crow_indices"][:-1]), "shape"),
        (lambda s: s.update(crow_indices=s["crow_indices"] * 2), "crow_indices must rise"),
        (lambda s: s.update(crow_indices=s["crow_indices"].float()), "whole numbers"),
        (lambda s: s.update(values=s["values"][:-1]), "shape"),
        (lambda s: s.update(bias=torch.zeros(3)), "bias"),
        (lambda s: s.update(weights=torch.zeros(3)), "weights"),
    ],
)
def test_a_damaged_state_dict_is_refused(change, message):
    layer, state = make(format="csr"), make(format="csr", density=0.5).state_dict()
    before = layer.dense_weight().detach().clone()
    change(state)
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict(state)
    if message not in ("bias", "weights"):
        assert torch.equal(layer.dense_weight(), before)


def test_a_dense_state_of_another_size_is_refused():
    with pytest.raises(RuntimeError, match=r"\(24, 39\)"):
        make().load_state_dict(nn.Linear(39, 24).state_dict())


@pytest.mark.parametrize("kind", FORMATS)
def test_copies_and_pickles(kind):
    layer = make(format=kind)
    x = torch.randn(3, 40, requires_grad=True)
    layer(x).sum().backward()
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copied(x), layer(x))
        copied.prune_smallest_values() if kind != "bsr" else copied.values.data.zero_()
        assert not torch.equal(copied.dense_weight(), layer.dense_weight())


def test_functional_call_takes_other_values():
    layer = make()
    x, values = torch.randn(3, 40), torch.randn(layer.nnz)
    found = torch.func.functional_call(layer, {"values": values}, (x,))
    layer.values.data = values
    assert torch.equal(found, layer(x))


def test_modes_are_torchs_and_eval_frees_what_gradients_need():
    layer = make(format="csr")
    assert layer.train() is layer
    assert layer.training
    layer(torch.randn(3, 40, requires_grad=True)).sum().backward()
    assert layer._turned
    assert layer.eval() is layer
    assert not layer.train_mode
    assert not layer._turned
    x = torch.randn(3, 40, requires_grad=True)
    layer(x).sum().backward()
    assert torch.allclose(x.grad, layer.dense_weight().sum(0).expand(3, 40), atol=1e-6)


@pytest.mark.parametrize("mode", ["dense", "auto"])
@pytest.mark.parametrize("density", [0.05, 0.9])
def test_modes_of_the_product_give_the_same(mode, density):
    layer = make(density=density)
    x, g = torch.randn(16, 40, requires_grad=True), torch.randn(16, 24)
    layer(x).backward(g)
    wanted = (layer(x).detach(), x.grad.clone(), layer.values.grad.clone())
    layer.mode = mode
    layer.zero_grad()
    x.grad = None
    layer(x).backward(g)
    for one, other in zip((layer(x).detach(), x.grad, layer.values.grad), wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    assert f"mode={mode}" in repr(layer)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_its_type(dtype):
    layer = make()
    linear = convert(layer, "dense")
    x = torch.randn(5, 40)
    with torch.autocast("cpu", dtype):
        y, wanted = layer(x), linear(x)
    assert y.dtype == wanted.dtype == dtype
    assert torch.allclose(y.float(), wanted.float(), atol=5 * torch.finfo(dtype).eps)
    y.float().sum().backward()
    assert layer.values.grad.dtype == torch.float32


def test_casts_and_devices_keep_the_indices():
    layer = make(format="csr").double()
    assert layer.values.dtype == torch.float64
    assert layer.crow_indices.dtype == torch.int32
    assert layer(torch.randn(2, 40).double()).dtype == torch.float64
    assert copy.deepcopy(layer).to("meta")(torch.randn(2, 40, device="meta")).shape == (2, 24)


def test_pruning_by_hand():
    layer = make(density=1.0, k=0.25)
    values = layer.values.detach().abs().sort().values
    change = layer.prune_smallest_values()
    assert (change.kept, change.dropped, change.grown) == (720, 240, 0)
    assert torch.equal(layer.values.detach().abs().sort().values, values[240:])
    layer.prune_smallest_values()
    assert layer.nnz == 540
    layer.values.data[:40] = 0
    layer.remove_zeros_from_weight()
    assert layer.nnz == 500
    for _ in range(30):
        layer.prune_smallest_values()
    assert layer.nnz >= 1


def test_blocks_are_pruned_whole():
    layer = make(format="bsr", density=1.0, k=0.5)
    sums = layer.values.detach().view(-1, 16).abs().sum(1).sort().values
    layer.prune_smallest_values()
    assert torch.equal(layer.values.detach().view(-1, 16).abs().sum(1).sort().values, sums[30:])


@pytest.mark.parametrize("layout", ["dense", "csr", "coo"])
def test_another_weight_is_taken_in_any_layout(layout):
    layer = make()
    parameter, weight = layer.values, torch.randn(24, 40) * (torch.rand(24, 40) < 0.2)
    given = {"dense": weight, "csr": weight.to_sparse_csr(), "coo": weight.to_sparse()}[layout]
    layer.assign_new_weight(given)
    assert layer.values is parameter
    assert torch.equal(layer.dense_weight(), weight)


def test_formats_are_switched_in_place():
    layer, x = make(), torch.randn(2, 40)
    y, parameter = layer(x), layer.values
    layer.switch_to_CSR()
    assert layer.is_CSR
    assert layer.weight.layout == torch.sparse_csr
    assert torch.equal(layer(x), y)
    layer.switch_to_COO()
    assert not layer.is_CSR
    assert layer.weight.layout == torch.sparse_coo
    assert layer.values is parameter
    with pytest.raises(SparsityError, match="another order"):
        layer.switch_to("csc")


def test_functions_for_whole_models():
    model = nn.Sequential(new_random_basic_coo(16, 16), nn.ReLU(), nn.Sequential(new_random_basic_csr(16, 3)))
    assert (model[0].format, model[2][0].format) == ("coo", "csr")
    set_global_k(model, 0.5)
    assert model[2][0].k == 0.5
    before = model[0].nnz
    assert set(prune_sparse_model(model, torch.ones(16))) == {"0", "2.0"}
    assert model[0].nnz == before - round(before / 2)
    assert set(prune_sparse_model(model[0])) == {""}
    model.unused = new_random_basic_coo(4, 4, density=0.5)
    reached = model.forward
    model.forward = lambda x: model[0](x)  # noqa: PLW0108 - hooks are of the call
    assert set(prune_sparse_model(model, torch.ones(16))) == {"0"}
    model.forward = reached
    set_global_k(model, 1.0)
    numbers = [layer.nnz for layer in model.modules() if isinstance(layer, SparseLayer)]
    with pytest.raises(SparsityError, match=r"Nothing would be left of 0, 2\.0, unused"):
        prune_sparse_model(model)
    assert numbers == [layer.nnz for layer in model.modules() if isinstance(layer, SparseLayer)]
    with pytest.raises(SparsityError, match="no SparseLayer"):
        set_global_k(nn.Linear(2, 2), 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "cssr"}, "Did you mean 'csr'"),
        ({"csr_mode": True, "format": "coo"}, "contradicts"),
        ({"k": 0}, "above 0"),
        ({"k": 1.5}, "at most 1"),
        ({"k": True}, "above 0"),
        ({"k": float("nan")}, "above 0"),
        ({"density": 0.0}, "density"),
        ({"density": 1.2}, "density"),
        ({"mode": "masked"}, "mode"),
        ({"format": "bsr", "block": (5, 4)}, "does not divide"),
        ({"format": "bsr", "block": (0, 4)}, "does not divide"),
    ],
)
def test_impossible_arguments_are_refused(settings, message):
    with pytest.raises(SparsityError, match=message):
        make(**settings)


def test_impossible_sizes_are_refused():
    for sizes in ((0, 3), (3, -1), (2.5, 3), (True, 3)):
        with pytest.raises(SparsityError, match="whole number from 1"):
            SparseLayer(*sizes)


def test_inputs_that_do_not_fit_are_refused():
    layer = make()
    with pytest.raises(ShapeError, match="40"):
        layer(torch.randn(40, 3))
    with pytest.raises(ShapeError, match="40"):
        layer(torch.tensor(1.0))
    with pytest.raises(SparsityError, match="float64"):
        layer(torch.randn(3, 40).double())
    with pytest.raises(SparsityError, match="to_dense"):
        layer(torch.randn(3, 40).to_sparse())
    with pytest.raises(SparsityError, match="int64"):
        layer(torch.ones(3, 40, dtype=torch.int64))


def test_pruning_everything_away_changes_nothing():
    layer = make(k=1.0)
    before = layer.state_dict()
    with pytest.raises(SparsityError, match="Nothing would be left"):
        layer.prune_smallest_values()
    layer.values.data.zero_()
    with pytest.raises(SparsityError, match="Nothing would be left"):
        layer.remove_zeros_from_weight()
    for weight, message in (
        (torch.zeros(24, 40), "Nothing"),
        (torch.ones(40, 24), "shape"),
        (torch.ones(24, 40).double(), "float64"),
    ):
        with pytest.raises(SparsityError, match=message):
            layer.assign_new_weight(weight)
    assert all(torch.equal(tensor, layer.state_dict()[name]) for name, tensor in before.items())


def test_trained_like_masked_dense():
    torch.manual_seed(0)
    layer, x, target = make(format="csr"), torch.randn(32, 40), torch.randn(32, 24)
    weight, mask = nn.Parameter(layer.dense_weight().detach().clone()), layer.mask()
    bias = nn.Parameter(layer.bias.detach().clone())
    ours = torch.optim.Adam(layer.parameters(), 1e-2)
    theirs = torch.optim.Adam([weight, bias], 1e-2)
    for _ in range(20):
        for optimizer, output in ((ours, layer(x)), (theirs, F.linear(x, weight * mask, bias))):
            optimizer.zero_grad()
            F.mse_loss(output, target).backward()
            optimizer.step()
    assert torch.allclose(layer.dense_weight(), weight * mask, atol=1e-5)
