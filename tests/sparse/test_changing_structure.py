"""Weights that come and go during training: values, gradients and the optimiser's state follow."""

import copy

import pytest
import torch
from torch import nn

from snnkit.sparse import (
    SparseLayer,
    SparsityError,
    StructureChange,
    change_structure,
    convert,
    dense_gradients,
    sparse_layers,
)

OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
    "Adamax": lambda p: torch.optim.Adamax(p, 0.1),
    "NAdam": lambda p: torch.optim.NAdam(p, 0.1),
    "RAdam": lambda p: torch.optim.RAdam(p, 0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.1),
    "ASGD": lambda p: torch.optim.ASGD(p, 0.1),
    "Adadelta": lambda p: torch.optim.Adadelta(p, 0.1),
}


def make(**settings) -> SparseLayer:
    return SparseLayer(16, 8, density=0.5, generator=torch.Generator().manual_seed(1), **settings)


def step(layer: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> torch.Tensor:
    optimizer.zero_grad()
    loss = layer(x).square().sum()
    loss.backward()
    optimizer.step()
    return loss


def spread(layer: SparseLayer, numbers: torch.Tensor) -> torch.Tensor:
    return torch.zeros(layer.shape).index_put(layer.coordinates(), numbers)


@pytest.mark.parametrize("kind", ["csr", "coo", "csc"])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_survivors_keep_their_state_and_new_weights_start_at_zero(name, kind):
    layer, x = make(format=kind), torch.randn(4, 16)
    optimizer = OPTIMISERS[name](layer.parameters())
    kept_alive = [step(layer, optimizer, x) for _ in range(3)]
    before, weight, gradient = layer.mask(), layer.dense_weight().detach(), spread(layer, layer.values.grad)
    state = {key: value for key, value in optimizer.state[layer.values].items() if value is not None}
    old = {key: spread(layer, value) for key, value in state.items() if value.shape == layer.values.shape}
    parameter, after = layer.values, before.flip(0)
    change = change_structure(layer, after, optimizer=optimizer)
    survivors = before & after
    assert change == StructureChange(*(int(m.sum()) for m in (survivors, before & ~after, after & ~before)))
    assert layer.values is parameter
    assert torch.equal(layer.mask(), after)
    assert torch.equal(layer.dense_weight(), weight * survivors)
    assert torch.equal(spread(layer, layer.values.grad), gradient * survivors)
    for key, value in old.items():
        first = optimizer.defaults["lr"] if key == "step_size" else 0.0  # of Rprop, where it starts
        wanted = torch.where(survivors, value, first * after)
        assert torch.equal(spread(layer, optimizer.state[layer.values][key]), wanted), key
    kept_alive += [step(layer, optimizer, x) for _ in range(3)]
    assert torch.isfinite(layer.values).all()


def test_training_goes_on_as_with_a_mask():
    torch.manual_seed(0)
    layer, x = make(format="csr"), torch.randn(4, 16)
    dense = nn.Parameter(layer.dense_weight().detach().clone())
    mask = layer.mask()
    ours = torch.optim.SGD([layer.values], 0.01, momentum=0.9)
    theirs = torch.optim.SGD([dense], 0.01, momentum=0.9)
    bias = layer.bias.detach()
    layer.bias.requires_grad_(False)
    for turn in range(12):
        if turn % 4 == 3:
            keep = torch.rand(8, 16) < 0.7
            change_structure(layer, mask & keep, optimizer=ours)
            mask = mask & keep
            dense.data *= mask
            theirs.state[dense]["momentum_buffer"] *= mask
        loss = layer(x).square().sum()
        other = nn.functional.linear(x, dense * mask, bias).square().sum()
        for optimizer, value in ((ours, loss), (theirs, other)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    assert torch.allclose(layer.dense_weight(), dense * mask, atol=1e-6)


def test_indices_in_any_order():
    layer = make()
    places = layer.flat_indices()[torch.randperm(layer.nnz)][:20]
    weight = layer.dense_weight().detach()
    assert change_structure(layer, indices=places) == StructureChange(20, 44, 0)
    mask = torch.zeros(128, dtype=torch.bool).index_fill_(0, places, True).view(8, 16)
    assert torch.equal(layer.dense_weight(), weight * mask)


def test_masks_of_zeros_and_ones():
    for dtype in (torch.bool, torch.float32, torch.int64):
        layer = make()
        mask = torch.rand(8, 16) < 0.3
        change_structure(layer, mask.to(dtype))
        assert torch.equal(layer.mask(), mask)


def test_blocks_change_whole():
    layer = make(format="bsr")
    blocks = torch.zeros(2, 4, dtype=torch.bool)
    blocks[0, 1] = blocks[1, 3] = True
    mask = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1)
    weight = layer.dense_weight().detach()
    change_structure(layer, mask)
    assert torch.equal(layer.mask(), mask)
    assert torch.equal(layer.dense_weight(), weight * mask)
    mask[0, 4] = False
    with pytest.raises(SparsityError, match="1 would be stored in part"):
        change_structure(layer, mask)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either a mask or indices"),
        ({"mask": torch.ones(8, 16), "indices": torch.arange(3)}, "either a mask or indices"),
        ({"mask": torch.ones(16, 8, dtype=torch.bool)}, r"\(16, 8\)"),
        ({"mask": torch.full((8, 16), 0.5)}, "0 and 1"),
        ({"mask": torch.zeros(8, 16, dtype=torch.bool)}, "Nothing would be left"),
        ({"indices": torch.tensor([0, 128])}, "from 0 to 127"),
        ({"indices": torch.tensor([-1])}, "from 0 to 127"),
        ({"indices": torch.tensor([5, 6, 5])}, "more than once"),
        ({"indices": torch.tensor([5.0])}, "whole numbers"),
        ({"indices": torch.tensor([[5]])}, "one dimension"),
        ({"indices": torch.tensor([], dtype=torch.int64)}, "Nothing would be left"),
    ],
)
def test_impossible_structures_change_nothing(arguments, message):
    layer, x = make(), torch.randn(3, 16)
    optimizer = torch.optim.Adam(layer.parameters())
    step(layer, optimizer, x)
    before, state = copy.deepcopy(layer.state_dict()), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(SparsityError, match=message):
        change_structure(layer, **arguments, optimizer=optimizer)
    assert all(torch.equal(tensor, layer.state_dict()[name]) for name, tensor in before.items())
    for key, value in optimizer.state_dict()["state"][0].items():
        assert torch.equal(value, state["state"][0][key])


def test_optimisers_without_a_state_for_each_weight_are_refused():
    layer, x = make(), torch.randn(3, 16)
    optimizer = torch.optim.LBFGS(layer.parameters())

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = layer(x).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    before = layer.mask()
    with pytest.raises(SparsityError, match="LBFGS"):
        change_structure(layer, before.flip(0), optimizer=optimizer)
    assert torch.equal(layer.mask(), before)


def test_a_load_keeps_the_parameter_in_the_optimiser():
    layer, x = make(format="csr"), torch.randn(3, 16)
    optimizer = torch.optim.SGD(layer.parameters(), 0.1)
    loss = step(layer, optimizer, x)
    state = SparseLayer(16, 8, density=0.1).state_dict()
    layer.load_state_dict(state)
    before = layer.values.detach().clone()
    assert len(before) == 13
    assert torch.isfinite(loss + step(layer, optimizer, x))
    assert not torch.equal(layer.values, before)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_masked_convolutions_follow_the_same_rules(kind):
    torch.manual_seed(0)
    conv = kind(4, 6, 3, padding=1, groups=2, padding_mode="circular")
    x = torch.randn(2, 4, *[5] * (conv.weight.dim() - 2))
    mask = torch.rand(conv.weight.shape) < 0.5
    layer = convert(conv, "masked", mask)
    reference = copy.deepcopy(conv)
    reference.weight.data *= mask
    assert torch.allclose(layer(x), reference(x))
    optimizer = torch.optim.Adam(layer.parameters(), 0.01, weight_decay=0.1)
    for _ in range(3):
        step(layer, optimizer, x)
    assert torch.equal(layer.weight != 0, mask)
    parameter, weight, after = layer.weight, layer.weight.detach().clone(), mask.flip(0)
    change = change_structure(layer, after, optimizer=optimizer)
    assert layer.weight is parameter
    assert change.kept == int((mask & after).sum())
    assert torch.equal(layer.weight, weight * (mask & after))
    assert not optimizer.state[parameter]["exp_avg"][~(mask & after)].any()
    step(layer, optimizer, x)
    assert layer.nnz == int(after.sum())
    assert set(sparse_layers(nn.Sequential(layer))) == {"0"}


def test_dense_gradients_are_those_of_the_dense_weight():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), make())
    dense = copy.deepcopy(model)
    model[0] = convert(model[0], "masked", torch.rand(3, 1, 3, 3) < 0.5)
    dense[0].weight.data *= model[0].mask()
    model[2] = SparseLayer(48, 8, density=0.2)
    dense[2] = convert(model[2], "dense")
    x = torch.randn(2, 1, 6, 6)
    with dense_gradients(model) as found:
        for _ in range(2):
            model(x).square().sum().backward()
    for _ in range(2):
        dense(x).square().sum().backward()
    assert set(found) == {model[0], model[2]}
    for place in (0, 2):
        assert torch.allclose(found[model[place]], dense[place].weight.grad, atol=1e-4)
    assert torch.allclose(found[model[2]][model[2].coordinates()], model[2].values.grad, atol=1e-4)
    assert not any(layer._forward_hooks for layer in model)
    with dense_gradients(model[2]) as found:
        model[2](torch.randn(48)).sum().backward()
    assert found[model[2]].shape == (8, 48)
