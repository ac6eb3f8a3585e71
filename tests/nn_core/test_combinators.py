from collections import OrderedDict

import pytest
import torch
from core_modules import Accumulator
from torch import nn

from snnkit.dag import Add, DagModule
from snnkit.nn.combinators import (
    FFwdStack,
    FFwdStackMixin,
    Residual,
    ResidualMixin,
    Sequential,
    SequentialMixin,
    TorchFFwdStack,
    TorchResidual,
    TorchSequential,
)
from snnkit.nn.modules import ExpSynTorch, LIFTorch, LinearTorch


def example() -> TorchSequential:
    return Sequential(
        LinearTorch((3, 5)),
        LIFTorch(5),
        Residual(LinearTorch((5, 5)), LIFTorch(5, has_rec=True)),
        LinearTorch((5, 3)),
        LIFTorch(3),
    )


def test_print_of_a_nested_network():
    assert repr(example()) == (
        "TorchSequential  with shape (3, 3) {\n"
        "    LinearTorch '0_LinearTorch' with shape (3, 5)\n"
        "    LIFTorch '1_LIFTorch' with shape (5, 5)\n"
        "    TorchResidual '2_TorchResidual' with shape (5, 5) {\n"
        "        LinearTorch '0_LinearTorch' with shape (5, 5)\n"
        "        LIFTorch '1_LIFTorch' with shape (5, 5)\n"
        "    }\n"
        "    LinearTorch '3_LinearTorch' with shape (5, 3)\n"
        "    LIFTorch '4_LIFTorch' with shape (3, 3)\n"
        "}"
    )


def test_factories_make_the_torch_classes():
    assert isinstance(example(), TorchSequential)
    assert isinstance(example(), SequentialMixin)
    assert isinstance(example()[2], TorchResidual)
    assert isinstance(example()[2], ResidualMixin)
    assert isinstance(FFwdStack(LIFTorch(3), LIFTorch(2)), TorchFFwdStack)
    assert isinstance(FFwdStack(LIFTorch(3), LIFTorch(2)), FFwdStackMixin)


def test_sequential_is_the_composition_of_its_modules():
    net = Sequential(Accumulator(3, 4), Accumulator(4, 2))
    data = torch.rand(2, 6, 3)

    output = net(data)[0]

    net.reset_state()
    assert torch.equal(output, net[1](net[0](data)[0])[0])


def test_records_hold_each_childs_own_and_its_output_with_gradient():
    net = example()

    _, _, record = net(torch.rand(2, 30, 3) * 5, record=True)

    assert list(record) == [
        "0_LinearTorch", "0_LinearTorch_output", "1_LIFTorch", "1_LIFTorch_output", "2_TorchResidual",
        "2_TorchResidual_output", "3_LinearTorch", "3_LinearTorch_output", "4_LIFTorch", "4_LIFTorch_output",
    ]  # fmt: skip
    assert record["0_LinearTorch"] == {}
    assert set(record["1_LIFTorch"]) == {"vmem", "isyn", "irec", "spikes"}
    assert set(record["2_TorchResidual"]) >= {"0_LinearTorch_output", "1_LIFTorch"}
    record["1_LIFTorch_output"].sum().backward()
    assert net[0].weight.grad is not None
    assert net[0].weight.grad.any()


def test_nothing_is_recorded_unless_asked_for():
    assert example()(torch.rand(1, 5, 3))[2] == {}


def test_names_may_be_given_in_a_mapping_and_later_modules_are_numbered():
    named = OrderedDict(encode=LinearTorch((3, 5)), fire=LIFTorch(5))

    net = Sequential(named, LinearTorch((5, 2)))

    assert list(net.modules()) == ["encode", "fire", "1_LinearTorch"]


def test_children_are_found_by_position_name_and_slice():
    net = example()

    assert net[0] is net["0_LinearTorch"]
    assert net[-1] is net["4_LIFTorch"]
    assert len(net) == 5
    assert list(net) == [net[i] for i in range(5)]
    assert list(net[1:3].modules()) == ["1_LIFTorch", "2_TorchResidual"]
    assert net[1:3][0] is net[1]
    assert net[1:3].shape == (5, 5)
    with pytest.raises(IndexError):
        net[5]
    with pytest.raises(KeyError, match="Did you mean '0_LinearTorch'"):
        net["0_LinaerTorch"]


def test_neighbours_must_fit():
    message = (
        r"The output of submodule 1 \(LIFTorch\) does not match the input shape of submodule 2 "
        r"\(LinearTorch\): 5 ≠ 4"
    )
    with pytest.raises(ValueError, match=message):
        Sequential(LinearTorch((3, 5)), LIFTorch(5), LinearTorch((4, 2)))


def test_append_adds_at_the_end_and_checks():
    net = Sequential(LinearTorch((3, 5)))

    assert net.append(LIFTorch(5)) is net
    net.append(LinearTorch((5, 2)), "readout")

    assert list(net.modules()) == ["0_LinearTorch", "1_LIFTorch", "readout"]
    assert net.shape == (3, 2)
    assert net["readout"].name == "'readout'"
    with pytest.raises(ValueError, match="already has a submodule 'readout'"):
        net.append(LinearTorch((2, 2)), "readout")
    with pytest.raises(ValueError, match="2 ≠ 7"):
        net.append(LinearTorch((7, 2)))
    with pytest.raises(TypeError, match="no module"):
        net.append(torch.relu)
    assert len(net) == 3


@pytest.mark.parametrize("keyword", ["shape", "spiking_input", "spiking_output", "anything"])
@pytest.mark.parametrize("factory", [Sequential, Residual])
def test_keywords_are_refused(factory, keyword):
    with pytest.raises(ValueError, match=f"You may not provide an? `{keyword}` argument"):
        factory(LinearTorch((3, 3)), **{keyword: True})


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="'1_function' is no module"):
        Sequential(LinearTorch((3, 3)), lambda x: x)
    with pytest.raises(ValueError, match="at least 1"):
        Sequential()


def test_spiking_flags_follow_the_ends():
    net = Sequential(LIFTorch(3), LinearTorch((3, 2)))

    assert net.spiking_input
    assert not net.spiking_output


def test_plain_torch_modules_take_part():
    net = Sequential(LinearTorch((3, 5)), nn.Tanh(), nn.Linear(5, 2))

    output, _, record = net(torch.rand(1, 4, 3), record=True)

    assert output.shape == (1, 4, 2)
    assert net.shape == (3, None)
    assert "1_Tanh_output" in record
    assert set(net.parameters()["2_Linear"]) == {"weight", "bias"}


def test_plain_modules_that_return_more_than_a_tensor_are_refused():
    with pytest.raises(TypeError, match="GRU returns tuple"):
        Sequential(nn.GRU(3, 3))(torch.rand(1, 4, 3))


def test_residual_adds_its_input():
    block = Residual(Accumulator(3, 4), Accumulator(4, 3))
    data = torch.rand(2, 6, 3)

    output = block(data)[0]

    block.reset_state()
    assert torch.allclose(output, data + block[1](block[0](data)[0])[0])
    assert Residual(LinearTorch((3, 3)))(torch.rand(6, 1))[0].shape == (1, 6, 3)


def test_residual_needs_as_many_outputs_as_inputs():
    with pytest.raises(ValueError, match="`size_in` and `size_out` must be identical for a residual block"):
        Residual(LinearTorch((3, 5)))
    with pytest.raises(ValueError, match="identical"):
        Residual(LinearTorch((3, 3))).append(LinearTorch((3, 2)))


def test_stack_puts_weights_between_its_modules():
    stack = FFwdStack(ExpSynTorch(3), ExpSynTorch(4), ExpSynTorch(2))
    data = torch.rand(2, 6, 3)

    output, _, record = stack(data, record=True)

    stack.reset_state()
    first, second, third = stack.modules().values()
    weights = stack.parameters("weights")
    hidden = second(first(data)[0] @ weights["0_1_weight"])[0]
    expected = third(hidden @ weights["1_2_weight"])[0]
    assert torch.allclose(output, expected)
    assert {name: tuple(value.shape) for name, value in weights.items()} == {
        "0_1_weight": (3, 4), "1_2_weight": (4, 2),
    }  # fmt: skip
    assert "2_ExpSynTorch_output" in record


def test_stack_weights_are_drawn_unless_told_otherwise():
    drawn = FFwdStack(LIFTorch(3), LIFTorch(2)).parameters("weights")["0_1_weight"]
    ones = FFwdStack(LIFTorch(3), LIFTorch(2), weight_init_func=torch.ones).parameters("weights")[
        "0_1_weight"
    ]

    assert drawn.abs().max() > 0
    assert drawn.abs().max() <= (6 / 3) ** 0.5
    assert torch.equal(ones, torch.ones(3, 2))


def test_stack_needs_two_modules_of_known_size():
    with pytest.raises(ValueError, match="at least 2"):
        FFwdStack(LIFTorch(3))
    with pytest.raises(ValueError, match="'1_Tanh' does not tell"):
        FFwdStack(LIFTorch(3), nn.Tanh())


def vertex_names(graph: DagModule) -> list[str]:
    return [vertex.name for vertex in graph.flatten().inner_vertices]


def test_graph_names_are_module_paths():
    assert vertex_names(example().as_graph()) == [
        "0_LinearTorch", "1_LIFTorch", "2_TorchResidual.0_LinearTorch", "2_TorchResidual.1_LIFTorch",
        "2_TorchResidual.add", "3_LinearTorch", "4_LIFTorch",
    ]  # fmt: skip


def test_graph_holds_the_very_modules_and_nests_containers():
    net = example()

    graph = net.as_graph()

    assert graph.get_vertex_by_name("1_LIFTorch").module is net[1]
    residual = graph.get_vertex_by_name("2_TorchResidual").module
    assert isinstance(residual, DagModule)
    assert isinstance(residual.get_vertex_by_name("add").module, Add)
    assert [v.name for v in residual.get_vertex_by_name("add").predecessors] == ["1_LIFTorch", "input"]


@pytest.mark.parametrize(
    "make",
    [example, lambda: FFwdStack(LIFTorch(3), LIFTorch(4), LIFTorch(2)),
     lambda: Sequential(LinearTorch((3, 5)), nn.Tanh(), Residual(LinearTorch((5, 5))))],
)  # fmt: skip
def test_graph_computes_what_the_network_does(make):
    net = make()
    data = torch.rand(2, 20, 3) * 5

    expected = net(data)[0]

    net.reset_state()
    assert torch.equal(net.as_graph()(data), expected)
    net.reset_state()
    assert torch.equal(net.as_graph().flatten()(data), expected)


def test_graph_of_a_stack_shares_the_weights():
    stack = FFwdStack(LIFTorch(3), LIFTorch(2))

    vertex = stack.as_graph().get_vertex_by_name("0_1_weight")

    assert vertex.module.weight is getattr(stack, "0_1_weight")


def test_a_child_called_add_does_not_clash_with_the_sum():
    block = Residual({"add": LinearTorch((3, 3))})

    assert vertex_names(block.as_graph()) == ["add", "add_"]
