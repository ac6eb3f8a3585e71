"""The switch, what kernels leave to torch, and torch's tools around the kernels."""

import copy
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from lif_cases import NAMES, Case, assert_gradients_agree, run
from torch.utils.checkpoint import checkpoint

from snnkit.nn import backend, functional
from snnkit.nn.backend import BackendError, get_backend, set_backend, use_backend
from snnkit.nn.kernels import launch, lif_function
from snnkit.nn.modules import ExpSynTorch, LIFNeuronTorch, LIFTorch, LinearTorch, aLIFTorch
from snnkit.utilities.compilation import disk_cached, told_if_slow
from snnkit.utilities.errors import ConfigurationError


@pytest.fixture
def launched(monkeypatch):
    """The names of all kernels that were run."""
    names = []

    def spy(module, name, *arguments):
        names.append(name)
        launch.run_kernel(module, name, *arguments)

    monkeypatch.setattr(lif_function, "run_kernel", spy)
    return names


@pytest.fixture(autouse=True)
def _default_backend(monkeypatch):
    monkeypatch.delenv("SNNKIT_BACKEND", raising=False)
    monkeypatch.setattr(backend, "_process", None)
    yield
    backend._works.cache_clear()


def test_kernels_are_the_default(launched):
    assert get_backend() == "auto"
    neurons = LIFTorch(3)
    neurons(torch.ones(2, 10, 3))[0].sum().backward()
    assert launched == ["lif_forward", "lif_backward"]


@pytest.mark.parametrize("name", ["torch", "reference"])
def test_the_other_backends_run_no_kernel(launched, name):
    with use_backend(name):
        LIFTorch(3)(torch.ones(2, 10, 3))[0].sum().backward()
    set_backend(name)
    LIFTorch(3)(torch.ones(2, 10, 3))[0].sum().backward()
    assert launched == []


def test_the_innermost_choice_counts_and_ends_with_its_block(monkeypatch):
    monkeypatch.setenv("SNNKIT_BACKEND", "reference")
    assert get_backend() == "reference"
    set_backend("torch")
    with use_backend("numba"):
        with use_backend("auto"):
            assert get_backend() == "auto"
        assert get_backend() == "numba"
    with pytest.raises(ConfigurationError), use_backend("numba"):
        set_backend("nothing")
    assert get_backend() == "torch"


def test_the_choice_of_a_block_holds_for_its_thread_only():
    seen = []
    with use_backend("reference"):
        other = threading.Thread(target=lambda: seen.append(get_backend()))
        other.start()
        other.join()
    assert seen == ["auto"]


@pytest.mark.parametrize("choose", [set_backend, lambda name: use_backend(name).__enter__()])
def test_an_unknown_backend_is_refused_with_the_nearest(choose):
    with pytest.raises(ConfigurationError, match="Did you mean 'numba'"):
        choose("nunba")


def test_an_unknown_backend_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("SNNKIT_BACKEND", "cuda")
    with pytest.raises(ConfigurationError, match="SNNKIT_BACKEND"):
        LIFTorch(2)(torch.ones(1, 3, 2))


def own_surrogate(v, threshold, window, most):
    return torch.sigmoid(v - threshold)


def not_covered():
    data = torch.ones(2, 8, 3)
    return {
        "surrogate": (LIFTorch(3, spike_generation_fn=own_surrogate), data),
        "surrogate and adaptation": (aLIFTorch(3, spike_generation_fn=own_surrogate), data),
        "surrogate without synapses": (LIFNeuronTorch(3, spike_generation_fn=own_surrogate), data),
        "synapses in bfloat16": (ExpSynTorch(3).to(torch.bfloat16), data.bfloat16()),
        "bfloat16": (LIFTorch(3).to(torch.bfloat16), data.bfloat16()),
        "several types": (LIFTorch(3), data.double()),
    }


@pytest.mark.parametrize("why", list(not_covered()))
def test_what_kernels_do_not_cover_runs_on_torch_or_says_why(launched, why):
    neurons, data = not_covered()[why]
    output, _, _ = neurons(data)
    with use_backend("reference"):
        expected, _, _ = neurons.reset_state()(data)
    assert torch.equal(output, expected)
    assert launched == []
    with use_backend("numba"), pytest.raises(BackendError, match=r"does not cover this call.*set_backend"):
        neurons.reset_state()(data)


def test_function_transforms_run_on_torch(launched):
    neurons = LIFTorch(3)
    data = (torch.rand(4, 15, 3) < 0.5).float()

    def loss(tau, sample):
        neurons.reset_state()
        return torch.func.functional_call(neurons, {"tau_mem": tau}, (sample,))[0].sum()

    tau = neurons.tau_mem.detach()
    by_transform = torch.func.grad(loss)(tau, data)
    assert launched == []
    wanted = tau.clone().requires_grad_()
    torch.testing.assert_close(by_transform, torch.autograd.grad(loss(wanted, data), wanted)[0])
    assert launched == ["lif_forward", "lif_backward"]


def test_without_numba_torch_takes_over_with_one_warning(monkeypatch, launched):
    monkeypatch.setitem(sys.modules, "numba", None)
    backend._works.cache_clear()
    with pytest.warns(RuntimeWarning, match="Numba cannot be imported"):
        LIFTorch(2)(torch.ones(1, 5, 2))
    LIFTorch(2)(torch.ones(1, 5, 2))
    assert launched == []


@pytest.mark.parametrize("periodic", [False, True])
def test_gradients_of_gradients_equal_those_of_torch(periodic):
    case = Case(synapses=2, recurrent=True, noisy=True, periodic=periodic)
    results = []
    for name in ("numba", "torch"):
        values = case.tensors()
        with use_backend(name):
            spikes, final, record = functional.lif(*case.arguments(values), record=True)
        loss = spikes.square().sum() + final.vmem.square().sum() + record["vmem"].pow(3).sum()
        wanted = [values[name] for name in NAMES]
        first = torch.autograd.grad(loss, wanted, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wanted, allow_unused=True)
        results.append((first, second))
    (first, second), (expected_first, expected_second) = results
    torch.testing.assert_close(first, expected_first)
    for one, other in zip(second, expected_second, strict=True):
        torch.testing.assert_close(one, other)


def test_inference_keeps_no_graph_and_equals_training():
    neurons = LIFTorch(3, has_rec=True, w_rec=torch.full((3, 3), 0.1))
    data = torch.rand(2, 30, 3)
    trained, _, _ = neurons(data)
    with torch.no_grad():
        silent, _, _ = neurons.reset_state()(data)
    with torch.inference_mode():
        inferred, _, _ = copy.deepcopy(neurons).reset_state()(data)
    assert trained.requires_grad
    assert not silent.requires_grad
    assert torch.equal(trained, silent)
    assert torch.equal(trained, inferred)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointed_segments_give_the_same_gradients(use_reentrant):
    case = Case(synapses=2, recurrent=True, noisy=True)
    _, expected = run(case, "numba", "spikes")
    values = case.tensors()
    data, state, dynamics, noise = case.arguments(values)

    def segment(x, *rest):
        spikes, final, _ = functional.lif(x, functional.LIFState(*rest[:3]), dynamics, rest[3])
        return spikes, *final[:3]

    first, *middle = checkpoint(segment, data[:, :5], *state[:3], noise[:, :5], use_reentrant=use_reentrant)
    second, *_ = checkpoint(segment, data[:, 5:], *middle, noise[:, 5:], use_reentrant=use_reentrant)
    generator = torch.Generator().manual_seed(case.seed + 1)
    weights = torch.randn(case.batch, case.steps, case.neurons, generator=generator).double()
    (torch.cat([first, second], 1) * weights).sum().backward()
    assert_gradients_agree({name: values[name].grad for name in NAMES}, expected, case.dtype)


def test_the_backward_pass_can_be_repeated():
    case = Case(recurrent=True)
    values = case.tensors()
    spikes, _, _ = functional.lif(*case.arguments(values), record=True)
    wanted = [v for v in values.values() if v is not None]
    first = torch.autograd.grad(spikes.sum(), wanted, retain_graph=True)
    second = torch.autograd.grad(spikes.sum(), wanted)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_input_changed_before_the_backward_pass_is_noticed():
    case = Case()
    values = case.tensors()
    spikes, _, _ = functional.lif(*case.arguments(values))
    with torch.no_grad():
        values["alpha"].mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spikes.sum().backward()


def test_functional_call_and_deepcopy():
    neurons = LIFTorch(3, has_rec=True)
    data = torch.rand(2, 40, 3)
    with use_backend("numba"):
        twin_output, _, _ = copy.deepcopy(neurons)(data)
        swapped = {"threshold": torch.full((3,), 0.7, requires_grad=True)}
        output, _, _ = torch.func.functional_call(neurons, swapped, (data,))
        output.sum().backward()
        expected, _, _ = neurons.reset_state()(data)
    assert torch.equal(twin_output, expected)
    assert swapped["threshold"].grad.abs().sum() > 0


def test_many_threads_may_run_nets_at_once():
    data = (torch.rand(8, 50, 64) < 0.3).float()

    def gradient(_):
        neurons = LIFTorch(64)
        neurons(data)[0].sum().backward()
        return neurons.tau_mem.grad

    expected = gradient(0)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(torch.equal(g, expected) for g in pool.map(gradient, range(16)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_can_use_kernels():
    """As a DataLoader's worker does, after its parent used several threads."""
    program = (
        "import os, torch\n"
        "from snnkit.nn.modules import LIFTorch\n"
        "torch.set_num_threads(2)\n"
        "data = torch.ones(8, 50, 64)\n"
        "expected = LIFTorch(64)(data)[0].sum()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(int(LIFTorch(64)(data)[0].sum() != expected))\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0


def test_numba_is_imported_by_the_first_kernel():
    program = (
        "import sys, torch\n"
        "from snnkit.nn.modules import LIFTorch\n"
        "neurons = LIFTorch(2)\n"
        "assert 'numba' not in sys.modules\n"
        "neurons(torch.ones(1, 3, 2))\n"
        "assert 'numba' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_kernels_work_where_nothing_can_be_cached(tmp_path):
    """Where Numba finds no folder to write to, it compiles for this process alone."""
    locked = tmp_path / "kernel_module.py"
    locked.write_text("def double(x):\n    return 2 * x\n")
    space: dict = {}
    # Code without a file has no place for a cache, nor has a read-only installation without a home.
    exec(compile(locked.read_text(), "<no file>", "exec"), space)
    assert disk_cached({"nogil": True})(space["double"])(4) == 8


def test_slow_compilation_is_told_and_fast_is_not(capsys):
    with told_if_slow("kernels", patience=60):
        pass
    assert capsys.readouterr().err == ""
    with told_if_slow("kernels", patience=0.0):
        threading.Event().wait(0.5)
    told = capsys.readouterr().err
    assert "Compiling the kernels (once for this machine)" in told
    assert "Compiled the kernels in" in told


class OneBatch(torch.utils.data.Dataset):
    """Runs a net in the process or thread that loads the data."""

    def __init__(self, neurons):
        self.neurons = neurons

    def __len__(self):
        return 4

    def __getitem__(self, index):
        data = torch.full((60, 64), 0.01 * (index + 1))
        with torch.no_grad():
            return copy.deepcopy(self.neurons).reset_state()(data)[0][0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_data_loader_workers_can_run_nets():
    neurons = LIFTorch(64)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        dataset = OneBatch(neurons)
        expected = torch.stack([dataset[index] for index in range(len(dataset))])
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=2, num_workers=2, multiprocessing_context="fork"
        )
        loaded = torch.cat(list(loader))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(loaded, expected)
    assert loaded.sum() > 0


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_a_checkpointed_net_of_spiking_layers_gives_the_same_gradients(use_reentrant):
    data = (torch.rand(4, 80, 32, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    weights = torch.randn(32, 64, generator=torch.Generator().manual_seed(1)) * 0.2
    found = []
    for checkpointed in (False, True):
        linear, neurons = LinearTorch((32, 64), weight=weights), LIFTorch(64)
        grad_input = data.clone().requires_grad_()

        def layers(x, linear=linear, neurons=neurons):
            return neurons.reset_state()(linear(x)[0])[0]

        output = (
            checkpoint(layers, grad_input, use_reentrant=use_reentrant)
            if checkpointed
            else layers(grad_input)
        )
        output.square().sum().backward()
        found.append((output.detach(), grad_input.grad, linear.weight.grad, neurons.tau_syn.grad))
    assert found[0][0].sum() > 0
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_state_carried_from_call_to_call_equals_one_long_call():
    data = (torch.rand(3, 90, 8, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    with use_backend("numba"):
        neurons = LIFTorch(8, has_rec=True, w_rec=torch.full((8, 8), 0.02))
        whole, state, _ = neurons(data)
        neurons.reset_state()
        parts = [neurons(part)[0] for part in data.split([1, 30, 59], 1)]
        carried = neurons.state()
    assert whole.sum() > 0
    assert torch.equal(torch.cat(parts, 1), whole)
    assert all(torch.equal(carried[name], value) for name, value in state.items())


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_a_batch_of_no_samples_passes_through(backend, recurrent):
    neurons = LIFTorch(8, has_rec=recurrent)
    data = torch.zeros(0, 5, 8, requires_grad=True)
    with use_backend(backend):
        output = neurons(data)[0]
        output.sum().backward()
    assert output.shape == (0, 5, 8)
    assert data.grad.shape == data.shape
    assert not neurons.tau_mem.grad.any()
