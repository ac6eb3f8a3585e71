"""Composition, joint transforms, containers, plain torch modules, and entries that match nothing."""

from functools import partial

import pytest
import torch
from torch import nn

import snnkit.transforms.torch_transform as tt
import snnkit.utilities.tree_utils as tu
from snnkit.nn.combinators import FFwdStack, Residual, Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, TorchModule
from snnkit.nn.networks import SynNet
from snnkit.parameters import Constant, Parameter
from snnkit.utilities.errors import ConfigurationError, ShapeError

ROUND = partial(tt.deterministic_rounding, num_levels=5)


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


# --- Composition, joint transforms, containers, plain torch ------------------------------------------


def test_two_transforms_of_one_parameter_apply_in_order():
    net = network()

    def double(p):
        return 2 * p

    def plus_one(p):
        return p + 1

    for tnet in (
        tt.make_param_T_network(net, {"0_LinearTorch": {"weight": [double, plus_one]}}),
        tt.make_param_T_network(
            tt.make_param_T_network(net, {"0_LinearTorch": {"weight": double}}),
            {"0_LinearTorch": {"weight": plus_one}},
        ),
        tt.make_param_T_network(
            net,
            tt.compose_T_config(
                {"0_LinearTorch": {"weight": double}}, {"0_LinearTorch": {"weight": plus_one}}
            ),
        ),
    ):
        torch.testing.assert_close(tt.apply_T(tnet)[0].weight, 2 * net[0].weight + 1)
        assert repr(tnet).count("_mod") == 1
        assert tnet[0].T_config == {"weight": (double, plus_one)}


def test_wrapping_a_wrapped_network_with_its_own_configuration_does_not_nest():
    tnet = weights(network())
    again = tt.make_param_T_network(tnet, tt.make_param_T_config(tnet, torch.neg, "weights"))
    assert repr(again) == repr(tnet)
    act = tt.make_act_T_network(again, tt.make_act_T_config(again, torch.relu, LinearTorch))
    twice = tt.make_act_T_network(act, tt.make_act_T_config(act, torch.neg, LinearTorch))
    assert repr(twice) == repr(act)
    assert twice(events(), record=True)[2]["0_LinearTorch_output"].max() <= 0
    inner = tt.make_param_T_network(twice, {"0_LinearTorch": {"weight": torch.zeros_like}})
    assert inner(events(), record=True)[2]["0_LinearTorch_output"].eq(0).all()
    assert repr(tt.remove_T_net(inner)) == repr(network())


def test_merging_two_configurations_keeps_what_only_one_names():
    merged = tt.compose_T_config({"a": {"x": torch.neg}, "b": None}, {"a": {"y": torch.relu}, "b": torch.neg})
    assert merged == {"a": {"x": torch.neg, "y": torch.relu}, "b": torch.neg}


def test_a_joint_transform_sees_all_parameters_of_a_module_after_their_own_transforms():
    seen = {}

    def normalise(p):
        seen.update(p)
        return {"threshold": torch.ones_like(p["threshold"]), "bias": p["bias"] / p["threshold"]}

    net = network(bias=torch.tensor([1.0, 2.0, 3.0]), threshold=torch.tensor([2.0, 4.0, 8.0]))
    config = tt.make_joint_T_config(net, normalise, LIFTorch)
    assert set(config) == {"1_LIFTorch", "2_TorchResidual", "4_LIFTorch"}
    config = tu.tree_update(config, {"4_LIFTorch": {"bias": torch.neg}})
    tnet = tt.make_param_T_network(net, config)
    applied = tt.apply_T(tnet)
    assert applied[4].bias.tolist() == [-0.5, -0.5, -0.375]
    assert applied[4].threshold.tolist() == [1.0, 1.0, 1.0]
    assert set(seen) == {"tau_mem", "tau_syn", "bias", "threshold", "w_rec"}
    tnet(events() * 5, record=True)[2]["4_LIFTorch"]["vmem"].sum().backward()
    assert tnet[4].bias.grad is not None


def test_a_joint_transform_can_read_the_module():
    def one_step(p):
        return {"tau_mem": torch.full_like(p["tau_mem"], p.module.dt)}

    tnet = tt.make_param_T_network(network(), tt.make_joint_T_config(network(), one_step, LIFTorch))
    torch.testing.assert_close(tt.apply_T(tnet)[1].tau_mem, torch.full_like(tnet[1].tau_mem, 1e-3))


def test_a_joint_transform_may_not_invent_parameters():
    tnet = tt.make_param_T_network(network(), {"0_LinearTorch": {"": lambda p: {"wieght": p["weight"]}}})
    with pytest.raises(ConfigurationError, match="Did you mean 'weight'"):
        tnet(events())


def test_parameters_of_containers_are_transformed():
    torch.manual_seed(0)
    stack = FFwdStack(LIFTorch(3), LIFTorch(4))
    (name,) = stack.parameters("weights")
    tnet = tt.make_param_T_network(stack, tt.make_param_T_config(stack, torch.zeros_like, "weights"))
    assert isinstance(tnet, tt.TWrapper)
    output, _, record = tnet(events() * 3, record=True)
    assert output.eq(0).all()
    assert any("spikes" in entry for entry in record.values() if isinstance(entry, dict))
    assert tt.remove_T_net(tt.apply_T(tnet)).parameters("weights")[name].eq(0).all()
    assert list(tnet.state_dict()) == list(stack.state_dict())


class Gain(TorchModule):
    """A user's container: a module with a parameter of its own and one inside."""

    def __init__(self, size):
        super().__init__(shape=(size, size))
        self.gain = Parameter(torch.ones(size), family="gains")
        self.linear = LinearTorch((size, size))

    def forward(self, data):
        return self.gain * self.linear(data)[0]


def test_a_users_container_inside_a_network_is_wrapped_with_what_it_contains():
    torch.manual_seed(0)
    net = Sequential(Gain(3), LIFTorch(3))
    config = tu.tree_update(
        tt.make_param_T_config(net, torch.zeros_like, "gains"), tt.make_param_T_config(net, ROUND, "weights")
    )
    tnet = tt.make_param_T_network(net, config)
    assert repr(tnet).splitlines()[1:4] == [
        "    TWrapper '0_Gain' with shape (3, 3) {",
        "        Gain '_mod' with shape (3, 3) {",
        "            TWrapper 'linear' with shape (3, 3) {",
    ]
    assert tnet(events(), record=True)[2]["0_Gain_output"].eq(0).all()
    assert repr(tt.remove_T_net(tnet)) == repr(net)


def test_plain_torch_modules_are_patched_by_parameter_name():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    config = tt.make_param_T_config(net, ROUND, "weights")
    assert config == {"0": {"weight": ROUND}, "2": {"weight": ROUND}}
    assert tt.make_param_T_config(net, ROUND, "bias") == {"0": {"bias": ROUND}, "2": {"bias": ROUND}}
    tnet = tt.make_param_T_network(net, config)
    applied = tt.remove_T_net(tt.apply_T(tnet))
    assert type(applied[0]) is nn.Linear
    assert torch.equal(tnet(torch.ones(2, 3)), applied(torch.ones(2, 3)))
    assert list(tnet.state_dict()) == list(net.state_dict())
    net.load_state_dict(tnet.state_dict())
    optimiser = torch.optim.SGD(tnet.parameters(), lr=0.1)
    tnet(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    quantised = tt.make_act_T_network(net, tt.make_act_T_config(net, torch.round, nn.Linear))
    output = quantised(torch.ones(2, 3))
    assert torch.equal(output, output.round())


def test_plain_modules_with_several_arguments_and_outputs():
    torch.manual_seed(0)
    net = nn.LSTM(3, 4)
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, torch.zeros_like, "weights"))
    output, (hidden, _) = tnet(torch.ones(5, 2, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))
    assert output.shape == (5, 2, 4)
    assert hidden.shape == (1, 2, 4)
    assert tnet.hidden_size == 4


def test_a_plain_module_in_one_of_our_containers():
    torch.manual_seed(0)
    net = Sequential(nn.Linear(3, 4), LIFTorch(4))
    tnet = tt.make_param_T_network(net, tt.make_param_T_config(net, torch.zeros_like, "weights"))
    assert tnet(events(), record=True)[2]["0_Linear_output"].std((0, 1)).eq(0).all()
    assert list(tnet.state_dict()) == list(net.state_dict())


def test_a_module_held_twice_gets_one_wrapper():
    linear = nn.Linear(3, 3)
    net = nn.ModuleDict({"a": linear, "b": linear})
    tnet = tt.make_param_T_network(net, {"a": {"weight": torch.zeros_like}}, inplace=True)
    assert tnet["a"] is tnet["b"]
    assert tnet["b"](torch.ones(1, 3)).tolist() == linear.bias[None].tolist()


def test_synnet_is_patched_and_evolves():
    torch.manual_seed(0)
    net = SynNet(n_classes=2, n_channels=3, size_hidden_layers=[4], time_constants_per_layer=[2])
    tnet = weights(net)
    assert tnet(events(), record=True)[0].shape == (1, 10, 2)
    assert repr(tt.remove_T_net(tnet)) == repr(net)


def test_constants_can_be_transformed_when_named():
    net = Sequential(LinearTorch((3, 4)), LIFTorch(4, threshold=Constant(torch.full((4,), 1.3))))
    assert "1_LIFTorch" not in tt.make_param_T_config(net, torch.round, "thresholds")
    tnet = tt.make_param_T_network(net, {"1_LIFTorch": {"threshold": torch.round}})
    tnet(events())
    assert tt.apply_T(tnet)[1].threshold.unique().tolist() == [1.0]


# --- Errors -----------------------------------------------------------------------------------------


def test_every_entry_that_matches_nothing_is_named_with_the_nearest_match():
    net = network()
    config = {"0_LinearTorch": {"wieght": ROUND}, "1_LIFTroch": {"threshold": ROUND}, "3_LinearTorch": ROUND}
    with pytest.raises(ConfigurationError) as caught:
        tt.make_param_T_network(net, config, inplace=True)
    message = str(caught.value)
    assert "0_LinearTorch: Unknown submodule or parameter 'wieght'. Did you mean 'weight'?" in message
    assert "Did you mean '1_LIFTorch'?" in message
    assert "3_LinearTorch is a module" in message
    assert "TWrapper" not in repr(net)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"0_LinearTorch": {"weight": 3}}, "must be a function"),
        ({"0_LinearTorch": {"weight": {"x": torch.neg}}}, "not a dictionary"),
        ({"1_LIFTorch": {"dt": torch.neg}}, "dt"),
        ({"1_LIFTorch": {"vmem": torch.neg}}, "vmem"),
    ],
)
def test_entries_that_cannot_be_applied_are_refused(config, message):
    with pytest.raises(ConfigurationError, match=message):
        tt.make_param_T_network(network(), config)


def test_activity_entries_must_name_modules():
    with pytest.raises(ConfigurationError, match="0_LinearTroch"):
        tt.make_act_T_network(network(), {"0_LinearTroch": {"": torch.neg}})


def test_an_unknown_family_is_an_error_and_an_absent_one_is_not():
    with pytest.raises(ConfigurationError, match="Did you mean 'weights'"):
        tt.make_param_T_config(network(), ROUND, "wieghts")
    assert tt.make_param_T_config(network(), ROUND, "bitshifts") == {}
    config = tt.make_param_T_config(network(), ROUND, ["w_rec", "thresholds"])
    assert set(config["2_TorchResidual"]["1_LIFTorch"]) == {"w_rec", "threshold"}


def test_a_transform_must_keep_the_shape():
    tnet = tt.make_param_T_network(network(), {"0_LinearTorch": {"weight": torch.sum}})
    with pytest.raises(ShapeError, match=r"0_LinearTorch.*weight has shape \(3, 5\)"):
        tnet(events())


def test_families_cover_taus_decays_bitshifts_and_thresholds():
    leaks = {"taus": {"tau_mem", "tau_syn"}, "decays": {"alpha", "beta"}}
    leaks["bitshifts"] = {"dash_mem", "dash_syn"}
    for mode, names in leaks.items():
        config = tt.make_param_T_config(network(leak_mode=mode), ROUND, mode)
        assert set(config["4_LIFTorch"]) == names
    assert set(tt.make_param_T_config(network(), ROUND, "thresholds")["4_LIFTorch"]) == {"threshold"}
