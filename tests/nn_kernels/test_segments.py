"""Long recordings in segments: the same values and gradients from less that is kept."""

import pytest
import torch
from lif_cases import Case, assert_gradients_agree, run

from snnkit.nn.backend import use_backend
from snnkit.nn.lif_segments import get_segments, set_segments, use_segments
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.utilities.errors import ConfigurationError


def kept_bytes(call):
    """Return the bytes that ``call`` keeps for its backward pass, each memory counted once."""
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = call()
    assert output.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
@pytest.mark.parametrize("readout", ["all", "spikes", "vmem"])
@pytest.mark.parametrize(
    "case",
    [
        Case(steps=23, synapses=2, recurrent=True, noisy=True),
        Case(steps=23, periodic=True, alpha="scalar", beta="row", cap=3.0),
        Case(steps=23, recurrent=True, adaptive=True),
    ],
    ids=["recurrent", "periodic", "adaptive"],
)
def test_segments_change_neither_values_nor_gradients(case, readout, backend):
    expected, expected_gradients = run(case, backend, readout)
    for steps in (1, 5, 22):
        with use_segments(steps):
            outputs, gradients = run(case, backend, readout)
        for name, value in expected.items():
            assert torch.equal(outputs[name], value), name
        assert_gradients_agree(gradients, expected_gradients, case.dtype)


@pytest.mark.parametrize("backend", ["numba", "torch", "reference"])
def test_segments_keep_the_input_and_the_states_between_them(backend):
    batch, steps, neurons, segment = 2, 320, 8, 80
    data = torch.rand(batch, steps, neurons)
    sequence, state = data.numel() * 4, batch * neurons * 4

    def call():
        return LIFTorch(neurons)(data)[0]

    with use_backend(backend):
        whole = kept_bytes(call)
        with use_segments(segment):
            cut = kept_bytes(call)
    borders = steps // segment - 1
    constants = 4 * neurons * 4 + 3 * state
    assert sequence + borders * 2 * state <= cut <= sequence + borders * 3 * state + 8 * constants
    assert cut < whole


def test_kernels_keep_the_input_and_one_state_in_sixteen():
    batch, steps, neurons = 2, 320, 8
    data = torch.rand(batch, steps, neurons)
    with use_backend("numba"):
        kept = kept_bytes(lambda: LIFTorch(neurons)(data)[0])
    sequence = data.numel() * 4
    assert sequence <= kept <= sequence * (1 + 2 / 16) + 2000
    with use_backend("reference"):
        assert kept_bytes(lambda: LIFTorch(neurons)(data)[0]) > 3 * sequence


def test_a_net_trains_alike_in_segments():
    torch.manual_seed(0)
    data = (torch.rand(4, 60, 6) < 0.3).float()
    weights = torch.randn(6, 12) * 0.3
    gradients = []
    for segment in (None, 7):
        set_segments(segment)
        try:
            linear, neurons = LinearTorch((6, 12), weight=weights), LIFTorch(12)
            output = neurons(linear(data)[0])[0]
            output.square().sum().backward()
        finally:
            set_segments(None)
        gradients.append((linear.weight.grad, neurons.tau_mem.grad, neurons.threshold.grad))
    torch.testing.assert_close(*gradients)


def test_recordings_and_inference_are_not_cut():
    neurons, data = LIFTorch(3), torch.rand(2, 30, 3)
    expected, _, record = neurons(data, record=True)
    with use_segments(4):
        output, _, cut_record = neurons.reset_state()(data, record=True)
        with torch.no_grad():
            silent, _, _ = neurons.reset_state()(data)
    assert torch.equal(output, expected)
    assert torch.equal(silent, expected)
    assert all(torch.equal(record[name], cut_record[name]) for name in record)


def test_the_switch_holds_for_its_block_and_refuses_what_is_no_number_of_steps():
    set_segments(9)
    try:
        with use_segments(4):
            assert get_segments() == 4
        assert get_segments() == 9
    finally:
        set_segments(None)
    assert get_segments() is None
    for wrong in (0, -3, 2.5, True):
        with pytest.raises(ConfigurationError, match="segment"):
            set_segments(wrong)
