import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.sparse import SparsityError, convert, convert_model
from snnkit.sparse.pruning import (
    GradualPruning,
    MaskHolder,
    Movement,
    SparseTraining,
    apply_masks,
    hold_masks,
    masks_of,
    prunable_weights,
    prune_masks,
    rewired,
    sparsity_of,
)
from snnkit.utilities.errors import ConfigurationError, ParameterError

OPTIMISERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def steps(model, optimizer, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(12, 8, generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
        optimizer.step()


def state_of(optimizer, parameter):
    state = optimizer.state[parameter]
    return [value for value in state.values() if torch.is_tensor(value) and value.shape == parameter.shape]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_what_a_mask_drops_stays_zero_through_training(name):
    model = network()
    optimizer = OPTIMISERS[name](model.parameters())
    steps(model, optimizer, 3)
    masks = prune_masks(model, 0.7)
    with hold_masks(model, masks, optimizer):
        steps(model, optimizer, 5)
        assert all(torch.equal(mask, masks[key]) for key, mask in masks_of(model).items())
        for weight in prunable_weights(model):
            for value in state_of(optimizer, weight.parameter):
                assert not value[~masks[weight.name]].any()
    steps(model, optimizer, 1)
    assert sparsity_of(model).sparsity < 0.4


def test_survivors_train_as_a_masked_model_does():
    masked, held = network(), network()
    masks = prune_masks(held, 0.6)
    apply_masks(masked, masks)
    for path in ("0", "2"):
        torch.nn.utils.prune.custom_from_mask(masked.get_submodule(path), "weight", masks[f"{path}.weight"])
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (masked, held)]
    hold_masks(held, masks, optimizers[1])
    for model, optimizer in zip((masked, held), optimizers, strict=True):
        steps(model, optimizer, 6)
    masked(torch.zeros(1, 8))
    torch.testing.assert_close(masked[0].weight, held[0].weight)
    torch.testing.assert_close(masked[2].weight, held[2].weight)


@pytest.mark.parametrize("schedule", ["cubic", "cosine", "one-shot"])
def test_gradual_pruning_follows_its_schedule_to_one_weight(schedule):
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    with GradualPruning(model, optimizer, 0.8, begin=2, end=12, schedule=schedule, every=3) as pruning:
        shares = [1 - pruning.reached.sparsity]
        for step in range(1, 16):
            steps(model, optimizer, 1, step)
            shares.append(1 - pruning.reached.sparsity)
            if step in (3, 6, 9, 12):
                aim = 0.8 * pruning.schedule.progress(step)
                assert pruning.reached.kept == 192 - round(aim * 192)
        assert shares == sorted(shares, reverse=True)
        assert pruning.reached.kept == 192 - round(0.8 * 192)


def test_gradual_pruning_prunes_dense_and_sparse_layers_alike():
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    sparse = convert_model(copy.deepcopy(dense), nn.Linear, "csr")
    found = []
    for model in (dense, sparse):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        with GradualPruning(model, optimizer, 0.85, end=12):
            generator = torch.Generator().manual_seed(0)
            for _ in range(15):
                x = torch.randn(12, 8, generator=generator, dtype=torch.float64)
                optimizer.zero_grad()
                F.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
                optimizer.step()
        found.append({weight.name: weight.dense() for weight in prunable_weights(model)})
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight)
    assert sparse[0].nnz + sparse[2].nnz == 192 - round(0.85 * 192)


def test_gradual_pruning_of_a_sparse_model_starts_from_what_it_has():
    model = convert_model(network(), nn.Linear, "csr")
    apply_masks(model, prune_masks(model, 0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with GradualPruning(model, optimizer, 0.9, end=4) as pruning:
        steps(model, optimizer, 1)
        assert pruning.reached.kept == 192 - round((0.5 + 0.4 * (1 - 0.75**3)) * 192)
        steps(model, optimizer, 4)
        assert pruning.reached.kept == 192 - round(0.9 * 192)


def test_gradual_pruning_goes_by_movement():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    movement = Movement(model, optimizer)
    with GradualPruning(model, optimizer, 0.7, end=8, criterion=movement) as pruning:
        steps(model, optimizer, 10)
        assert pruning.reached.kept == 192 - round(0.7 * 192)
        by_size = prune_masks(network(), 0.7)
        assert not torch.equal(by_size["0.weight"], pruning.masks["0.weight"])


@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0, 1), st.floats(0.01, 1))
@settings(deadline=None)
def test_rewiring_keeps_the_number_and_moves_the_share(seed, size, density, fraction):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(size, generator=generator) < density
    magnitude, growth = torch.rand(2, size, generator=generator)
    new = rewired(mask, magnitude, growth, fraction)
    moving = min(round(fraction * int(mask.sum())), int((~mask).sum()))
    dropped, grown = mask & ~new, new & ~mask
    assert int(new.sum()) == int(mask.sum())
    assert int(dropped.sum()) == int(grown.sum()) == moving
    if moving and (mask & new).any():
        assert magnitude[dropped].max() <= magnitude[mask & new].min()
    if moving and (~mask & ~new).any():
        assert growth[grown].min() >= growth[~mask & ~new].max()


@pytest.mark.parametrize("method", ["set", "rigl"])
@pytest.mark.parametrize("kind", ["dense", "csr", "mixed"])
def test_the_number_of_weights_stays_and_their_places_change(method, kind):
    model = network()
    if kind != "dense":
        model[0] = convert(model[0], "csr")
    if kind == "csr":
        model[2] = convert(model[2], "coo")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with SparseTraining(model, optimizer, 0.75, method=method, every=2, end=20) as training:
        start = training.masks
        counts = {name: int(mask.sum()) for name, mask in start.items()}
        for step in range(12):
            steps(model, optimizer, 1, step)
            assert {name: int(mask.sum()) for name, mask in training.masks.items()} == counts
        assert sum(counts.values()) == 48
        assert any(not torch.equal(mask, start[name]) for name, mask in training.masks.items())


@pytest.mark.parametrize("method", ["set", "rigl"])
def test_dense_and_sparse_layers_go_through_the_same_training(method):
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)).double()
    start = prune_masks(dense, 0.7, allocation="erk")
    apply_masks(dense, start)
    sparse = convert_model(copy.deepcopy(dense), nn.Linear, "csr")
    found = []
    for model in (dense, sparse):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        with SparseTraining(model, optimizer, method=method, every=3, end=30, masks=start):
            generator = torch.Generator().manual_seed(0)
            for _ in range(20):
                x = torch.randn(12, 8, generator=generator, dtype=torch.float64)
                optimizer.zero_grad()
                F.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
                optimizer.step()
        found.append({weight.name: weight.dense() for weight in prunable_weights(model)})
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight)
        assert not torch.equal(found[1][name] != 0, start[name])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_new_weights_start_at_zero_and_survivors_keep_their_state(name):
    model = network()
    optimizer = OPTIMISERS[name](model.parameters())
    with SparseTraining(model, optimizer, 0.5, every=4, end=9) as training:
        steps(model, optimizer, 3)
        before = training.masks["0.weight"].clone()
        twin = copy.deepcopy(model)
        twin_optimizer = OPTIMISERS[name](twin.parameters())
        twin_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        hold_masks(twin, training.masks, twin_optimizer)
        steps(twin, twin_optimizer, 1, seed=7)
        steps(model, optimizer, 1, seed=7)
        after = training.masks["0.weight"]
        stayed, grown = before & after, after & ~before
        assert grown.any()
        assert not model[0].weight[grown].any()
        assert torch.equal(model[0].weight[stayed], twin[0].weight[stayed])
        pairs = zip(
            state_of(optimizer, model[0].weight), state_of(twin_optimizer, twin[0].weight), strict=True
        )
        for one, other in pairs:
            assert torch.equal(one[stayed], other[stayed])
            assert not one[~stayed].any()


def test_rigl_grows_where_the_dense_gradient_is_largest():
    torch.manual_seed(0)
    model = nn.Linear(6, 5, bias=False)
    mask = prune_masks(model, 0.6, "random")["weight"]
    apply_masks(model, {"weight": mask})
    x, target = torch.randn(9, 6), torch.randn(9, 5)
    gradient = torch.autograd.grad((model(x) - target).square().sum(), model.weight)[0].abs()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with SparseTraining(model, optimizer, every=1, fraction=0.5, end=2, masks={"weight": mask}) as training:
        (model(x) - target).square().sum().backward()
        optimizer.step()
        grown = training.masks["weight"] & ~mask
    assert grown.sum() == round(0.25 * 12)
    assert gradient[grown].min() >= gradient[~grown & ~mask].max()


def test_a_training_that_diverged_is_told_and_not_rewired():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with SparseTraining(model, optimizer, 0.5, every=1, end=3):
        model(torch.full((1, 8), torch.nan)).sum().backward()
        with pytest.raises(SparsityError, match=r"0\.weight: .* not finite"):
            optimizer.step()


def test_nothing_moves_after_the_end():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with SparseTraining(model, optimizer, 0.5, method="set", every=1, end=3) as training:
        steps(model, optimizer, 3)
        masks = {name: mask.clone() for name, mask in training.masks.items()}
        steps(model, optimizer, 3)
        assert all(torch.equal(mask, masks[name]) for name, mask in training.masks.items())


def test_spiking_nets_train_sparsely():
    torch.manual_seed(0)
    neurons = LIFTorch(10, has_rec=True, w_rec=torch.randn(10, 10) * 0.1)
    net = Sequential(LinearTorch((4, 10)), neurons, LinearTorch((10, 3)))
    optimizer = torch.optim.Adam(nn.Module.parameters(net), lr=0.01)
    x = (torch.rand(3, 15, 4) < 0.5).float()
    with SparseTraining(net, optimizer, 0.6, every=2, end=10) as training:
        before = {name: int(mask.sum()) for name, mask in training.masks.items()}
        start = training.masks["1_LIFTorch.w_rec"].clone()
        for _ in range(6):
            net.reset_state()
            optimizer.zero_grad()
            net(x)[0].square().sum().backward()
            optimizer.step()
        assert {name: int(mask.sum()) for name, mask in training.masks.items()} == before
        assert not torch.equal(training.masks["1_LIFTorch.w_rec"], start)


def test_masked_convolutions_train_sparsely():
    torch.manual_seed(0)
    model = nn.Sequential(convert(nn.Conv2d(2, 4, 3), "masked"), nn.Flatten(), nn.Linear(16, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x = torch.randn(5, 2, 4, 4)
    with SparseTraining(model, optimizer, 0.5, every=1, end=10) as training:
        start = training.masks["0.weight"].clone()
        for _ in range(4):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
            assert int(training.masks["0.weight"].sum()) == int(start.sum())
        assert not torch.equal(training.masks["0.weight"], start)


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("driver", ["gradual", "set"])
def test_training_resumes_from_a_checkpoint(kind, driver):
    def make(model):
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if driver == "gradual":
            return optimizer, GradualPruning(model, optimizer, 0.8, end=10)
        return optimizer, SparseTraining(model, optimizer, 0.7, method="set", every=2, end=10, seed=3)

    def fresh():
        return convert_model(network(), nn.Linear, "csr") if kind == "csr" else network()

    model = fresh()
    optimizer, training = make(model)
    steps(model, optimizer, 5)
    saved = copy.deepcopy((model.state_dict(), optimizer.state_dict(), training.state_dict()))
    steps(model, optimizer, 5, seed=1)
    other = fresh()
    other.load_state_dict(saved[0])
    other_optimizer, other_training = make(other)
    other.load_state_dict(saved[0])
    other_training.load_state_dict(saved[2])
    other_optimizer.load_state_dict(saved[1])
    steps(other, other_optimizer, 5, seed=1)
    assert other_training.steps == training.steps == 10
    for one, two in zip(prunable_weights(model), prunable_weights(other), strict=True):
        assert torch.equal(one.dense(), two.dense())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m, o: SparseTraining(m, o, 0.5, end=5, method="rigel"), ConfigurationError, "'rigl'"),
        (lambda m, o: SparseTraining(m, o, 0.5, end=0, fraction=2), ConfigurationError, "end is 0"),
        (lambda m, o: SparseTraining(m, o, 0.5, end=0, fraction=2), ConfigurationError, "fraction is 2"),
        (lambda m, o: SparseTraining(m, o, 0.5, end=5, masks={}), ConfigurationError, "not both"),
        (lambda m, o: SparseTraining(m, o, 1.5, end=5), ConfigurationError, "without 1"),
        (lambda m, o: GradualPruning(m, o, 1.5, end=5), ConfigurationError, "without 1"),
        (lambda m, o: GradualPruning(m, o, 0.5, end=5, every=0), ConfigurationError, "every is 0"),
        (lambda m, o: GradualPruning(m, o, 0.5, begin=5, end=5), ParameterError, "begin < end"),
        (lambda m, o: GradualPruning(m, o, 0.5, end=5, criterion="snip"), ConfigurationError, "needs data"),
        (
            lambda m, o: hold_masks(m, {}, torch.optim.LBFGS(m.parameters())),
            ConfigurationError,
            "another optimiser",
        ),
    ],
)
def test_wrong_settings_are_refused_at_once(make, error, message):
    model = network()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(error, match=message):
        make(model, optimizer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not optimizer._optimizer_step_pre_hooks


def test_a_closure_is_refused():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    holder = hold_masks(model, prune_masks(model, 0.5), optimizer)
    assert isinstance(holder, MaskHolder)
    with pytest.raises(ConfigurationError, match="closure"):
        optimizer.step(lambda: 0.0)


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_sparse_layers_inside_a_spiking_net_are_trained_as_well(method):
    torch.manual_seed(0)
    neurons = LIFTorch(10, has_rec=True, w_rec=torch.randn(10, 10) * 0.1)
    net = convert_model(Sequential(nn.Linear(4, 10), neurons, nn.Linear(10, 3)), nn.Linear, "csr")
    optimizer = torch.optim.Adam(nn.Module.parameters(net), lr=0.01)
    x = (torch.rand(3, 15, 4) < 0.5).float()
    with SparseTraining(net, optimizer, 0.6, method=method, every=1, end=10) as training:
        start = {name: mask.clone() for name, mask in training.masks.items()}
        assert list(start) == ["0_Linear.weight", "1_LIFTorch.w_rec", "2_Linear.weight"]
        for _ in range(5):
            net.reset_state()
            optimizer.zero_grad()
            net(x)[0].square().sum().backward()
            optimizer.step()
        for name, mask in training.masks.items():
            assert int(mask.sum()) == int(start[name].sum())
            assert not torch.equal(mask, start[name])
