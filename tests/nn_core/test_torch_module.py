import numpy as np
import pytest
import torch
from core_modules import Accumulator, Nested, constant_gain
from torch import nn

from snnkit.nn.modules import TorchModule
from snnkit.parameters import Parameter, SimulationParameter, State
from snnkit.utilities.tree_utils import branches, tree_map


def test_call_returns_output_state_and_record():
    module = Accumulator(3, 2)

    output, state, record = module(torch.ones(4, 5, 3), record=True)

    assert output.shape == (4, 5, 2)
    assert torch.equal(state["total"], output[:, -1])
    assert torch.equal(record["totals"], output)


def test_nothing_is_recorded_unless_asked_for():
    assert Accumulator(3, 2)(torch.ones(1, 5, 3))[2] == {}


def test_recordings_keep_their_gradient():
    module = Accumulator(3, 2)

    module(torch.ones(1, 5, 3), record=True)[2]["totals"].sum().backward()

    assert module.weight.grad is not None


def test_evolve_is_the_same_as_a_call():
    module = Accumulator(3, 2)
    data = torch.rand(2, 5, 3)

    called = module(data)[0]
    evolved = module.reset_state().evolve(data)[0]

    assert torch.equal(called, evolved)


def test_a_previous_triple_is_taken_as_input_and_merged():
    module = Nested()
    first, second = module.first, module.listed[0]

    output, state, record = second(first(torch.ones(1, 5, 3), record=True), record=True)

    assert output.shape == (1, 5, 2)
    assert set(state) >= {"total", second.name}
    assert set(record) == {"totals", second.name}


def test_a_tuple_of_another_length_is_refused():
    with pytest.raises(ValueError, match="has 2 elements"):
        Accumulator(3, 2)((torch.ones(1, 5, 3), {}))


@pytest.mark.parametrize("shape", [(5, 3), (5, 1), (2, 5, 1), (5,)])
def test_short_inputs_get_a_batch_axis_and_single_channels_are_repeated(shape):
    data = torch.rand(shape)
    full = data if data.ndim == 3 else data.reshape(1, 5, -1)

    output = Accumulator(3, 2)(data)[0]

    assert output.ndim == 3
    assert output.shape[:2] == full.shape[:2]


def test_time_is_the_axis_of_a_vector():
    module = Accumulator(1, 1)

    assert module(torch.ones(7))[0].shape == (1, 7, 1)


def test_wrong_number_of_channels_is_a_clear_error():
    with pytest.raises(
        ValueError, match=r"Accumulator: Input has wrong neuron dimension\. It is 4, must be 3"
    ):
        Accumulator(3, 2)(torch.ones(1, 5, 4))


def test_four_axes_are_refused():
    with pytest.raises(ValueError, match=r"must be \(batch, time, channels\)"):
        Accumulator(3, 2)(torch.ones(1, 1, 5, 3))


def test_arrays_are_taken_as_input():
    assert Accumulator(3, 2)(np.ones((1, 5, 3)))[0].dtype == torch.get_default_dtype()


def test_state_is_kept_for_every_batch_element():
    module = Accumulator(3, 2)
    data = torch.rand(4, 6, 3)
    whole = module(data)[0]

    module.reset_state()
    halves = [module(part)[0] for part in (data[:, :3], data[:, 3:])]

    assert torch.allclose(torch.cat(halves, dim=1), whole)
    assert module.total.shape == (4, 2)
    assert not module.total.requires_grad


def test_state_of_one_element_keeps_the_declared_shape_and_serves_any_batch():
    module = Accumulator(3, 2)
    module(torch.ones(1, 5, 3))

    assert module.total.shape == (2,)
    assert module(torch.ones(7, 5, 3))[0].shape == (7, 5, 2)


def test_state_of_another_batch_size_is_refused_with_the_remedy():
    module = Accumulator(3, 2)
    module(torch.ones(4, 5, 3))

    with pytest.raises(ValueError, match=r"batch of 4, the input has a batch of 3. Call reset_state\(\)"):
        module(torch.ones(3, 5, 3))
    assert module.reset_state()(torch.ones(3, 5, 3))[0].shape == (3, 5, 2)


def test_training_goes_on_from_a_state_left_by_inference_mode():
    module = Nested()
    with torch.inference_mode():
        module.reset_state()(torch.ones(2, 5, 3))

    module(torch.ones(2, 5, 3))[0].sum().backward()

    assert module.first.weight.grad is not None


def test_reset_state_returns_to_the_declared_shape_everywhere():
    module = Nested()
    module(torch.ones(4, 5, 3))

    assert module.reset_state() is module
    assert module.first.total.shape == (4,)
    assert module.listed[0].total.tolist() == [0.0, 0.0]


def test_parameters_are_a_tree_of_values():
    module = Nested()

    tree = module.parameters()

    assert set(branches(tree)) == {
        ("first", "weight"), ("first", "bias"), ("first", "gain"), ("plain", "weight"), ("plain", "bias"),
        ("listed", "0", "weight"), ("listed", "0", "bias"), ("listed", "0", "gain"),
    }  # fmt: skip
    assert tree["first"]["weight"] is module.first.weight


def test_a_family_leaves_out_submodules_without_it():
    assert set(branches(Nested().parameters("weights"))) == {("first", "weight"), ("listed", "0", "weight")}
    assert Nested().parameters("unknown") == {}


@pytest.mark.parametrize("family", ["bias", "biases", ["biases"], ("weights", "bias")])
def test_biases_are_found_under_both_names(family):
    assert ("first", "bias") in set(branches(Nested().parameters(family)))


def test_every_submodule_is_in_a_tree_without_family():
    assert Nested().state().keys() == {"first", "plain", "listed"}
    assert Nested().state()["plain"] == {}


def test_states_and_simulation_parameters_have_their_trees():
    module = constant_gain()

    assert set(module.state()) == {"total"}
    assert set(module.simulation_parameters()) == {"gain", "dt", "mask"}
    assert module.simulation_parameters()["dt"] == 1e-3


def test_a_constant_is_no_parameter():
    module = constant_gain()

    assert "gain" not in module.parameters()
    assert isinstance(module.gain, torch.Tensor)
    assert not module.gain.requires_grad
    assert "gain" not in module.state_dict()


def test_the_callers_tensor_is_not_the_modules():
    gain = torch.tensor(2.0)
    module = Accumulator(3, 2, gain=gain)
    with torch.no_grad():
        module.gain.add_(1)

    assert gain == 2.0


def test_an_nn_parameter_is_shared():
    gain = nn.Parameter(torch.tensor(2.0))

    assert Accumulator(3, 2, gain=gain).gain is gain


def test_astorch_yields_each_parameter_once():
    shared = nn.Parameter(torch.tensor(2.0))
    module = Nested()
    module.first.gain = shared
    module.listed[0].gain = shared

    found = list(module.parameters().astorch())

    assert len(found) == 7
    assert sum(parameter is shared for parameter in found) == 1


def test_attributes_named_searches_all_depths_and_kinds():
    module = Nested()

    assert set(branches(module.attributes_named("weight"))) == {
        ("first", "weight"), ("plain", "weight"), ("listed", "0", "weight"),
    }  # fmt: skip
    assert set(branches(module.attributes_named(["dt", "total"]))) == {
        ("first", "dt"), ("first", "total"), ("listed", "0", "dt"), ("listed", "0", "total"),
    }  # fmt: skip


def test_set_attributes_writes_a_tree():
    module = Nested()
    ones = tree_map(module.parameters("weights"), torch.ones_like)

    assert module.set_attributes(ones) is module
    assert torch.equal(module.first.weight, torch.ones(3, 4))
    assert torch.equal(module.listed[0].weight, torch.ones(4, 2))


def test_set_attributes_writes_into_plain_torch_modules():
    module = Nested()

    module.set_attributes({"plain": {"bias": torch.full((4,), 3.0)}, "first": {"dt": 2e-3}})

    assert module.plain.bias.tolist() == [3.0] * 4
    assert module.first.dt == 2e-3


def test_set_attributes_names_the_nearest_match_of_an_unknown_name():
    with pytest.raises(ValueError, match="Did you mean 'weight'"):
        Nested().set_attributes({"first": {"wieght": torch.ones(3, 4)}})
    with pytest.raises(ValueError, match="forward"):
        Nested().set_attributes({"forward": 3})


def test_assigning_keeps_the_parameter_object():
    module = Accumulator(3, 2)
    before = module.weight

    module.weight = torch.ones(3, 2)

    assert module.weight is before
    assert torch.equal(before, torch.ones(3, 2))


def test_assigning_another_shape_is_refused():
    module = Accumulator(3, 2)

    with pytest.raises(ValueError, match=r"Accumulator.weight must be of shape \(3, 2\) \(got \(2, 3\)\)"):
        module.weight = torch.ones(2, 3)
    with pytest.raises(ValueError, match="must be of shape"):
        module.mask = torch.ones(3)


def test_assigning_another_permitted_shape_is_accepted():
    module = Accumulator(3, 2)

    module.bias = 0.5

    assert module.bias.shape == ()
    assert module(torch.ones(1, 5, 3))[0].shape == (1, 5, 2)


def test_assigning_an_array_or_number_makes_a_tensor():
    module = Accumulator(3, 2)

    module.weight = np.ones((3, 2))
    module.gain = 3

    assert module.weight.dtype == torch.float32
    assert isinstance(module.gain, nn.Parameter)


def test_reset_parameters_returns_to_given_data_and_draws_others_anew():
    module = Accumulator(3, 2, gain=2.0)
    weight, gain = module.weight, module.gain
    drawn = weight.detach().clone()
    module.gain = 5.0

    assert module.reset_parameters() is module
    assert module.gain is gain
    assert gain == 2.0
    assert module.weight is weight
    assert not torch.equal(weight, drawn)


def test_reset_parameters_reaches_plain_torch_modules():
    module = Nested()
    before = module.plain.weight.detach().clone()

    module.reset_parameters()

    assert not torch.equal(module.plain.weight, before)


def test_modules_are_the_direct_children_by_name():
    assert list(Nested().modules()) == ["first", "plain", "listed"]


def test_names():
    module = Nested()

    assert (module.name, module.full_name, module.class_name) == ("", "Nested ", "Nested")
    assert (module.first.name, module.first.full_name) == ("'first'", "Accumulator 'first'")
    assert (module.shape, module.size_in, module.size_out) == ((3, 2), 3, 2)
    assert not module.spiking_input
    assert not module.spiking_output


def test_print_is_nested():
    assert repr(Nested()).splitlines() == [
        "Nested  with shape (3, 2) {",
        "    Accumulator 'first' with shape (3, 4)",
        "    Linear 'plain' with shape (None,)",
        "    ModuleList 'listed' with shape (None,) {",
        "        Accumulator '0' with shape (4, 2)",
        "    }",
        "}",
    ]


def test_an_unknown_keyword_is_an_error_that_names_the_nearest():
    with pytest.raises(
        TypeError, match=r"Accumulator: Unknown keyword argument 'spiking_inptu'.*'spiking_input'"
    ):
        Accumulator(3, 2, spiking_inptu=True)


def test_declaring_before_initialising_is_an_error():
    class Early(TorchModule):
        def __init__(self):
            self.weight = Parameter(torch.ones(3))

    with pytest.raises(ValueError, match=r"super\(\).__init__\(\)"):
        Early()


def test_declaring_again_with_another_shape_is_an_error():
    module = Accumulator(3, 2)

    with pytest.raises(ValueError, match="must be of shape"):
        module.weight = Parameter(torch.ones(4, 4))


def test_a_subclass_may_declare_an_attribute_again():
    module = Accumulator(3, 2)

    module.weight = SimulationParameter(torch.ones(3, 2))

    assert "weight" not in module.parameters()
    assert torch.equal(module.simulation_parameters()["weight"], torch.ones(3, 2))


def test_a_deleted_attribute_leaves_the_tree():
    module = Accumulator(3, 2)

    del module.gain

    assert "gain" not in module.parameters()
    assert not hasattr(module, "gain")


def test_state_numbers_become_float_tensors_and_flags_stay_flags():
    class Flagged(TorchModule):
        def __init__(self):
            super().__init__(2)
            self.level = State(0)
            self.flag = State(np.zeros(2, dtype=bool))

    module = Flagged()

    assert module.level.dtype == torch.get_default_dtype()
    assert module.flag.dtype == torch.bool


def test_default_graph_has_one_vertex_that_holds_the_module():
    module = Accumulator(3, 2)
    data = torch.rand(1, 5, 3)

    graph = module.as_graph()

    (vertex,) = graph.inner_vertices
    assert vertex.module is module
    assert vertex.name == "Accumulator"
    assert torch.equal(graph(data), module.reset_state()(data)[0])
