"""Configurations and patched networks: the tutorial's sequences, and what a wrapper keeps."""

import copy
import pickle
from functools import partial

import pytest
import torch

import snnkit.transforms.torch_transform as tt
import snnkit.utilities.tree_utils as tu
from snnkit.dag import DagModule
from snnkit.nn.combinators import FFwdStack, Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, UnitDropout

ROUND = partial(tt.deterministic_rounding, num_levels=5)

NESTED = """\
TorchSequential  with shape (3, 3) {
    TWrapper '0_LinearTorch' with shape (3, 5) {
        LinearTorch '_mod' with shape (3, 5)
    }
    LIFTorch '1_LIFTorch' with shape (5, 5)
    TorchResidual '2_TorchResidual' with shape (5, 5) {
        TWrapper '0_LinearTorch' with shape (5, 5) {
            LinearTorch '_mod' with shape (5, 5)
        }
        TWrapper '1_LIFTorch' with shape (5, 5) {
            LIFTorch '_mod' with shape (5, 5)
        }
    }
    TWrapper '3_LinearTorch' with shape (5, 3) {
        LinearTorch '_mod' with shape (5, 3)
    }
    LIFTorch '4_LIFTorch' with shape (3, 3)
}"""


def network(**last):
    torch.manual_seed(0)
    return Sequential(
        LinearTorch((3, 5)),
        LIFTorch(5),
        Residual(LinearTorch((5, 5)), LIFTorch(5, has_rec=True)),
        LinearTorch((5, 3)),
        LIFTorch(3, **last),
    )


def events(batch=1, steps=10, channels=3):
    return torch.randint(0, 3, (batch, steps, channels), generator=torch.Generator().manual_seed(3)).float()


def weights(net, function=ROUND):
    return tt.make_param_T_network(net, tt.make_param_T_config(net, function, "weights"))


# --- The tutorial's sequences -----------------------------------------------------------------------


def test_weights_sequence_prints_trains_applies_and_unwraps():
    net = network()
    bare = repr(net)
    config = tt.make_param_T_config(net, lambda p: tt.stochastic_rounding(p, num_levels=2**2), "weights")
    assert tu.tree_map(config, callable) == {
        "0_LinearTorch": {"weight": True},
        "2_TorchResidual": {"0_LinearTorch": {"weight": True}, "1_LIFTorch": {"w_rec": True}},
        "3_LinearTorch": {"weight": True},
    }
    assert repr(tt.make_param_T_network(net, config)) == NESTED
    config = tu.tree_update(config, tt.make_param_T_config(net, lambda p: tt.dropout(p, 0.3), "biases"))
    tnet = tt.make_param_T_network(net, config)
    optimiser = torch.optim.Adam(tnet.parameters().astorch(), lr=1e-2)
    before = copy.deepcopy(tnet[0].weight.detach())
    for _ in range(2):
        optimiser.zero_grad()
        tnet.reset_state()
        output, _, _ = tnet(torch.ones(1, 10, 3))
        output.sum().backward()
        optimiser.step()
    assert (tnet[0].weight != before).any()
    ttnet = tt.apply_T(tnet, inplace=True)
    assert ttnet is tnet
    for branch in tu.branches(ttnet.parameters("weights")):
        assert len(tu.get_nested(ttnet.parameters("weights"), branch).unique()) <= 4
    unpatched = tt.remove_T_net(ttnet, inplace=True)
    assert repr(unpatched) == bare


def test_biases_reach_the_neurons_own_bias():
    config = tt.make_param_T_config(network(), ROUND, "biases")
    assert config == tt.make_param_T_config(network(), ROUND, "bias")
    assert set(config) == {"1_LIFTorch", "2_TorchResidual", "4_LIFTorch"}


def test_activity_sequence_gives_whole_numbers_in_the_range_of_a_byte():
    net = network()
    empty = tt.make_act_T_config(net)
    assert set(tu.tree_flatten(empty)[0]) == {None}

    def to_bytes(p):
        return tt.deterministic_rounding(p, output_range=[-128, 127], num_levels=2**8)

    config = tt.make_act_T_config(net, to_bytes, LinearTorch)
    assert config == {
        "": None,
        "0_LinearTorch": {"": to_bytes},
        "1_LIFTorch": {"": None},
        "2_TorchResidual": {"": None, "0_LinearTorch": {"": to_bytes}, "1_LIFTorch": {"": None}},
        "3_LinearTorch": {"": to_bytes},
        "4_LIFTorch": {"": None},
    }
    tnet = tt.make_act_T_network(net, config)
    expected = NESTED.replace("TWrapper '1_LIFTorch'", "LIFTorch '1_LIFTorch'").replace(
        "TWrapper", "ActWrapper"
    )
    expected = expected.replace(
        "(5, 5) {\n            LIFTorch '_mod' with shape (5, 5)\n        }", "(5, 5)"
    )
    assert repr(tnet) == expected
    _, _, record = tnet(torch.ones(1, 10, 3), record=True)
    for name in ("0_LinearTorch_output", "3_LinearTorch_output"):
        assert (record[name] == record[name].round()).all()
        assert record[name].min() >= -128
        assert record[name].max() <= 127
    assert set(record["1_LIFTorch"]) == {"vmem", "isyn", "irec", "spikes"}


def test_decays_sequence():
    net = network(leak_mode="decays", alpha=0.8, beta=0.95)
    config = tt.make_param_T_config(net, tt.t_decay, "decays")
    assert set(config["4_LIFTorch"]) == {"alpha", "beta"}
    tnet = tt.make_param_T_network(net, config)
    assert "TWrapper '4_LIFTorch'" in repr(tnet)
    tnet(torch.ones(1, 10, 3))
    applied = tt.remove_T_net(tt.apply_T(tnet))
    assert applied[4].alpha.unique().tolist() == [0.75]
    assert applied[4].beta.unique().tolist() == [0.9375]


def test_bitshifts_sequence():
    net = network(leak_mode="bitshifts", dash_mem=2.6)
    config = tt.make_param_T_config(net, tt.round_passthrough, "bitshifts")
    assert set(config["4_LIFTorch"]) == {"dash_mem", "dash_syn"}
    tnet = tt.make_param_T_network(net, config)
    tnet(torch.ones(1, 10, 3))
    assert tt.remove_T_net(tt.apply_T(tnet))[4].dash_mem.unique().tolist() == [3.0]


def test_activity_of_neurons_keeps_their_recordings():
    net = network()
    tnet = tt.make_act_T_network(net, tt.make_act_T_config(net, lambda s: s.clamp(max=1), LIFTorch))
    output, _, record = tnet(events() * 5, record=True)
    assert set(record["1_LIFTorch"]) == {"vmem", "isyn", "irec", "spikes"}
    assert record["1_LIFTorch_output"].max() == 1
    assert record["1_LIFTorch"]["spikes"].max() > 1
    assert output.max() <= 1


# --- What wrapping keeps ----------------------------------------------------------------------------


def test_stored_parameters_stay_untransformed_and_the_gradient_reaches_them():
    net = network()
    tnet = weights(net)
    raw = tnet.parameters("weights")["0_LinearTorch"]["_mod"]["weight"]
    output, _, _ = tnet(events())
    output.sum().backward()
    assert torch.equal(raw, net[0].weight)
    assert len(raw.unique()) > 5
    assert raw.grad.abs().sum() > 0


def test_output_is_that_of_the_bare_network_with_transformed_parameters():
    net = network()
    tnet = weights(net)
    bare = copy.deepcopy(net)
    for module in (bare[0], bare[2][0], bare[3]):
        module.weight = ROUND(module.weight.detach())
    bare[2][1].w_rec = ROUND(bare[2][1].w_rec.detach())
    for _ in range(2):  # the state carries over from the first call to the second
        ours, _, record = tnet(events(), record=True)
        theirs, _, expected = bare(events(), record=True)
        assert torch.equal(ours, theirs)
        assert torch.equal(record["1_LIFTorch"]["vmem"], expected["1_LIFTorch"]["vmem"])
    assert tnet[1].vmem.abs().sum() > 0


def test_state_carries_over_and_resets_inside_a_wrapper():
    tnet = tt.make_param_T_network(network(), {"1_LIFTorch": {"threshold": ROUND}})
    inner = tnet[1]._mod
    tnet(events(batch=2))
    assert inner.vmem.shape == (2, 5)
    tnet.reset_state()
    assert inner.vmem.shape == (5,)
    assert inner.vmem.abs().sum() == 0


def test_state_dict_has_the_bare_keys_and_loads_both_ways():
    net, tnet = network(), weights(network())
    with torch.no_grad():
        tnet[0].weight.mul_(2)
    assert list(net.state_dict()) == list(tnet.state_dict())
    assert torch.equal(tnet.state_dict()["0_LinearTorch.weight"], tnet[0].weight)
    net.load_state_dict(tnet.state_dict())
    assert torch.equal(net[0].weight, tnet[0].weight)
    other = weights(network())
    other.load_state_dict(net.state_dict())
    assert torch.equal(other[0].weight, net[0].weight)
    act = tt.make_act_T_network(tnet, tt.make_act_T_config(tnet, torch.relu, LinearTorch))
    assert list(act.state_dict()) == list(net.state_dict())
    act.load_state_dict(net.state_dict())
    assert torch.equal(act[0].weight, net[0].weight)


def test_missing_keys_are_reported_without_the_wrappers_level():
    tnet = weights(network())
    state = dict(tnet.state_dict())
    del state["0_LinearTorch.weight"]
    with pytest.raises(RuntimeError, match=r'"0_LinearTorch\.weight"'):
        tnet.load_state_dict(state)


def test_checkpoints_with_the_wrappers_level_load_too():
    tnet = weights(network())
    old = {
        key.replace("0_LinearTorch.", "0_LinearTorch._mod."): value * 2
        for key, value in tnet.state_dict().items()
    }
    tnet.load_state_dict(old)
    assert torch.equal(tnet[0].weight, old["0_LinearTorch._mod.weight"])


def test_inplace_keeps_parameter_identity_through_patching_applying_and_unwrapping():
    net = network()
    before = [id(p) for p in net.parameters().astorch()]
    optimiser = torch.optim.Adam(net.parameters().astorch(), lr=1e-2)
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, ROUND, "weights"), inplace=True)
    assert tnet is net
    tnet = tt.make_act_T_network(tnet, tt.make_act_T_config(tnet, torch.relu, LIFTorch), inplace=True)
    tnet(events())[0].sum().backward()
    optimiser.step()
    moments = optimiser.state[next(net.parameters().astorch())]["exp_avg"].clone()
    tnet = tt.remove_T_net(tt.apply_T(tnet, inplace=True), inplace=True)
    assert [id(p) for p in tnet.parameters().astorch()] == before
    assert torch.equal(optimiser.state[next(tnet.parameters().astorch())]["exp_avg"], moments)
    optimiser.zero_grad()
    tnet.reset_state()
    weight = tnet[0].weight.detach().clone()
    tnet(events())[0].sum().backward()
    optimiser.step()
    assert (tnet[0].weight != weight).any()


def test_a_copy_shares_nothing():
    net = network()
    tnet = weights(net)
    assert not {id(p) for p in net.parameters().astorch()} & {id(p) for p in tnet.parameters().astorch()}
    assert "TWrapper" not in repr(net)


def test_deepcopy_and_pickle_work_after_a_recorded_call():
    net = network()
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, ROUND))
    tnet = tt.make_act_T_network(tnet, tt.make_act_T_config(tnet, torch.relu, LIFTorch))
    expected = tnet(events(), record=True)[0]
    for twin in (copy.deepcopy(tnet), pickle.loads(pickle.dumps(tnet))):
        twin.reset_state()
        assert torch.equal(twin(events())[0], expected)
    tt.remove_T_net(tt.apply_T(tnet))


def test_attributes_of_the_module_inside_can_be_read_and_written():
    tnet = tt.make_param_T_network(network(), {"1_LIFTorch": {"threshold": ROUND}})
    assert tnet[1].dt == 1e-3
    assert torch.equal(tnet[1].alpha, tnet[1]._mod.alpha)
    parameter = tnet[1]._mod.threshold
    tnet[1].threshold = torch.full((5,), 2.0)
    assert tnet[1]._mod.threshold is parameter
    assert parameter.unique().item() == 2.0
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tnet[1].nonsense


def test_train_eval_device_and_dtype_reach_the_module_inside():
    tnet = weights(network()).double().eval()
    assert tnet[0]._mod.weight.dtype == torch.float64
    assert not tnet[0]._mod.training
    assert tnet(events().double())[0].dtype == torch.float64


def test_plain_calls_after_to_torch():
    tnet = weights(network()).to_torch()
    assert isinstance(tnet(events()), torch.Tensor)


# --- Training and evaluation ------------------------------------------------------------------------


def test_random_transforms_draw_in_training_and_not_in_evaluation():
    config = tt.make_param_T_config(network(), lambda p: tt.stochastic_rounding(p, num_levels=4), "weights")
    tnet = tt.make_param_T_network(network(), config)

    def outputs():
        tnet.reset_state()
        return tnet(events())[0]

    assert any(not torch.equal(outputs(), outputs()) for _ in range(5))
    tnet.eval()
    assert torch.equal(outputs(), outputs())


def test_apply_writes_the_evaluation_values():
    tnet = tt.make_param_T_network(network(), {"0_LinearTorch": {"weight": lambda p: tt.dropout(p, 0.9)}})
    applied = tt.apply_T(tnet)
    assert torch.equal(applied[0].weight, tnet[0].weight)


def test_dropout_drops_the_share_asked_for_and_keeps_the_rest():
    value = torch.ones(10000, requires_grad=True)
    dropped = tt.dropout(value, 0.3, generator=torch.Generator().manual_seed(0))
    dropped.sum().backward()
    assert set(dropped.tolist()) == {0.0, 1.0}
    assert abs(dropped.mean().item() - 0.7) < 0.02
    assert torch.equal(value.grad, dropped.detach())
    assert tt.dropout(value, 1.0).eq(0).all()
    assert tt.dropout(value, 0.0).eq(1).all()


# --- Graph ------------------------------------------------------------------------------------------


def test_the_graph_holds_detached_copies_with_the_evaluation_values():
    net = network()
    tnet = tt.make_param_T_network(
        net, tt.make_param_T_config(net, lambda p: tt.stochastic_rounding(p, num_levels=5), "weights")
    )
    graph = tnet.as_graph()
    assert isinstance(graph, DagModule)
    flat = graph.flatten()
    vertex = flat.get_vertex_by_name("0_LinearTorch._mod")
    assert torch.equal(vertex.module.weight, ROUND(net[0].weight))
    assert vertex.module is not tnet[0]._mod
    assert not vertex.module.weight.requires_grad
    names = [entry.name for entry in flat.inner_vertices]
    assert "2_TorchResidual.1_LIFTorch._mod" in names
    assert "1_LIFTorch" in names
    output = flat(events())
    # Modules that are not wrapped are the network's own, state and all.
    tnet.eval().reset_state()
    torch.testing.assert_close(output, tnet(events())[0])


def test_the_graph_of_transformed_activity_has_a_vertex_for_it():
    net = Sequential(LinearTorch((3, 4)), LIFTorch(4), UnitDropout(4))
    tnet = tt.make_act_T_network(net, tt.make_act_T_config(net, torch.zeros_like, LinearTorch))
    flat = tnet.as_graph().flatten()
    assert "0_LinearTorch.activation" in [vertex.name for vertex in flat.vertices]
    assert flat(events()).eq(0).all()


def test_the_graph_of_a_wrapped_container_is_read_from_its_transformed_copy():
    stack = FFwdStack(LIFTorch(3), LIFTorch(4))
    tnet = tt.make_param_T_network(stack, tt.make_param_T_config(stack, torch.zeros_like, "weights"))
    assert tnet.as_graph().flatten()(events() * 3).eq(0).all()
