"""Sparse linear and recurrent modules against the dense ones with zeros in the same places."""

import copy
import pickle
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from snnkit.dag.files import load_graph, save_graph
from snnkit.nn.backend import use_backend
from snnkit.nn.combinators import Sequential
from snnkit.nn.lif_segments import use_segments
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential
from snnkit.sparse import SparsityError, change_structure, dense_gradients
from snnkit.sparse.spiking import (
    SparseLIFTorch,
    SparseLinearTorch,
    dense_spiking,
    lif_function,
    sparse_spiking,
)


@pytest.fixture(autouse=True, scope="module")
def kernels_at_all_densities():
    """Small nets need many synapses for anything to happen."""
    with mock.patch.object(lif_function, "DENSE_FROM", 2.0):
        yield


TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def masked(*shape, density=0.3, scale=0.15, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    weight = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    weight = weight * (torch.rand(shape, generator=generator) < density)
    weight.view(-1)[0] = scale
    return weight.to(dtype)


def events(*shape, rate=0.3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) < rate).to(dtype) * 0.4


def neurons(size=21, synapses=1, dtype=torch.float64, seed=0, density=0.3, **options):
    weight = masked(size, size * synapses, density=density, seed=seed)
    threshold = torch.linspace(0.5, 1.5, size)
    module = LIFTorch((size * synapses, size), has_rec=True, w_rec=weight, threshold=threshold, **options)
    return nn.Module.to(module, dtype)


def network(seed=0):
    torch.manual_seed(seed)
    return Sequential(
        LinearTorch((5, 21), weight=masked(5, 21, seed=seed, dtype=torch.float32), has_bias=True),
        neurons(seed=seed, dtype=torch.float32),
        LinearTorch((21, 3), weight=masked(21, 3, seed=seed + 1, dtype=torch.float32)),
        LIFTorch(3),
    )


def gradients(module, data, weights):
    """Return output and gradients of a weighted sum of it, the input's first."""
    data = data.clone().requires_grad_()
    module.reset_state()
    output = module(data)[0]
    (output * weights).sum().backward()
    found = {name: p.grad for name, p in nn.Module.named_parameters(module)}
    return output.detach(), {"data": data.grad, **found}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    size=st.integers(1, 40),
    synapses=st.integers(1, 3),
    steps=st.integers(1, 40),
    batch=st.integers(1, 3),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    periodic=st.booleans(),
    relative=st.booleans(),
    dense_from=st.sampled_from([0.0, 2.0]),
)
def test_recurrent_events_and_gradients_are_those_of_the_dense_module(  # noqa: PLR0917
    size, synapses, steps, batch, seed, dtype, periodic, relative, dense_from
):
    surrogate = {"spike_generation_fn": PeriodicExponential} if periodic else {}
    dense = neurons(size, synapses, dtype, seed, relative_window=relative, max_spikes_per_dt=3, **surrogate)
    sparse = SparseLIFTorch.from_dense(dense)
    data = events(batch, steps, size * synapses, seed=seed, dtype=dtype)
    weights = torch.randn(batch, steps, size, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    expected, their = gradients(dense, data, weights)
    with mock.patch.object(lif_function, "DENSE_FROM", dense_from):
        found, mine = gradients(sparse, data, weights)
    assert torch.equal(found, expected)
    places = sparse.synapses.flat_indices()
    their["synapses.values"] = their.pop("w_rec").reshape(-1)[places]
    assert mine.keys() == their.keys()
    for name, gradient in their.items():
        # Terms of about the size of the weights are added up, and may cancel.
        scale = max(float(gradient.abs().max()), float(weights.abs().max()))
        torch.testing.assert_close(mine[name], gradient, rtol=0, atol=TOLERANCE[dtype] * scale, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_output_and_gradients_are_those_of_the_dense_module(dtype, bias):
    dense = LinearTorch((17, 9), weight=masked(17, 9, dtype=dtype), has_bias=bias)
    nn.Module.to(dense, dtype)
    sparse = SparseLinearTorch.from_dense(dense)
    data, weights = events(2, 6, 17, dtype=dtype), torch.randn(2, 6, 9, dtype=dtype)
    expected, their = gradients(dense, data, weights)
    found, mine = gradients(sparse, data, weights)
    their["synapses.values"] = their.pop("weight").reshape(-1)[sparse.synapses.flat_indices()]
    tolerance = {torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for name, gradient in their.items():
        torch.testing.assert_close(mine[name], gradient, rtol=tolerance, atol=tolerance * 10)


@pytest.mark.parametrize("backend", ["torch", "reference"])
def test_other_backends_compute_the_same(backend):
    sparse = SparseLIFTorch.from_dense(neurons(max_spikes_per_dt=3))
    data, weights = events(2, 20, 21), torch.randn(2, 20, 21, dtype=torch.float64)
    expected, with_kernels = gradients(sparse, data, weights)
    sparse.zero_grad()
    with use_backend(backend):
        found, mine = gradients(sparse, data, weights)
    assert torch.equal(found, expected)
    for name, gradient in with_kernels.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-9, atol=1e-9)


def test_recordings_states_and_a_cut_sequence_are_those_of_the_dense_module():
    dense = neurons(max_spikes_per_dt=3, noise_std=0.0)
    sparse = SparseLIFTorch.from_dense(dense)
    data = events(2, 30, 21)
    expected, their_state, their_record = dense(data, record=True)
    found, state, record = sparse(data[:, :13], record=True)
    rest, state, _ = sparse(data[:, 13:])
    assert torch.equal(torch.cat([found, rest], 1), expected)
    assert record.keys() == their_record.keys()
    for name, course in record.items():
        torch.testing.assert_close(course, their_record[name][:, :13], rtol=1e-12, atol=1e-12)
    for name, value in their_state.items():
        assert torch.equal(state[name], value)


def test_long_sequences_in_segments_have_the_same_gradients():
    sparse = SparseLIFTorch.from_dense(neurons(max_spikes_per_dt=3))
    data, weights = events(2, 40, 21), torch.randn(2, 40, 21, dtype=torch.float64)
    expected, whole = gradients(sparse, data, weights)
    sparse.zero_grad()
    with use_segments(7):
        found, parts = gradients(sparse, data, weights)
    assert torch.equal(found, expected)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-9, atol=1e-9)


def test_gradients_of_gradients_are_those_of_the_dense_module():
    dense = neurons(size=6, max_spikes_per_dt=3, spike_generation_fn=PeriodicExponential)
    sparse = SparseLIFTorch.from_dense(dense)
    data = events(1, 8, 6)

    def second(module, parameter):
        module.reset_state()
        (first,) = torch.autograd.grad(module(data)[0].square().sum(), parameter, create_graph=True)
        (found,) = torch.autograd.grad(first.square().sum(), parameter)
        return found

    expected = second(dense, dense.w_rec).reshape(-1)[sparse.synapses.flat_indices()]
    assert float(expected.abs().max()) > 0
    # The dense module's first gradient also counts places without a synapse.
    mask = sparse.synapses.mask()
    dense.reset_state()
    (first,) = torch.autograd.grad(dense(data)[0].square().sum(), dense.w_rec, create_graph=True)
    (there,) = torch.autograd.grad((first * mask).square().sum(), dense.w_rec)
    torch.testing.assert_close(
        second(sparse, sparse.synapses.values), there.reshape(-1)[sparse.synapses.flat_indices()]
    )


def test_dense_gradients_cover_the_places_without_a_synapse():
    dense, data = network(), events(2, 30, 5, dtype=torch.float32) * 5
    sparse = sparse_spiking(copy.deepcopy(dense))
    with dense_gradients(sparse) as found:
        sparse(data)[0].sum().backward()
    dense(data)[0].sum().backward()
    held = {path: m for path, m in nn.Module.named_modules(sparse) if hasattr(m, "synapses")}
    assert list(held) == ["0_LinearTorch", "1_LIFTorch", "2_LinearTorch"]
    for path, module in held.items():
        theirs = getattr(dense.get_submodule(path), module.synapses.stands_for).grad
        scale = float(theirs.abs().max())
        assert scale > 0
        torch.testing.assert_close(found[module.synapses], theirs, rtol=0, atol=1e-5 * scale)
        assert module.synapses.watch is None


# --- Being a module of a net ----------------------------------------------------------------------------


def test_a_net_converts_there_and_back():
    dense = network()
    back = dense_spiking(sparse_spiking(copy.deepcopy(dense)))
    for (name, mine), (other, theirs) in zip(
        nn.Module.named_parameters(back), nn.Module.named_parameters(dense), strict=True
    ):
        assert name == other
        assert torch.equal(mine, theirs)


def test_masks_choose_what_becomes_sparse_and_keep_zeros_that_are_to_be_trained():
    net = network()
    mask = torch.ones(21, 21, dtype=torch.bool)
    sparse_spiking(net, {"1_LIFTorch.w_rec": mask})
    assert type(net[0]) is LinearTorch
    assert net[1].synapses.nnz == 441
    with pytest.raises(SparsityError, match="1_LIFTorch"):
        sparse_spiking(network(), {"1_LIFTorh.w_rec": mask})


def test_parameters_of_the_family_weights_are_one_vector_for_each_matrix():
    net = sparse_spiking(network())
    tree = net.parameters("weights")
    assert list(tree) == ["0_LinearTorch", "1_LIFTorch", "2_LinearTorch"]
    assert [p.ndim for p in tree.astorch()] == [1, 1, 1]
    assert list(net.parameters("taus")) == ["1_LIFTorch", "3_LIFTorch"]


@pytest.mark.parametrize("way", ["state_dict", "json", "pickle", "deepcopy", "dense state_dict"])
def test_a_net_is_the_same_after_a_file_whatever_structure_the_receiver_had(way, tmp_path):
    net, other = sparse_spiking(network(0)), sparse_spiking(network(3))
    assert net[1].synapses.nnz != other[1].synapses.nnz
    if way == "json":
        net.save(tmp_path / "net.json")
        other.load(tmp_path / "net.json")
    elif way == "pickle":
        other = pickle.loads(pickle.dumps(net))
    elif way == "deepcopy":
        other = copy.deepcopy(net)
    else:
        source = net if way == "state_dict" else network(0)
        other.load_state_dict(source.state_dict())
    data = events(2, 30, 5, dtype=torch.float32) * 5
    expected = net(data)[0]
    assert float(expected.detach().sum()) > 0
    assert torch.equal(other(data)[0], expected)
    other[1](torch.zeros(2, 3, 21))[0].sum().backward()


def test_a_graph_holds_each_module_as_one_vertex_and_its_file_brings_them_back(tmp_path):
    net = sparse_spiking(network())
    data = events(2, 20, 5, dtype=torch.float32) * 5
    graph = net.as_graph()
    names = [type(vertex.module).__name__ for vertex in graph.inner_vertices]
    assert names == ["SparseLinearTorch", "SparseLIFTorch", "SparseLinearTorch", "LIFTorch"]
    expected = net(data)[0]
    net.reset_state()
    save_graph(graph, tmp_path / "graph")
    loaded = load_graph(tmp_path / "graph")
    assert torch.equal(loaded(data), expected)


def test_structure_changes_between_steps_and_the_dense_view_can_be_assigned():
    module = SparseLIFTorch(12, density=0.5, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(module.parameters().astorch())
    for keep in (60, 40):
        optimizer.zero_grad()
        module.reset_state()
        module(torch.ones(1, 9, 12))[0].sum().backward()
        optimizer.step()
        values = module.w_rec.detach()
        change_structure(
            module.synapses, indices=module.synapses.flat_indices()[:keep].clone(), optimizer=optimizer
        )
        assert module.synapses.nnz == keep
        assert torch.equal(module.w_rec, values * module.synapses.mask())
    matrix = masked(12, 12, dtype=torch.float32)
    module.w_rec = matrix
    assert torch.equal(module.w_rec, matrix)
    assert module.synapses.nnz == int((matrix != 0).sum())


def test_a_structure_that_changes_before_the_backward_pass_is_an_error():
    module = SparseLIFTorch(12, density=0.5, generator=torch.Generator().manual_seed(0))
    output = module(torch.ones(1, 9, 12))[0]
    change_structure(module.synapses, indices=torch.arange(10))
    with pytest.raises(SparsityError, match="structure"):
        output.sum().backward()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SparseLIFTorch(4, mask=torch.ones(4, 5, dtype=torch.bool)), r"\(4, 5\)"),
        (lambda: SparseLIFTorch(4, w_rec=torch.zeros(4, 4)), "No synapse is left"),
        (lambda: SparseLIFTorch(4, w_rec=torch.zeros(4, 3)), r"\(4, 3\)"),
        (lambda: SparseLinearTorch((4, 3), density=0.0), "density"),
        (lambda: SparseLinearTorch((4, 3), mask=torch.ones(4, 3) > 0, density=0.5), "not both"),
        (lambda: SparseLIFTorch.from_dense(LIFTorch(4)), "no recurrent weights"),
        (lambda: SparseLinearTorch((4, 3))(torch.ones(1, 2, 4, dtype=torch.float64)), "float64"),
        (lambda: setattr(SparseLinearTorch((4, 3)), "weight", torch.ones(3, 4)), r"\(3, 4\)"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(make, message):
    with pytest.raises(SparsityError, match=message):
        make()
