"""Teleporting changes a model in place, wholly or not at all, and nothing around it notices."""

import copy

import pytest
import torch
from coupling_models import CASES, case
from torch import nn
from torch.nn import functional as F

from snnkit.dag import build_from_unstructured_module
from snnkit.experiments.models import build_model
from snnkit.teleport import (
    SAMPLINGS,
    Element,
    TeleportError,
    random,
    random_teleport,
    symmetries,
    teleport,
)


def _error(model: nn.Module, inputs: tuple[torch.Tensor, ...], before: torch.Tensor) -> float:
    with torch.no_grad():
        return float((model(*inputs) - before).abs().max() / before.abs().max())


@pytest.mark.parametrize("name", CASES)
def test_the_function_stays_in_all_samplings(name):
    model, inputs = case(name)
    found = symmetries(model, inputs)
    with torch.no_grad():
        before = model(*inputs)
    for seed, sampling in enumerate(SAMPLINGS):
        generator = torch.Generator().manual_seed(seed)
        teleport(model, random(found, 0.9, sampling, generator=generator, permutations=True))
        assert _error(model, inputs, before) < 1e-12, sampling


MODELS = (
    "MLP",
    "VGG11",
    "VGG11_bn",
    "ResNet18",
    "ResNeXt50",
    "WideResNet",
    "DenseNet121",
    "UNet",
    "ViT",
    "MobileNet",
)


@pytest.mark.parametrize("name", MODELS)
def test_errors_of_known_architectures(name):
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        generator = torch.Generator().manual_seed(0)
        model = build_model(name, (3, 32, 32), 10, small=True, generator=generator).to(dtype).eval()
        inputs = (torch.randn(2, 3, 32, 32, generator=generator, dtype=dtype),)
        with torch.no_grad():
            before = model(*inputs)
        element = random_teleport(model, inputs, 0.9, "inter_landscape", generator, permutations=True)
        assert _error(model, inputs, before) < bound
        teleport(model, element.inverse())
        assert _error(model, inputs, before) < bound


@pytest.mark.parametrize("name", ["MLP", "VGG11", "UNet", "ViT"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_powers_of_two_are_exact_to_the_bit(name, dtype):
    model = build_model(name, (3, 32, 32), 10, small=True, generator=torch.Generator().manual_seed(1))
    model = model.to(dtype).eval()
    x = torch.randn(2, 3, 32, 32, dtype=dtype)
    weights = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        before = model(x)
    element = random(symmetries(model, x, batch_norm="fixed"), 4, "powers_of_two")
    teleport(model, element)
    assert not all(torch.equal(model.state_dict()[key], weights[key]) for key in weights)
    with torch.no_grad():
        assert torch.equal(model(x), before)
    teleport(model, element.inverse())
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in weights)


@pytest.mark.parametrize("batch_norm", ["gain", "fixed"])
def test_batch_norms_are_exact_to_the_bit_where_the_variance_stays(batch_norm):
    model, inputs = case("resnet")
    with torch.no_grad():
        before = model(*inputs)
    found = symmetries(model, inputs, batch_norm=batch_norm)
    statistics = symmetries(model, inputs)
    assert found.n_scales < statistics.n_scales if batch_norm == "fixed" else found.n_scales > 0
    element = random(found, 4, "powers_of_two")
    weights = copy.deepcopy(model.state_dict())
    teleport(model, element)
    with torch.no_grad():
        assert torch.equal(model(*inputs), before)
    teleport(model, element.inverse())
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in weights)


def test_batch_norm_in_training_is_equal_up_to_epsilon():
    model, inputs = case("resnet")
    model.train()
    twin = copy.deepcopy(model)
    random_teleport(model, inputs, 0.5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = model(*inputs), twin(*inputs)
    assert 0 < float((one - other).abs().max() / other.abs().max()) < 1e-2
    for module in (*model.modules(), *twin.modules()):
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-14
    with torch.no_grad():
        one, other = model(*inputs), twin(*inputs)
    assert float((one - other).abs().max() / other.abs().max()) < 1e-9


def test_parameters_stay_the_same_objects_and_optimisers_valid():
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    held = [(id(p), p.data_ptr()) for p in model.parameters()]
    x = torch.randn(5, 3)
    random_teleport(model, x)
    assert [(id(p), p.data_ptr()) for p in model.parameters()] == held
    before = model(x)
    before.square().mean().backward()
    optimiser.step()
    assert not torch.equal(model(x), before)
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())


def test_weights_load_into_the_plain_class():
    model, inputs = case("densenet")
    random_teleport(model, inputs, 0.9, permutations=True)
    plain, _ = case("densenet", seed=5)
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(plain(*inputs), model(*inputs))


def test_an_element_fits_copies_and_graphs_of_the_model():
    model, inputs = case("resnet")
    twin, graph = copy.deepcopy(model), build_from_unstructured_module(model, inputs, copy=True)
    element = random_teleport(model, inputs, 0.9, permutations=True)
    teleport(twin, element)
    teleport(graph, element)
    with torch.no_grad():
        assert torch.equal(twin(*inputs), model(*inputs))
        assert torch.equal(graph(*inputs), model(*inputs))


def test_buffers_and_frozen_parameters_take_part():
    model, inputs = case("resnet")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = model(*inputs)
    statistics = model.stem[1].running_var.clone()
    random_teleport(model, inputs, 0.9)
    assert not torch.equal(model.stem[1].running_var, statistics)
    assert _error(model, inputs, before) < 1e-12


def _pair() -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(4, 3)


def test_nothing_changes_if_numbers_would_overflow():
    model, x = _pair()
    found = symmetries(model, x)
    weights = copy.deepcopy(model.state_dict())
    for factor, message in ((1e300, "overflow"), (1e-300, "overflow|too small")):
        with pytest.raises(TeleportError, match=message):
            teleport(model, found.element(torch.full((6,), factor, dtype=torch.float64)))
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in weights)


def test_nothing_changes_if_a_part_fails():
    model, x = _pair()
    found = symmetries(model, x)
    weights = copy.deepcopy(model.state_dict())

    class Broken(type(found.element().then(found.element(torch.full((6,), 2.0))).parts[0])):
        def apply(self, tensors):
            raise RuntimeError("no")

    parts = (*found.element(torch.full((6,), 2.0)).parts, Broken(found, {"0.weight": torch.full((6,), 3.0)}))
    with pytest.raises(RuntimeError, match="no"):
        teleport(model, Element(found, parts))
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.append(nn.Linear(2, 2)), None),
        (lambda m: setattr(m, "0", nn.Linear(3, 7)), r"\(7, 3\) instead of \(6, 3\)"),
        (lambda m: setattr(m, "0", nn.Linear(3, 6, bias=False)), "0.bias is missing"),
        (lambda m: m.to("meta"), "meta device"),
        (lambda m: setattr(m[2], "bias", nn.Parameter(m[0].bias.data[:2])), "shares memory"),
    ],
)
def test_models_that_do_not_fit(change, message):
    model, x = _pair()
    element = random(symmetries(model, x))
    change(model)
    if message is None:
        teleport(model, element)
        return
    with pytest.raises(TeleportError, match=message):
        teleport(model, element)


def test_models_that_tie_otherwise_or_share_memory_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    element = random(symmetries(model, torch.randn(1, 4)))
    model[2].weight = model[0].weight
    with pytest.raises(TeleportError, match="tied"):
        teleport(model, element)
    model[2].weight = nn.Parameter(model[0].weight.data)
    with pytest.raises(TeleportError, match="shares memory"):
        teleport(model, element)
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    tied[2].weight = tied[0].weight
    found = symmetries(tied, torch.randn(1, 4))
    tied[2].weight = nn.Parameter(tied[0].weight.detach().clone())
    with pytest.raises(TeleportError, match="not tied"):
        teleport(tied, random(found, permutations=True, generator=torch.Generator().manual_seed(1)))


def test_half_precision():
    model, x = _pair()
    model, x = model.to(torch.bfloat16), x.to(torch.bfloat16)
    before = model(x)
    element = random(symmetries(model, x), 2, "powers_of_two")
    teleport(model, element)
    assert model[0].weight.dtype == torch.bfloat16
    assert torch.equal(model(x), before)


def test_reasons_name_the_operation_and_the_line():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.two(F.gelu(self.one(x)))

    found = symmetries(Net(), torch.randn(1, 3))
    (reason,) = found.why("one.weight")
    assert "gelu is not homogeneous" in reason
    assert "test_teleport_in_place.py" in reason
    assert found.why("two.weight") == ("output 0 of the model",)
    assert "no scale, because of" in repr(found)


def test_the_model_is_not_run_on_real_numbers_and_stays_as_it_is():
    model, inputs = case("resnet")
    model.train()
    weights = copy.deepcopy(model.state_dict())
    symmetries(model, tuple(x.to("meta") for x in inputs))
    assert model.training
    assert all(torch.equal(model.state_dict()[key], weights[key]) for key in weights)
