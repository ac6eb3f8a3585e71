"""Training under a chip's limits: what comes out maps, and the program is that of the dense twin."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from snnkit.hw.xylo import check
from snnkit.hw.xylo.deployment.deploy import deploy
from snnkit.hw.xylo.exact.conversion import chip_exact
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.sparse.pruning import (
    GradualPruning,
    OrbitInvariant,
    apply_masks,
    masks_of,
    prune_masks,
    sparsity_of,
)
from snnkit.sparse.spiking import (
    ChipLimits,
    ChipPruning,
    ChipTraining,
    dense_spiking,
    sparse_spiking,
    synaptic_events,
)
from snnkit.sparse.spiking.training import rewired_within
from snnkit.transforms import for_chip
from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError

SMALL = replace(
    get_chip("imu"), max_fanout=9, mean_fanout_per_synapse=1, max_hidden=40, max_input_expansion=12,
    max_output_expansion=10,
)  # fmt: skip


def neurons(size, recurrent, cap=31):
    options = {"has_rec": True, "w_rec": 0.2 * torch.randn(size, size) / size**0.5} if recurrent else {}
    return LIFTorch(size, tau_mem=0.02, tau_syn=0.02, max_spikes_per_dt=cap, dt=5e-3, **options)


def chain(hidden=(20, 16), recurrent=True, seed=0):
    torch.manual_seed(seed)
    modules, width = [], 6
    for size in hidden:
        modules += [LinearTorch((width, size)), neurons(size, recurrent)]
        width = size
    return Sequential(*modules, LinearTorch((width, 3)), neurons(3, False, cap=1))


def events(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < 0.3).float()


def train(net, driver, steps=12):
    data, target = events(4, 15, 6), torch.randn(4, 15, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        driver.optimizer.zero_grad()
        net.reset_state()
        (net(data)[0] - target).square().mean().backward()
        driver.optimizer.step()
        yield


def within(net, chip):
    """Count by hand what leaves each hidden neuron, and all of it, and look at the windows."""
    masks = masks_of(net)
    hidden = [m for m in nn.Module.modules(net) if isinstance(m, LIFTorch)][:-1]
    names = list(masks)
    total = 0
    for index, population in enumerate(hidden):
        own = [n for n in names if n.startswith(f"{2 * index + 1}_") or n.startswith(f"{2 * index + 2}_")]
        own = [n for n in own if n != f"{2 * len(hidden)}_LinearTorch.weight"]
        fan = sum(masks[name].sum(1) for name in own)
        assert len(fan) == population.n_neurons
        assert int(fan.max()) <= chip.max_fanout
        total += int(fan.sum())
    assert total <= chip.max_recurrent_weights
    assert not masks["0_LinearTorch.weight"][:, chip.max_input_expansion :].any()
    last = hidden[-1].n_neurons
    assert not masks[f"{2 * len(hidden)}_LinearTorch.weight"][
        : max(0, last - chip.max_output_expansion)
    ].any()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("criterion", ["magnitude", OrbitInvariant(events(2, 15, 6))])
def test_gradual_pruning_ends_within_all_limits(sparse, criterion):
    net = chain()
    if sparse:
        sparse_spiking(net)
    optimizer = torch.optim.Adam(net.parameters("weights").astorch(), lr=1e-3)
    with pytest.raises(ConfigurationError, match="weights to hidden neurons"):
        ChipLimits.of(net, SMALL).check(net)
    with ChipPruning(net, optimizer, 0.3, SMALL, end=8, criterion=criterion) as pruning:
        for _ in train(net, pruning):
            limits = pruning.limits.excess(masks_of(net))
            if pruning.steps >= 8:
                assert limits == (0, 0)
    within(net, SMALL)
    ChipLimits.of(net, SMALL).check(net)
    assert sparsity_of(net).sparsity >= 0.3


def test_a_net_within_the_limits_is_pruned_as_without_them():
    plain, net = chain(), chain()
    for model, driver in ((plain, GradualPruning), (net, ChipPruning)):
        optimizer = torch.optim.Adam(model.parameters().astorch(), lr=1e-3)
        chip = (get_chip("imu"),) if driver is ChipPruning else ()
        with driver(model, optimizer, 0.9, *chip, end=8) as pruning:
            for _ in train(model, pruning):
                pass
    for one, other in zip(nn.Module.parameters(plain), nn.Module.parameters(net), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("method", ["rigl", "set"])
def test_sparse_training_stays_within_all_limits_with_a_constant_number(sparse, method):
    net = chain()
    if sparse:
        sparse_spiking(net, prune_masks(net, 0.6, "random"))
    optimizer = torch.optim.Adam(net.parameters("weights").astorch(), lr=1e-3)
    start = None if sparse else 0.6
    with ChipTraining(net, optimizer, start, SMALL, end=12, every=2, fraction=0.5, method=method) as training:
        within(net, SMALL)
        before = training.masks
        count = sum(int(mask.sum()) for mask in before.values())
        for _ in train(net, training):
            within(net, SMALL)
            assert sum(int(mask.sum()) for mask in training.masks.values()) == count
        moved = [name for name, mask in training.masks.items() if not torch.equal(mask, before[name])]
        assert len(moved) >= 3


def test_rewiring_prefers_growth_but_respects_room_and_places():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(12, 10, generator=generator) < 0.3
    magnitude = torch.rand(12, 10, generator=generator)
    growth = torch.rand(12, 10, generator=generator)
    places = torch.ones(12, 10, dtype=torch.bool)
    places[:, 7:] = False
    mask &= places
    cap = int(mask.sum(1).max())
    found = rewired_within(mask, magnitude, growth, 0.5, places, lambda kept: cap - kept.sum(1))
    assert int(found.sum()) == int(mask.sum())
    assert int(found.sum(1).max()) <= cap
    assert not found[:, 7:].any()
    grown, missed = found & ~mask, places & ~mask & ~found
    full = found.sum(1) == cap
    # What did not grow although its source had room is worth less than all that did.
    kept_then_dropped = mask & ~found
    free = missed & ~full[:, None]
    assert bool(grown.any())
    assert bool(kept_then_dropped.any())
    assert float(growth[free].max()) <= float(growth[grown].min())


def test_the_best_masks_are_kept_where_a_total_binds():
    net = chain(hidden=(6,))
    chip = replace(SMALL, max_fanout=3, max_hidden=40, mean_fanout_per_synapse=1)
    limits = ChipLimits.of(net, replace(chip, max_hidden=10))
    scores = {name: torch.rand(mask.shape) for name, mask in masks_of(net).items()}
    found = limits.within({name: torch.ones_like(s, dtype=torch.bool) for name, s in scores.items()}, scores)
    kept, score = found["1_LIFTorch.w_rec"], scores["1_LIFTorch.w_rec"]
    assert int(kept.sum()) == 10
    assert int(kept.sum(1).max()) <= 3
    ranked = score.masked_fill(score < score.topk(3, 1).values[:, -1:], 0).flatten()
    assert float(score[kept].sum()) == pytest.approx(float(ranked.topk(10).values.sum()))


def test_networks_that_no_pruning_makes_fit_are_refused():
    with pytest.raises(ConfigurationError, match="50 hidden neurons of 40"):
        ChipLimits.of(chain(hidden=(50,)), SMALL)
    with pytest.raises(ConfigurationError, match="chains"):
        ChipLimits.of(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "imu")
    net = chain()
    optimizer = torch.optim.Adam(net.parameters().astorch())
    with pytest.raises(ConfigurationError, match=r"limits 1_LIFTorch\.w_rec"):
        ChipPruning(net, optimizer, 0.5, SMALL, end=5, exclude=["1_LIFTorch"])


# --- On the chip ------------------------------------------------------------------------------------------


def pruned_pair():
    dense = chain()
    apply_masks(dense, prune_masks(dense, 0.8))
    return dense, sparse_spiking(copy.deepcopy(dense))


def test_the_program_is_that_of_the_masked_dense_net():
    dense, sparse = pruned_pair()
    assert str(check(sparse, "imu")) == str(check(dense, "imu"))
    programs = [deploy(net, "imu", calibration=events(8, 30, 6)).specification for net in (dense, sparse)]
    assert programs[0] == programs[1]
    assert programs[0].weights_rec.any()


def test_a_chip_exact_sparse_net_has_events_and_gradients_of_its_dense_twin():
    torch.manual_seed(0)
    slow = {"tau_mem": 0.2, "tau_syn": 0.1, "dt": 0.05}
    dense = Sequential(
        LinearTorch((6, 20)), LIFTorch(20, has_rec=True, max_spikes_per_dt=31, **slow),
        LinearTorch((20, 3)), LIFTorch(3, max_spikes_per_dt=1, **slow),
    )  # fmt: skip
    apply_masks(dense, prune_masks(dense, 0.3))
    masks, data, found = masks_of(dense), events(8, 30, 6), []
    for net in (dense, sparse_spiking(copy.deepcopy(dense), masks)):
        exact = chip_exact(net, "imu", calibration=data)
        output = exact(data)[0]
        output.sum().backward()
        grads = {name: p.grad for name, p in exact.named_parameters()}
        found.append((output, grads))
    (their, dense_grads), (mine, sparse_grads) = found
    assert their.any()
    assert torch.equal(mine, their)
    for name, mask in masks.items():
        path = name.rpartition(".")[0]
        expected = dense_grads[f"net.{name}"][mask]
        assert expected.any()
        torch.testing.assert_close(sparse_grads[f"net.{path}.synapses.values"].sort()[0], expected.sort()[0])


def test_for_chip_says_what_to_do_with_sparse_modules():
    _, sparse = pruned_pair()
    with pytest.raises(ConfigurationError, match=r"dense_spiking\(net\)"):
        for_chip(sparse, "imu", calibration=events(8, 30, 6))
    for_chip(dense_spiking(sparse), "imu", calibration=events(8, 30, 6))


def test_wide_nets_map_after_pruning_to_their_chip():
    torch.manual_seed(0)
    net = Sequential(LinearTorch((8, 200)), neurons(200, True), LinearTorch((200, 4)), neurons(4, False, 1))
    assert not check(net, "imu").ok
    optimizer = torch.optim.SGD(net.parameters().astorch(), lr=0.0)
    with ChipPruning(net, optimizer, 0.0, "imu", end=2):
        for _ in range(2):
            net.reset_state()
            net(events(1, 3, 8))[0].sum().backward()
            optimizer.step()
    report = check(net, "imu")
    assert report.ok, report


# --- Cost -------------------------------------------------------------------------------------------------


def test_synaptic_events_are_counted_one_by_one_and_can_be_lowered():
    dense, sparse = pruned_pair()
    data = events(3, 20, 6)
    _, _, record = sparse(data, record=True)
    found = synaptic_events(sparse, data, record)
    expected, source = 0, data
    masks = masks_of(sparse)
    for index in range(3):
        layer = f"{2 * index}_LinearTorch"
        expected += float((source @ masks[f"{layer}.weight"].float()).sum())
        source = record[f"{2 * index + 1}_LIFTorch"]["spikes"].detach()
        if index < 2:
            expected += float((source @ masks[f"{2 * index + 1}_LIFTorch.w_rec"].float()).sum())
    assert float(found.detach()) == pytest.approx(expected / 60, rel=1e-5)
    found.backward()
    assert float(sparse[0].synapses.values.grad.abs().sum()) > 0
    _, _, record = dense(data, record=True)
    assert float(synaptic_events(dense, data, record).detach()) == pytest.approx(expected / 60, rel=1e-5)
    with pytest.raises(ConfigurationError, match=r"0_LinearTorch\.weight"):
        synaptic_events(dense, data, record, {"0_LinearTorc.weight": 2.0})
