"""What would be a wrong result without a word: each is an error, or right."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from snnkit.sparse import (
    SparseLayer,
    SparsityError,
    change_structure,
    convert,
    convert_model,
    dense_gradients,
)
from snnkit.sparse.formats import FORMATS

MODES = ("sparse", "dense", "events", "auto")


def make(format: str = "csr", mode: str = "sparse", density: float = 0.4) -> SparseLayer:
    generator = torch.Generator().manual_seed(1)
    return SparseLayer(12, 8, format=format, mode=mode, density=density, generator=generator)


def moved(layer: SparseLayer) -> torch.Tensor:
    """Return other places, as many."""
    free = (~layer.mask()).view(-1).nonzero().view(-1)
    return torch.cat([layer.flat_indices()[1:], free[:1]])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_values_of_another_number_are_refused_before_anything_is_read(kind, mode):
    layer = make(kind, mode)
    with pytest.raises(SparsityError, match="values do not belong"):
        torch.func.functional_call(layer, {"values": torch.randn(layer.nnz - 3)}, (torch.randn(5, 12),))


def test_complex_weights_are_refused():
    with pytest.raises(SparsityError, match="real numbers"):
        convert(nn.Linear(4, 4, dtype=torch.complex64), "csr")
    with pytest.raises(SparsityError, match="real numbers"):
        make().to(torch.complex64)(torch.randn(3, 12, dtype=torch.complex64))


def test_compiled_graphs_of_an_earlier_structure_are_refused():
    layer = make()
    y = torch.compile(layer, backend="aot_eager")(torch.randn(5, 12, requires_grad=True))
    change_structure(layer, indices=moved(layer))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_graphs_of_gradients_of_an_earlier_structure_are_refused():
    layer, x = make(), torch.randn(5, 12, requires_grad=True)
    (g,) = torch.autograd.grad(layer(x).pow(2).sum(), x, create_graph=True)
    change_structure(layer, indices=moved(layer))
    with pytest.raises(SparsityError, match="structure of a sparse layer was changed"):
        g.sum().backward()


def test_graphs_of_an_earlier_mask_of_a_convolution_are_refused():
    layer = convert(nn.Conv2d(2, 3, 3), "masked", torch.ones(3, 2, 3, 3, dtype=torch.bool))
    y = layer(torch.randn(1, 2, 5, 5))
    mask = layer.mask()
    mask[0] = False
    assert layer.nnz == 54
    assert change_structure(layer, mask).dropped == 18
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_averages_of_models_follow_training(kind):
    torch.manual_seed(0)
    model = nn.Sequential(make(kind), nn.ReLU(), nn.Linear(8, 2))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    wanted, x = model[0].dense_weight().detach(), torch.randn(5, 12)
    for step in range(3):
        optimizer.zero_grad()
        model(x.requires_grad_()).pow(2).sum().backward()
        optimizer.step()
        average.update_parameters(model)
        now = model[0].dense_weight().detach()
        wanted = now if step == 0 else (wanted + now) / 2
    assert torch.allclose(average.module[0].dense_weight(), wanted)
    assert torch.allclose(average.module[0](x), x @ wanted.T + average.module[0].bias, atol=1e-6)


def test_averages_with_places_of_another_structure_are_refused():
    model = nn.Sequential(make())
    average = AveragedModel(model)
    average.update_parameters(model)
    places = moved(model[0])
    change_structure(model[0], indices=places)
    average.update_parameters(model)
    for use in (lambda layer: layer(torch.ones(12)), SparseLayer.mask, SparseLayer.state_dict):
        with pytest.raises(SparsityError, match="written over"):
            use(average.module[0])


def test_averages_of_one_structure_after_another_go_on():
    model = nn.Sequential(make())
    average = AveragedModel(model)
    average.update_parameters(model)
    places = moved(model[0])
    for layer in (model[0], average.module[0]):
        change_structure(layer, indices=places)
    average.update_parameters(model)
    assert torch.allclose(average.module[0].dense_weight(), model[0].dense_weight())


def test_averaged_places_are_refused():
    model = nn.Sequential(make())
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    with pytest.raises(SparsityError, match="do not average buffers"):  # noqa: PT012 - at some step
        for _ in range(20):
            average.update_parameters(model)
            average(torch.ones(2, 12))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["dense", "auto"])
def test_dense_products_are_compiled_and_exported(kind, mode):
    torch._dynamo.reset()
    layer, x = make(kind, mode, density=0.9), torch.randn(40, 12, requires_grad=True)
    y = torch.compile(layer, backend="aot_eager", fullgraph=True)(x)
    found = torch.autograd.grad(y.pow(2).sum(), (x, layer.values))
    wanted = torch.autograd.grad(layer(x).pow(2).sum(), (x, layer.values))
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    sizes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(layer, (x.detach(),), dynamic_shapes=sizes).module()
    assert torch.allclose(program(x[:3]), layer(x[:3]), atol=1e-6)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_partial_state_dict_loads_what_is_there(kind):
    layer, before = make(kind), make(kind).dense_weight()
    report = layer.load_state_dict({"bias": torch.full((8,), 7.0), "odd": torch.ones(1)}, strict=False)
    assert set(report.missing_keys) == {"values", "crow_indices", "col_indices"}
    assert report.unexpected_keys == ["odd"]
    assert (layer.bias == 7).all()
    assert torch.equal(layer.dense_weight(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("crow_indices"), "crow_indices are missing beside values, col_indices"),
        (lambda state: state.update(values=[1.0, 2.0]), "values must be tensors"),
        (lambda state: state.update(values=state["values"] * 1j), "real numbers"),
        (lambda state: state.update(weight=torch.ones(8, 12)), 'Unexpected key.*"weight"'),
    ],
)
def test_half_a_structure_is_refused(change, message):
    layer = make()
    state = make().state_dict()
    change(state)
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict(state, strict=True)


def test_blocks_are_loaded_from_any_dense_weight():
    layer, weight = make("bsr"), torch.randn(8, 12) * (torch.arange(96).view(8, 12) % 7 == 0)
    layer.load_state_dict({"weight": weight, "bias": torch.zeros(8)})
    assert torch.equal(layer.dense_weight(), weight)


def test_sparse_layers_of_any_size_are_made_without_a_list_of_all_places():
    layer = SparseLayer(30_000, 30_000, format="csr", density=1e-5)
    assert layer.nnz == 9000
    assert len(layer.flat_indices().unique()) == 9000
    assert 0.4 < (layer.coordinates()[0] < 15_000).float().mean() < 0.6
    assert layer(torch.randn(2, 30_000)).shape == (2, 30_000)


def test_dense_gradients_of_layers_called_by_name():
    layer = make()
    with dense_gradients(layer) as found:
        layer(x=torch.ones(3, 12)).sum().backward()
    assert torch.equal(found[layer], torch.full((8, 12), 3.0))


def with_extra(layer: nn.Linear) -> nn.Linear:
    layer.register_buffer("scale", torch.ones(3))
    return layer


def with_hook(layer: nn.Linear) -> nn.Linear:
    layer.weight.register_hook(lambda gradient: gradient * 0)
    return layer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_extra, "would be lost: scale"),
        (with_hook, "it has hooks"),
        (lambda layer: prune.l1_unstructured(layer, "bias", 0.5), "torch.nn.utils.prune has masked it"),
        (nn.utils.spectral_norm, "it has hooks"),
    ],
)
def test_what_a_conversion_would_lose_is_an_error(change, message):
    with pytest.raises(SparsityError, match=message):
        convert(change(nn.Linear(3, 3)), "csr")


def test_tied_biases_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].bias = model[0].bias
    with pytest.raises(SparsityError, match="0 shares its bias with 1"):
        convert_model(model, nn.Linear, "csr")
    assert isinstance(model[0], nn.Linear)


def test_layers_on_the_meta_device_say_how_they_are_loaded():
    with pytest.raises(RuntimeError, match="load with assign=True"):
        make().to("meta").load_state_dict(make().state_dict())


def test_whole_numbers_of_numpy_are_sizes():
    layer = SparseLayer(np.int64(3), np.int32(4))
    assert layer.shape == (4, 3)
    assert all(type(size) is int for size in layer.shape)


def test_new_weights_move_under_rprop():
    layer = make()
    optimizer = torch.optim.Rprop(layer.parameters(), lr=0.01)
    layer(torch.ones(12)).sum().backward()
    optimizer.step()
    change_structure(layer, torch.ones(8, 12), optimizer=optimizer)
    before = layer.values.detach().clone()
    optimizer.zero_grad()
    layer(torch.ones(12)).sum().backward()
    optimizer.step()
    assert ((layer.values - before).abs() > 0.009).all()
