import copy
import pickle

import numpy as np
import pytest
import torch

from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import (
    LIFBaseTorch,
    LIFBitshiftTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    PeriodicExponential,
    StepPWL,
    UpDownTorch,
    aLIFTorch,
)
from snnkit.parameters import Constant, Parameter, SimulationParameter
from snnkit.utilities.errors import ParameterError, ShapeError

MODES = {
    "taus": ("tau_mem", "tau_syn", 20e-3),
    "decays": ("alpha", "beta", 0.5),
    "bitshifts": ("dash_mem", "dash_syn", 1.0),
}


@pytest.mark.parametrize("mode", MODES)
def test_families_shapes_and_defaults(mode):
    membrane, synapse, default = MODES[mode]
    neurons = LIFTorch((6, 3), leak_mode=mode, has_rec=True)
    shapes = {name: tuple(value.shape) for name, value in neurons.parameters().items()}
    assert shapes == {"w_rec": (3, 6), membrane: (3,), synapse: (3, 2), "bias": (3,), "threshold": (3,)}
    assert list(neurons.parameters(mode)) == [membrane, synapse]
    assert list(neurons.parameters("weights")) == ["w_rec"]
    assert list(neurons.parameters("bias")) == list(neurons.parameters("biases")) == ["bias"]
    assert list(neurons.parameters("thresholds")) == ["threshold"]
    torch.testing.assert_close(getattr(neurons, membrane).detach(), torch.full((3,), default))
    assert neurons.threshold.tolist() == [1.0] * 3
    states = {name: tuple(value.shape) for name, value in neurons.state().items()}
    assert states == {"vmem": (3,), "isyn": (3, 2), "spikes": (3,)}
    assert (neurons.shape, neurons.n_neurons, neurons.n_synapses) == ((6, 3), 3, 2)
    assert neurons.spiking_input
    assert neurons.spiking_output


def test_simulation_parameters_keep_rockpools_names():
    neurons = LIFTorch(3)
    expected = {"leak_mode", "dt", "_has_rec", "noise_std", "learning_window"}
    expected |= {"spike_generation_fn", "max_spikes_per_dt"}
    assert set(neurons.simulation_parameters()) == expected
    assert (neurons.dt, neurons.noise_std, neurons.learning_window, neurons.max_spikes_per_dt) == (
        1e-3,
        0.0,
        0.5,
        65536,
    )
    assert neurons.spike_generation_fn == StepPWL.apply


def test_recurrent_weights_exist_only_with_recurrence():
    neurons = LIFTorch(3)
    assert neurons.w_rec is None
    assert "w_rec" not in neurons.state_dict()
    assert isinstance(neurons, LIFBaseTorch)


@pytest.mark.parametrize("mode", MODES)
def test_every_leak_can_be_read_in_every_mode(mode):
    tau = torch.tensor([4e-3, 20e-3])
    values = {
        "taus": tau,
        "decays": torch.exp(-1e-3 / tau),
        "bitshifts": -torch.log2(1 - torch.exp(-1e-3 / tau.double())).float(),
    }
    membrane, synapse, _ = MODES[mode]
    leaks = {membrane: values[mode], synapse: values[mode][:, None]}
    neurons = LIFTorch(2, leak_mode=mode, **leaks)
    for name, (mem, syn, _) in MODES.items():
        torch.testing.assert_close(
            getattr(neurons, mem), values[name], rtol=1e-4, atol=1e-6, check_dtype=True
        )
        torch.testing.assert_close(getattr(neurons, syn), values[name][:, None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("written", "value"), [("tau_mem", 8e-3), ("alpha", 0.8), ("dash_mem", 3.0), ("beta", 0.6)]
)
def test_every_leak_can_be_written_in_every_mode(mode, written, value):
    neurons = LIFTorch((4, 2), leak_mode=mode)
    shape = (2, 2) if written == "beta" else (2,)
    setattr(neurons, written, torch.full(shape, value))
    torch.testing.assert_close(
        getattr(neurons, written).detach(), torch.full(shape, value), rtol=1e-4, atol=1e-6
    )
    assert set(neurons.parameters(mode)) == set(MODES[mode][:2])
    if written == "alpha":
        neurons(torch.tensor([[[1000.0, 0, 0, 0]]]))
        before = LIFTorch((4, 2), alpha=torch.full((2,), 0.8), leak_mode="decays", threshold=1e9)
        neurons.threshold = torch.full((2,), 1e9)
        neurons.vmem = before.vmem = torch.ones(2)
        neurons.isyn = torch.zeros(2, 2)
        for module in (neurons, before):
            module(torch.zeros(1, 3, 4))
        torch.testing.assert_close(neurons.vmem, torch.full((2,), 0.8**3), rtol=1e-4, atol=0)
        torch.testing.assert_close(neurons.vmem, before.vmem, rtol=1e-4, atol=0)


def test_derived_leaks_carry_gradients_to_the_parameters():
    neurons = LIFTorch(2)
    (gradient,) = torch.autograd.grad(neurons.alpha.sum(), neurons.tau_mem)
    assert (gradient > 0).all()


def test_scalar_leaks_thresholds_and_shared_synapses_keep_their_shapes():
    neurons = LIFTorch((6, 3), tau_mem=5e-3, threshold=0.5, bias=0.1, tau_syn=torch.tensor([[1e-3, 5e-3]]))
    assert [tuple(getattr(neurons, n).shape) for n in ("tau_mem", "threshold", "bias", "tau_syn")] == [
        (),
        (),
        (),
        (1, 2),
    ]
    full = LIFTorch(
        (6, 3),
        tau_mem=torch.full((3,), 5e-3),
        threshold=torch.full((3,), 0.5),
        bias=torch.full((3,), 0.1),
        tau_syn=torch.tensor([[1e-3, 5e-3]]).repeat(3, 1),
    )
    data = (torch.rand(2, 50, 6) < 0.3).float()
    assert torch.equal(neurons(data)[0], full(data)[0])


def test_constants_do_not_train():
    neurons = LIFTorch(3, tau_mem=Constant(5e-3), threshold=Constant(torch.full((3,), 0.5)))
    assert set(neurons.parameters()) == {"tau_syn", "bias"}
    assert list(neurons.simulation_parameters("taus")) == ["tau_mem"]
    assert list(neurons.simulation_parameters("thresholds")) == ["threshold"]
    neurons(torch.ones(1, 10, 3))[0].sum().backward()
    assert neurons.tau_syn.grad is not None


@pytest.mark.parametrize("shape", [(5, 2), (2, 5), (0,), (2, 2, 2), ()])
def test_shapes_that_do_not_divide_are_refused(shape):
    with pytest.raises(ShapeError, match="LIFTorch: shape"):
        LIFTorch(shape)


@pytest.mark.parametrize("cls", [LIFTorch, LIFNeuronTorch, aLIFTorch, LIFBitshiftTorch])
@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan")])
def test_thresholds_must_be_positive_at_construction_and_on_assignment(cls, bad):
    with pytest.raises(ParameterError, match="not above 0"):
        cls(3, threshold=bad)
    neurons = cls(3)
    values = torch.tensor([1.0, bad, 1.0])
    with pytest.raises(ParameterError, match=r"1 of 3 thresholds.*at index 1"):
        neurons.threshold = values
    with pytest.raises(ParameterError, match="not above 0"):
        neurons.set_attributes({"threshold": values})
    assert neurons.threshold.tolist() == [1.0] * 3


def test_impossible_arguments_are_refused():
    with pytest.raises(ParameterError, match="Did you mean 'decays'"):
        LIFTorch(2, leak_mode="decay")
    with pytest.raises(ParameterError, match=r"alpha, beta cannot be given"):
        LIFTorch(2, alpha=torch.rand(2), beta=torch.rand(2, 1))
    with pytest.raises(ParameterError, match="leak_mode='taus'"):
        LIFTorch(2, leak_mode="decays", tau_mem=torch.ones(2))
    with pytest.raises(ParameterError, match="has_rec"):
        LIFTorch(2, w_rec=torch.zeros(2, 2))
    with pytest.raises(ParameterError, match="time constants must not be negative"):
        LIFTorch(2, tau_mem=torch.tensor([1e-2, -1e-2]))
    with pytest.raises(ParameterError, match="spike_generation_fn"):
        LIFTorch(2, spike_generation_fn="StepPWL")
    with pytest.raises(TypeError, match="tau_memm"):
        LIFTorch(2, tau_memm=1.0)
    for cls in (aLIFTorch, LIFBitshiftTorch):
        with pytest.raises(TypeError, match="tau_memm"):
            cls(2, tau_memm=1.0)


@pytest.mark.parametrize(
    "argument", [{"tau_mem": torch.ones(4)}, {"w_rec": torch.ones(2, 3), "has_rec": True}]
)
def test_values_of_wrong_shape_are_refused(argument):
    with pytest.raises(ShapeError):
        LIFTorch((6, 3), **argument)
    neurons = LIFTorch((6, 3), has_rec=True)
    for name in set(argument) - {"has_rec"}:
        with pytest.raises(ShapeError, match="must be of shape"):
            setattr(neurons, name, argument[name])


def test_arguments_may_be_declarations_lists_and_arrays():
    neurons = LIFTorch(
        3,
        tau_mem=Parameter(torch.full((3,), 0.03), family="taus"),
        bias=SimulationParameter(torch.zeros(3)),
        threshold=[1, 2, 3],
        tau_syn=np.full((3, 1), 0.01),
        has_rec=SimulationParameter(True),
        dt=Constant(2e-3),
    )
    assert neurons.threshold.tolist() == [1.0, 2.0, 3.0]
    assert neurons.tau_syn.dtype == torch.float32
    assert neurons.dt == 2e-3
    assert set(neurons.parameters()) == {"tau_mem", "tau_syn", "threshold", "w_rec"}
    shared = torch.nn.Parameter(torch.full((3,), 0.02))
    assert LIFTorch(3, tau_mem=shared).tau_mem is shared


def test_the_leak_mode_is_fixed():
    neurons = LIFTorch(3)
    neurons.leak_mode = "taus"
    with pytest.raises(ParameterError, match="cannot change from 'taus' to 'decays'"):
        neurons.leak_mode = "decays"
    with pytest.raises(AttributeError, match="not_there"):
        _ = neurons.not_there


@pytest.mark.parametrize("cls", [LIFTorch, aLIFTorch, LIFNeuronTorch, UpDownTorch])
def test_a_sequence_without_steps_is_refused(cls):
    with pytest.raises(ShapeError, match="no time step"):
        cls(3)(torch.zeros(2, 0, 3))


def test_input_of_wrong_width_is_refused_and_one_channel_is_repeated():
    neurons = LIFTorch((6, 3))
    with pytest.raises(ShapeError, match="wrong neuron dimension"):
        neurons(torch.ones(1, 4, 3))
    assert torch.equal(neurons(torch.ones(1, 40, 1))[0], LIFTorch((6, 3))(torch.ones(1, 40, 6))[0])


def test_integer_and_boolean_events_are_accepted():
    data = torch.rand(2, 30, 4) < 0.5
    reference = LIFTorch((4, 2))(data.float())[0]
    assert torch.equal(LIFTorch((4, 2))(data)[0], reference)
    assert torch.equal(LIFTorch((4, 2))(data.int())[0], reference)


def test_every_batch_element_keeps_its_own_state():
    torch.manual_seed(0)
    w_rec = torch.randn(3, 6) * 0.1
    data = (torch.rand(4, 40, 6) < 0.3).float()
    neurons = LIFTorch((6, 3), has_rec=True, w_rec=w_rec)
    neurons(data[:, :20])
    assert neurons.isyn.shape == (4, 3, 2)
    together = neurons(data[:, 20:])[0]
    for b in range(4):
        alone = LIFTorch((6, 3), has_rec=True, w_rec=w_rec)
        alone(data[b, :20])
        assert alone.isyn.shape == (3, 2)
        torch.testing.assert_close(together[b : b + 1], alone(data[b, 20:])[0])


def test_a_batch_of_another_size_asks_for_a_reset():
    neurons = LIFTorch(2)
    neurons(torch.ones(4, 5, 2))
    with pytest.raises(ShapeError, match="reset_state"):
        neurons(torch.ones(3, 5, 2))
    neurons.reset_state()
    assert neurons(torch.ones(3, 5, 2))[1]["vmem"].shape == (3, 2)


def test_an_unbatched_state_serves_every_element():
    neurons = LIFTorch(2, threshold=100.0)
    neurons(torch.ones(5, 2))
    kept = neurons.vmem.clone()
    neurons(torch.zeros(3, 1, 2))
    assert neurons.vmem.shape == (3, 2)
    torch.testing.assert_close(neurons.vmem[0], neurons.vmem[2])
    assert (kept > 0).all()


def test_kept_states_hold_no_graph_and_recordings_do():
    neurons = LIFTorch(2)
    _, state, record = neurons(torch.ones(2, 30, 2), record=True)
    assert all(not value.requires_grad for value in state.values())
    record["spikes"].sum().backward()
    assert neurons.tau_mem.grad.abs().min() > 0
    neurons(torch.ones(2, 30, 2))[0].sum().backward()


@pytest.mark.parametrize("cls", [LIFTorch, aLIFTorch, LIFBitshiftTorch, LIFNeuronTorch])
def test_copies_and_pickles_work_after_a_recorded_call(cls):
    neurons = cls(3, **({} if cls is LIFNeuronTorch else {"has_rec": True}))
    data = (torch.rand(2, 40, 3) < 0.5).float()
    neurons(data, record=True)
    for twin in (copy.deepcopy(neurons), pickle.loads(pickle.dumps(neurons))):
        assert torch.equal(twin.vmem, neurons.vmem)
        twin_output, _, _ = twin.reset_state()(data)
        assert torch.equal(twin_output, copy.deepcopy(neurons).reset_state()(data)[0])
        assert all(
            a is not b
            for a, b in zip(twin.parameters().astorch(), neurons.parameters().astorch(), strict=True)
        )
        twin.reset_parameters()
        assert torch.equal(twin.tau_mem, neurons.tau_mem)


def test_functional_call_swaps_parameters_and_leaves_the_module_alone():
    neurons = LIFTorch(3, has_rec=True)
    data = (torch.rand(2, 40, 3) < 0.5).float()
    neurons(data, record=True)
    neurons.reset_state()
    stored = neurons.tau_mem.detach().clone()
    swapped = {"tau_mem": torch.full((3,), 5e-3, requires_grad=True), "threshold": torch.full((3,), 0.7)}
    output, _, record = torch.func.functional_call(neurons, swapped, (data,), {"record": True})
    twin = copy.deepcopy(neurons).reset_state()
    twin.set_attributes({name: value.detach() for name, value in swapped.items()})
    torch.testing.assert_close(output, twin(data)[0])
    record["vmem"].sum().backward()
    assert swapped["tau_mem"].grad is not None
    assert torch.equal(neurons.tau_mem, stored)


def test_zero_grad_and_requires_grad_work():
    neurons = LIFTorch(3, has_rec=True)
    neurons(torch.ones(1, 60, 3), record=True)[0].sum().backward()
    assert neurons.tau_mem.grad is not None
    neurons.zero_grad()
    assert all(p.grad is None for p in neurons.parameters().astorch())
    neurons.requires_grad_(False)
    assert not neurons.reset_state()(torch.ones(1, 60, 3))[0].requires_grad


def test_state_dict_brings_a_batched_state_back():
    neurons, other = LIFTorch((4, 2)), LIFTorch((4, 2), tau_mem=5e-3 * torch.ones(2))
    neurons(torch.ones(3, 25, 4))
    other.load_state_dict(neurons.state_dict())
    for name in ("vmem", "isyn", "spikes", "tau_mem"):
        assert torch.equal(getattr(other, name), getattr(neurons, name))


def test_double_precision_runs_throughout():
    neurons = LIFTorch((4, 2), has_rec=True, noise_std=0.1).double()
    output, state, record = neurons(torch.ones(1, 20, 4, dtype=torch.float64), record=True)
    assert {value.dtype for value in [output, *state.values(), *record.values()]} == {torch.float64}


def test_noise_moves_the_membrane_and_follows_the_seed():
    neurons = LIFTorch(200, noise_std=1.0, threshold=1e6, tau_mem=1e6)
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(neurons.reset_state()(torch.zeros(1, 1000, 200))[1]["vmem"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert float(runs[0].std()) == pytest.approx(1.0, rel=0.15)


def test_no_random_number_is_drawn_without_noise():
    before = torch.get_rng_state()
    LIFTorch(3)(torch.ones(1, 10, 3))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("surrogate", [StepPWL, PeriodicExponential, StepPWL.apply])
def test_a_surrogate_is_given_as_class_or_callable(surrogate):
    neurons = LIFTorch(2, spike_generation_fn=surrogate, max_spikes_per_dt=2, learning_window=0.3)
    output = neurons(torch.full((1, 20, 2), 3.0))[0]
    assert output.max() == 2
    output.sum().backward()
    assert neurons.threshold.grad.abs().sum() > 0


def test_a_surrogate_of_the_users_own_gets_tensors_as_in_rockpool():
    class Hard(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v, threshold, window, most):
            return torch.minimum(torch.floor(v / threshold).clamp(min=0), most)

        @staticmethod
        def backward(ctx, gradient):
            return gradient, None, None, None

    data = (torch.rand(2, 40, 6) < 0.4).float()
    own, reference = (LIFTorch((6, 3), spike_generation_fn=f, max_spikes_per_dt=2) for f in (Hard, StepPWL))
    output = own(data)[0]
    assert torch.equal(output, reference(data)[0])
    output.sum().backward()
    assert own.tau_mem.grad.abs().sum() > 0


def test_a_stack_learns_a_target_rate():
    torch.manual_seed(0)
    weights = [0.05 * torch.randn(8, 16), 0.05 * torch.randn(16, 2)]
    net = Sequential(
        LinearTorch((8, 16), weight=weights[0]),
        LIFTorch(16),
        LinearTorch((16, 2), weight=weights[1]),
        LIFTorch(2),
    )
    data = (torch.rand(16, 50, 8) < 0.2).float()
    target = torch.tensor([2.0, 10.0])
    optimiser = torch.optim.Adam(net.parameters("weights").astorch(), lr=0.005)
    losses = []
    for _ in range(40):
        net.zero_grad()
        output, _, _ = net.reset_state()(data)
        loss = (output.sum(1) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
