import copy
import pickle

import pytest
import torch

from snnkit.nn.modules import (
    BooleanState,
    ExpSynTorch,
    InstantTorch,
    LIFBitshiftTorch,
    LIFNeuronTorch,
    LIFTorch,
    LinearTorch,
    LowPass,
    RateTorch,
    TimeStepDropout,
    UnitDropout,
    UpDownTorch,
    aLIFTorch,
    bitshift_to_tau,
)
from snnkit.parameters import Constant
from snnkit.utilities.errors import ParameterError, ShapeError

ALL_MODULES = {
    "linear": lambda: LinearTorch((4, 4), has_bias=True),
    "lif": lambda: LIFTorch((4, 2), has_rec=True),
    "lif decays": lambda: LIFTorch(4, leak_mode="decays"),
    "lif bitshifts": lambda: LIFTorch(4, leak_mode="bitshifts"),
    "alif": lambda: aLIFTorch((4, 2), has_rec=True),
    "lif bitshift": lambda: LIFBitshiftTorch((4, 2)),
    "lif neuron": lambda: LIFNeuronTorch(4),
    "exp syn": lambda: ExpSynTorch(4),
    "rate": lambda: RateTorch(4, has_rec=True),
    "up down": lambda: UpDownTorch(4),
    "instant": lambda: InstantTorch(4, torch.tanh),
    "boolean": lambda: BooleanState(4),
    "unit dropout": lambda: UnitDropout(4),
    "step dropout": lambda: TimeStepDropout(4),
}


@pytest.fixture(params=ALL_MODULES)
def module(request):
    torch.manual_seed(0)
    return ALL_MODULES[request.param]()


def outputs(module, data):
    torch.manual_seed(1)
    return module.reset_state()(data)[0]


def test_every_module_copies_pickles_and_resets_after_a_recorded_batch(module):
    data = torch.randn(3, 20, 4)
    expected = outputs(module, data)
    assert expected.shape == (3, 20, module.size_out)
    module(data, record=True)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(outputs(twin, data), expected)
    module.zero_grad()
    module.requires_grad_(False)
    module.reset_parameters()


def test_every_module_is_a_graph_of_one_vertex_that_holds_it(module):
    graph = module.as_graph()
    (vertex,) = graph.inner_vertices
    assert vertex.module is module
    assert len(graph.input_vertices) == len(graph.output_vertices) == 1


def test_every_module_saves_and_loads_its_parameters(module, tmp_path):
    data = torch.randn(1, 20, 4)
    expected = outputs(module, data)
    module.save(tmp_path / "module.json")
    with torch.no_grad():
        for parameter in module.parameters().astorch():
            parameter.mul_(0.5)
    module.load(tmp_path / "module.json")
    torch.testing.assert_close(outputs(module, data), expected)


def test_every_module_takes_data_without_batch_axis(module):
    assert module(torch.randn(5, 4))[0].shape == (1, 5, module.size_out)


def test_adaptation_lowers_the_rate():
    data = torch.full((1, 200, 3), 0.05)
    plain, tired = LIFTorch(3), aLIFTorch(3)
    assert 0 < tired(data)[0].sum() < 0.8 * plain(data)[0].sum()
    assert list(tired.parameters("weights")) == ["w_ahp"]
    assert list(tired.parameters("taus")) == ["tau_mem", "tau_syn", "tau_ahp"]
    assert tired.w_ahp.tolist() == pytest.approx([-0.9] * 3)
    zero = aLIFTorch(3, w_ahp=0.0)
    assert torch.equal(zero(data)[0], plain.reset_state()(data)[0])


def test_adaptive_neurons_keep_their_current_for_every_batch_element():
    neurons = aLIFTorch(2)
    data = torch.zeros(3, 30, 2)
    data[0] = 0.5
    state = neurons(data)[1]
    assert state["iahp"].shape == (3, 2)
    assert (state["iahp"][0] < 0).all()
    assert (state["iahp"][1:] == 0).all()


def test_bitshift_neurons_snap_their_time_constants():
    neurons = LIFBitshiftTorch((2, 1), tau_mem=20e-3, tau_syn=torch.tensor([[5e-3, 12e-3]]))
    dash_mem, dash_syn = torch.tensor(4.0), torch.tensor([[2.0, 4.0]])
    torch.testing.assert_close(neurons.tau_mem.detach(), bitshift_to_tau(1e-3, dash_mem)[0])
    torch.testing.assert_close(neurons.tau_syn.detach(), bitshift_to_tau(1e-3, dash_syn)[0])
    assert neurons.alpha.item() == 0.9375
    assert neurons.beta.tolist() == [[0.75, 0.9375]]
    torch.testing.assert_close(neurons.dash_mem.detach(), dash_mem)
    assert neurons.max_spikes_per_dt == 31
    neurons.reset_parameters()
    assert neurons.alpha.item() == 0.9375


def test_bitshift_neurons_train_from_one_shift_to_the_next():
    neurons = LIFBitshiftTorch(1, tau_mem=4e-3, threshold=1e6)
    optimiser = torch.optim.Adam(neurons.parameters("taus").astorch(), lr=2e-4)
    seen = set()
    for _ in range(60):
        optimiser.zero_grad()
        record = neurons.reset_state()(torch.ones(1, 50, 1), record=True)[2]
        (record["vmem"][:, -1] - 400.0).square().mean().backward()
        optimiser.step()
        dash = neurons.dash_mem.item()
        assert dash == pytest.approx(round(dash), abs=1e-3)
        seen.add(round(dash))
    assert len(seen) >= 2


def test_bitshift_mode_rounds_its_shifts():
    neurons = LIFBitshiftTorch(2, leak_mode="bitshifts", dash_mem=torch.tensor([1.6, 3.2]))
    assert neurons.dash_mem.tolist() == [2.0, 3.0]
    with torch.no_grad():
        neurons.dash_mem.add_(0.3)
    assert neurons.alpha.tolist() == [0.75, 0.875]
    (gradient,) = torch.autograd.grad(neurons.alpha.sum(), neurons.dash_mem)
    assert (gradient > 0).all()
    with pytest.raises(ParameterError, match="bitshifts"):
        LIFBitshiftTorch(2, leak_mode="decays")


@pytest.mark.parametrize("cls", [LIFNeuronTorch, ExpSynTorch, RateTorch])
def test_layers_without_synapses_refuse_two_different_sizes(cls):
    with pytest.raises(ShapeError, match="only one dimension"):
        cls((4, 2))


def test_families_of_the_simple_neurons():
    neuron, synapse, rate = LIFNeuronTorch(3), ExpSynTorch(3), RateTorch(3, has_rec=True)
    assert [list(neuron.parameters(f)) for f in ("taus", "thresholds", "bias")] == [
        ["tau_mem"],
        ["threshold"],
        ["bias"],
    ]
    assert neuron.bias.shape == ()
    assert list(synapse.parameters("taus")) == ["tau"]
    assert synapse.tau.tolist() == pytest.approx([0.01] * 3)
    families = {f: list(rate.parameters(f)) for f in ("weights", "taus", "biases", "thresholds")}
    assert families == {
        "weights": ["w_rec"],
        "taus": ["tau"],
        "biases": ["bias"],
        "thresholds": ["threshold"],
    }


def test_rate_neurons_refuse_weights_without_recurrence_and_draw_unit_eigenvalues():
    with pytest.raises(ParameterError, match="has_rec"):
        RateTorch(2, w_rec=torch.zeros(2, 2))
    with pytest.raises(ParameterError, match="activation_func"):
        RateTorch(2, activation_func="relu")
    assert RateTorch(2).w_rec is None
    torch.manual_seed(0)
    eigenvalues = torch.linalg.eigvals(RateTorch(300, has_rec=True).w_rec.detach())
    assert 0.9 < eigenvalues.abs().max() < 1.15


def test_rate_noise_differs_between_batch_elements():
    torch.manual_seed(0)
    x = RateTorch(3, noise_std=1.0)(torch.zeros(2, 10, 3), record=True)[2]["x"]
    assert not torch.equal(x[0], x[1])


def test_up_down_events_rebuild_the_signal():
    signal = torch.sin(torch.linspace(0, 12, 300))[None, :, None].repeat(1, 1, 2)
    encoder = UpDownTorch(2, thr_up=torch.tensor([0.05, 0.1]), thr_down=torch.tensor([0.05, 0.02]))
    events, _, record = encoder(signal, record=True)
    assert encoder.shape == (2, 4)
    up, down = events[..., 0::2], events[..., 1::2]
    rebuilt = signal[:, :1] + (up * encoder.thr_up - down * encoder.thr_down).cumsum(1)
    torch.testing.assert_close(rebuilt[:, :-1], record["analog_value"][:, 1:], rtol=1e-4, atol=1e-4)
    assert (rebuilt - signal).abs()[..., 0].max() < 0.0501
    # The second channel falls in finer steps than it rises: a vector thr_down counts.
    assert down[..., 1].sum() > 3 * up[..., 1].sum()


def test_up_down_keeps_its_input_and_waits_between_events():
    ramp = torch.linspace(0, 10, 41)[None, :, None]
    before = ramp.clone()
    events = UpDownTorch(1, thr_up=0.1, n_ref_steps=4, repeat_output=2)(ramp)[0][0, :, 0]
    assert torch.equal(ramp, before)
    assert events.nonzero().flatten().tolist() == list(range(1, 41, 4))
    assert events.max() == 2


def test_up_down_refuses_impossible_settings():
    for bad in ({"thr_up": 0.0}, {"thr_down": -1.0}, {"n_ref_steps": -1}, {"repeat_output": 0}):
        with pytest.raises(ParameterError):
            UpDownTorch(2, **bad)
    with pytest.raises(ShapeError, match="one-element tuple"):
        UpDownTorch((2, 4))
    with pytest.raises(ShapeError):
        UpDownTorch(2, thr_up=torch.ones(3))
    constant = UpDownTorch(2, thr_up=Constant(0.5))
    assert list(constant.parameters()) == ["thr_down"]
    assert constant.thr_up.tolist() == [[0.5, 0.5]]


def test_boolean_state_switches_and_remembers_over_calls_and_batches():
    switch = BooleanState(2)
    data = torch.tensor([[[0.0, 0], [1, 0], [0, -1], [-1, 1], [0, 1e-11]], [[0, 0]] * 5])
    output, state, _ = switch(data)
    assert output.dtype == torch.bool
    assert output[0].int().tolist() == [[0, 0], [1, 0], [1, 0], [0, 1], [0, 1]]
    assert not output[1].any()
    assert state["bool_state"].tolist() == [[False, True], [False, False]]
    again = switch(torch.zeros(2, 3, 2))[0]
    assert again[0].int().tolist() == [[0, 1]] * 3
    with pytest.raises(ParameterError, match="negative"):
        BooleanState(2, threshold=-1.0)


def test_unit_dropout_silences_whole_channels_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout = UnitDropout(2000, p=0.8)
    output = dropout(torch.ones(2, 4, 2000))[0]
    assert torch.equal(output, output[:, :1].expand(2, 4, 2000))
    assert not torch.equal(output[0], output[1])
    assert output.unique().tolist() == pytest.approx([0.0, 5.0])
    assert float((output == 0).float().mean()) == pytest.approx(0.8, abs=0.03)
    assert torch.equal(dropout.eval()(torch.ones(1, 3, 2000))[0], torch.ones(1, 3, 2000))
    assert UnitDropout(3, p=1.0)(torch.ones(1, 2, 3))[0].count_nonzero() == 0


def test_time_step_dropout_removes_single_values_without_scaling():
    torch.manual_seed(0)
    dropout = TimeStepDropout(20, p=0.3)
    output = dropout(torch.ones(2, 500, 20))[0]
    assert set(output.unique().tolist()) == {0.0, 1.0}
    assert float((output == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert (output.std(-1) > 0).any()
    assert torch.equal(dropout.eval()(torch.ones(1, 3, 20))[0], torch.ones(1, 3, 20))


@pytest.mark.parametrize("cls", [UnitDropout, TimeStepDropout])
def test_dropout_starts_as_told_and_checks_its_probability(cls):
    still = cls(4, 0.9, training=False)
    assert torch.equal(still(torch.ones(1, 9, 4))[0], torch.ones(1, 9, 4))
    still.train()
    assert still(torch.ones(1, 9, 4))[0].min() == 0
    assert still.simulation_parameters()["p"] == 0.9
    for bad in (-0.1, 1.1):
        with pytest.raises(ParameterError, match="probability"):
            cls(4, bad)


def test_instant_applies_its_function():
    data = torch.randn(2, 3, 4)
    assert torch.equal(InstantTorch(4, torch.relu)(data)[0], data.relu())
    assert torch.equal(InstantTorch(4)(data)[0], data)
    assert InstantTorch((4, 8), lambda x: torch.cat([x, -x], -1))(data)[0].shape == (2, 3, 8)
    with pytest.raises(ParameterError, match="callable"):
        InstantTorch(4, "relu")


def test_low_pass_keeps_a_state_for_every_batch_element():
    with pytest.warns(DeprecationWarning, match="ExpSynTorch"):
        filtered = LowPass(2, 1e-3, 0.01)
    data = torch.randn(30, 4, 2)
    whole = filtered(data)[0]
    filtered.reset_state()
    halves = torch.cat([filtered(data[:11])[0], filtered(data[11:])[0]])
    torch.testing.assert_close(whole, halves)
    with pytest.raises(ShapeError, match="time, batch, 2"):
        filtered(torch.ones(3, 4, 5))


@pytest.mark.parametrize("cls", [ExpSynTorch, RateTorch, UpDownTorch])
@pytest.mark.parametrize("dt", [0.0, -1e-3, float("nan")])
def test_a_time_step_is_greater_than_0(cls, dt):
    with pytest.raises(ParameterError, match=rf"{cls.__name__}: dt is {dt} s"):
        cls(3, dt=dt)


def test_adaptive_neurons_show_the_decay_of_their_adaptation():
    module = aLIFTorch(3, tau_ahp=50e-3, dt=2e-3)
    assert float(module.gamma) == pytest.approx(float(torch.exp(torch.tensor(-2 / 50))))


def test_arrays_are_read_in_the_precision_of_the_module():
    module = LinearTorch((4, 3)).double()
    assert module(torch.ones(1, 5, 4).numpy())[0].dtype == torch.float64
    assert LIFTorch(4).double()([[1.0, 0.0, 2.0, 0.0]])[0].dtype == torch.float64
    assert LIFTorch(4)(torch.ones(1, 5, 4, dtype=torch.float64).numpy())[0].dtype == torch.float32


@pytest.mark.parametrize("module", [LIFTorch, LIFNeuronTorch, aLIFTorch, LIFBitshiftTorch])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dt", 0.0),
        ("dt", float("nan")),
        ("noise_std", -1.0),
        ("max_spikes_per_dt", 0),
        ("learning_window", 0.0),
    ],
)
def test_impossible_simulation_parameters_are_refused(module, name, value):
    with pytest.raises(ParameterError, match=name):
        module(3, **{name: value})
