"""The module contract beside Rockpool's own: the same trees, prints, outputs, gradients and costs."""

import importlib
import warnings
from typing import Any

import pytest
import torch

from snnkit.utilities.tree_utils import branches, get_nested

pytestmark = pytest.mark.oracle

PACKAGES = (
    "nn.modules", "nn.combinators", "nn.networks", "nn.losses", "parameters", "training.torch_loss",
    "utilities.tree_utils",
)  # fmt: skip


class Library:
    """The public names of one of the two libraries."""

    def __init__(self, prefix: str) -> None:
        self.packages = [importlib.import_module(f"{prefix}.{package}") for package in PACKAGES]

    def __getattr__(self, name: str) -> Any:
        for package in self.packages:
            if hasattr(package, name):
                return getattr(package, name)
        raise AttributeError(name)


@pytest.fixture(scope="module")
def rockpool() -> Library:
    pytest.importorskip("rockpool", reason="rockpool is the oracle; it is in the extra `oracles`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Library("rockpool")


OURS = Library("snnkit")


def example(lib: Library) -> Any:
    return lib.Sequential(
        lib.LinearTorch((3, 5), has_bias=True),
        lib.LIFTorch(5, tau_mem=lib.Constant(0.01)),
        lib.Residual(lib.LinearTorch((5, 5)), lib.LIFTorch(5, has_rec=True)),
        lib.LinearTorch((5, 3)),
        lib.LIFTorch(3),
    )


def synnet(lib: Library) -> Any:
    return lib.SynNet(3, 4, [8, 7], [3, 2], train_time_constants=True, train_threshold=True, threshold=0.5)


def analog_synnet(lib: Library) -> Any:
    return lib.SynNet(3, 4, [6], [4], output="vmem", dt=2e-3, tau_syn_base=5e-3)


def wavesense(lib: Library) -> Any:
    # No multiple of the bias is near a threshold: rounding must not decide over events.
    return lib.WaveSenseNet([1, 4], 3, 4, 5, 6, 7, 3, bias=0.0131, threshold=0.3, threshold_out=0.3)


def stack(lib: Library) -> Any:
    return lib.FFwdStack(lib.LIFTorch(3), lib.LIFTorch(4), lib.LIFTorch(2), weight_init_func=torch.ones)


NETS = [example, synnet, analog_synnet, wavesense, stack]


def copy_parameters(source: Any, target: Any) -> None:
    for branch in branches(source.parameters()):
        with torch.no_grad():
            get_nested(target.parameters(), branch).copy_(get_nested(source.parameters(), branch))


def pair(make: Any, rockpool: Library) -> tuple[Any, Any]:
    torch.manual_seed(2)
    theirs, ours = make(rockpool), make(OURS)
    copy_parameters(theirs, ours)
    return theirs, ours


def events(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.poisson(torch.full((3, 50, channels), 1.5), generator=generator)


@pytest.mark.parametrize("make", NETS)
def test_prints_are_equal(make, rockpool):
    assert repr(make(OURS)) == repr(make(rockpool))


@pytest.mark.parametrize("make", NETS)
@pytest.mark.parametrize("family", [None, "weights", "taus", "thresholds", ["weights", "taus"], "unknown"])
def test_parameter_trees_have_the_same_branches_and_shapes(make, family, rockpool):
    theirs, ours = make(rockpool).parameters(family), make(OURS).parameters(family)

    assert {b: get_nested(ours, b).shape for b in branches(ours)} == {
        b: get_nested(theirs, b).shape for b in branches(theirs)
    }


@pytest.mark.parametrize("make", NETS)
def test_state_trees_are_equal(make, rockpool):
    theirs, ours = make(rockpool).state(), make(OURS).state()

    assert {b: get_nested(ours, b).shape for b in branches(ours)} == {
        b: get_nested(theirs, b).shape for b in branches(theirs)
    }


@pytest.mark.parametrize("make", NETS)
def test_simulation_parameters_include_theirs(make, rockpool):
    ours = set(branches(make(OURS).simulation_parameters()))
    theirs = set(branches(make(rockpool).simulation_parameters()))

    # Recurrent weights that are not there, and the class of neurons, are no parameters of ours.
    missing = {branch for branch in theirs - ours if branch[-1] not in {"w_rec", "neuron_model"}}
    assert missing == set()


@pytest.mark.parametrize("make", NETS)
def test_attributes_named_finds_the_same(make, rockpool):
    theirs, ours = make(rockpool), make(OURS)

    for name in ("weight", "threshold", "vmem"):
        assert set(branches(ours.attributes_named(name))) == set(branches(theirs.attributes_named(name)))


@pytest.mark.parametrize("make", NETS)
def test_outputs_and_gradients_are_equal(make, rockpool):
    theirs, ours = pair(make, rockpool)
    theirs.eval(), ours.eval()
    data = events(theirs.size_in)

    their_output, our_output = theirs(data)[0], ours(data)[0]
    scale = torch.linspace(0.5, 2, our_output.numel()).reshape(our_output.shape)
    (their_output * scale).sum().backward()
    (our_output * scale).sum().backward()

    assert our_output.detach().abs().sum() > 0
    assert torch.allclose(our_output, their_output, atol=1e-4, rtol=1e-4)
    for branch in branches(ours.parameters()):
        our_grad = get_nested(ours.parameters(), branch).grad
        their_grad = get_nested(theirs.parameters(), branch).grad
        if their_grad is None:
            assert our_grad is None
        else:
            atol = 1e-3 * float(their_grad.abs().max()) + 1e-7
            assert torch.allclose(our_grad, their_grad, rtol=1e-3, atol=atol), branch


@pytest.mark.parametrize("make", NETS)
def test_records_have_all_of_their_keys_and_the_modules_own_recordings_agree(make, rockpool):
    theirs, ours = pair(make, rockpool)
    theirs.eval(), ours.eval()
    data = events(theirs.size_in)

    their_record, our_record = theirs(data, record=True)[2], ours(data, record=True)[2]

    assert set(branches(our_record)) >= set(branches(their_record))
    for branch in branches(their_record):
        # Some of their "_output" entries hold another tensor than they say.
        if not branch[-1].endswith("_output"):
            value, expected = get_nested(our_record, branch), get_nested(their_record, branch)
            atol = 1e-5 * float(expected.abs().max()) + 1e-6
            assert torch.allclose(value, expected, atol=atol, rtol=1e-4), branch


@pytest.mark.parametrize("make", [synnet, analog_synnet, wavesense])
def test_fixed_values_of_networks_are_equal(make, rockpool):
    theirs, ours = make(rockpool), make(OURS)

    for name in ("tau_mem", "tau_syn", "threshold", "bias", "max_spikes_per_dt", "learning_window"):
        our_tree, their_tree = ours.attributes_named(name), theirs.attributes_named(name)
        for branch in branches(our_tree):
            value = torch.as_tensor(get_nested(our_tree, branch)).squeeze()
            expected = torch.as_tensor(get_nested(their_tree, branch)).squeeze()
            assert torch.allclose(value, expected.to(value.dtype)), (name, branch)


def test_initial_weights_of_networks_have_the_same_spread(rockpool):
    torch.manual_seed(3)
    sizes = {
        "n_classes": 300,
        "n_channels_in": 300,
        "n_channels_res": 300,
        "n_channels_skip": 300,
        "n_hidden": 300,
    }
    for make in (
        lambda lib: lib.SynNet(300, 300, [300], [3]),
        lambda lib: lib.WaveSenseNet([3, 5], base_tau_syn=7e-3, tau_lp=3e-3, **sizes),
    ):
        theirs, ours = make(rockpool).parameters("weights"), make(OURS).parameters("weights")
        for branch in branches(ours):
            assert get_nested(ours, branch).std().item() == pytest.approx(
                get_nested(theirs, branch).std().item(), rel=0.02
            )
            assert get_nested(ours, branch).abs().max().item() == pytest.approx(
                get_nested(theirs, branch).abs().max().item(), rel=0.01
            )


@pytest.mark.parametrize("seed", range(5))
def test_losses_are_equal(seed, rockpool):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.rand(6, 12, 4, generator=generator)
    prediction[:, -1] += seed
    labels = torch.randint(4, (6,), generator=generator)
    binary = torch.randint(2, (6,), generator=generator)

    for lib_loss, data, target in (
        (lambda lib: lib.PeakLoss(3, 0.4, 0.9), prediction, labels),
        (lambda lib: lib.BinaryPeakLoss(4, 0.4, 0.9), prediction[:, :, :1], binary),
        (lambda lib: lib.MSELoss(), prediction, prediction.flip(0)),
    ):
        gradients = []
        for lib in (OURS, rockpool):
            leaf = data.clone().requires_grad_()
            loss = lib_loss(lib)(leaf, target)
            loss.backward()
            gradients.append((loss.detach(), leaf.grad))
        assert torch.allclose(gradients[0][0], gradients[1][0])
        assert torch.allclose(gradients[0][1], gradients[1][1], atol=1e-7)


def test_bounds_and_their_cost_are_equal(rockpool):
    theirs, ours = pair(example, rockpool)
    costs = []
    for lib, net in ((rockpool, theirs), (OURS, ours)):
        lower, upper = lib.make_bounds(net.parameters())
        lower["4_LIFTorch"]["tau_mem"] = 0.03
        upper["0_LinearTorch"]["weight"] = torch.full((3, 5), 0.1)
        costs.append(lib.bounds_cost(net.parameters(), lower, upper).item())

    assert costs[1] == pytest.approx(costs[0])
    assert costs[0] > 0


@pytest.mark.parametrize(("lower", "upper"), [(-1.0, None), (None, 2.0), (-1.0, 2.0), (-5.0, 5.0)])
def test_boundary_costs_are_equal(lower, upper, rockpool):
    data = torch.tensor([1.0, -2.0, 3.0, -1.0, 2.0])

    ours = OURS.summed_exp_boundary_loss(data, lower, upper)

    assert float(ours) == pytest.approx(float(rockpool.summed_exp_boundary_loss(data, lower, upper)))


TREES = (
    {"a": 1, "b": {"c": 2, "d": {}}},
    {"x": {"y": {"z": 0}}, "b": {"c": 3, "e": 4}},
    {"b": {"c": 0}},
)


@pytest.mark.parametrize("tree", TREES)
def test_tree_functions_of_one_tree_are_equal(tree, rockpool):
    for lib in (OURS, rockpool):
        assert list(lib.branches(tree)) == list(OURS.branches(tree))
        assert list(lib.tree_find(tree)) == list(OURS.tree_find(tree))
        assert lib.tree_map(tree, lambda leaf: leaf + 1) == OURS.tree_map(tree, lambda leaf: leaf + 1)
        assert lib.tree_flatten(tree) == OURS.tree_flatten(tree)
        leaves, structure = lib.tree_flatten(tree)
        assert lib.tree_unflatten(structure, list(leaves)) == tree


@pytest.mark.parametrize("first", TREES)
@pytest.mark.parametrize("second", TREES)
def test_tree_functions_of_two_trees_are_equal(first, second, rockpool):
    assert OURS.tree_update(first, second) == rockpool.tree_update(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        assert OURS.make_prototype_tree(first, second) == rockpool.make_prototype_tree(first, second)
    if set(branches(second)) <= set(branches(first)):
        assert OURS.set_matching(first, second, 9) == rockpool.set_matching(first, second, 9)
        assert OURS.set_matching_select(first, second, 9) == rockpool.set_matching_select(first, second, 9)


def test_constants_and_shapes_are_declared_alike(rockpool):
    for arguments in (
        {"data": 2.0, "shape": [(3,), ()]}, {"shape": [(3,), ()], "init_func": torch.ones},
        {"data": torch.ones(6), "shape": (2, 3)}, {"data": torch.ones(2), "shape": 2, "family": "taus"},
    ):  # fmt: skip
        ours, theirs = OURS.Parameter(**arguments), rockpool.Parameter(**arguments)
        assert tuple(ours.data.shape if hasattr(ours.data, "shape") else ()) == tuple(theirs.shape)
        assert ours.family == theirs.family
    for arguments in ({}, {"shape": 3}, {"data": torch.ones(4), "shape": 3}, {"shape": 3, "init_func": 3}):
        for lib in (OURS, rockpool):
            with pytest.raises(ValueError, match=r"data|init_func"):
                lib.Parameter(**arguments)


def test_refusals_of_combinators_have_the_same_words(rockpool):
    for make in (
        lambda lib: lib.Sequential(lib.LinearTorch((3, 5)), lib.LinearTorch((4, 5))),
        lambda lib: lib.Residual(lib.LinearTorch((3, 5))),
        lambda lib: lib.Sequential(lib.LinearTorch((3, 5)), shape=(3, 5)),
    ):
        messages = []
        for lib in (OURS, rockpool):
            with pytest.raises(ValueError, match=r"submodule|size_in|shape") as error:
                make(lib)
            messages.append(str(error.value))
        assert messages[0].startswith(messages[1].rstrip("."))
