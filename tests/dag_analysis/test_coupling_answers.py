"""What a coupling says: groups, reasons, lines of code, roles of operations."""

import pytest
import torch
from coupling_models import StandardisedConv, case
from torch import nn

from snnkit.dag import build_from_unstructured_module, coupling
from snnkit.dag.analysis.tape import TapeError
from snnkit.dag.channels import CouplingError


def test_frozen_axes_say_operation_module_and_line():
    class Rolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 6))
            self.last = nn.Linear(6, 2)

        def forward(self, x):
            return self.last(torch.roll(self.inner(x), 1, -1))

    found = coupling(Rolled(), torch.randn(3, 4))
    (reason,) = found.why("inner.0.weight", 0)
    assert "aten.roll depends on the order" in reason
    assert "test_coupling_answers.py:" in reason
    with pytest.raises(CouplingError, match=r"aten\.roll"):
        found.group_named("inner.0.weight")
    assert {axis.name for axis in found.frozen_axes} >= {"inner.0.weight", "last.weight"}


def test_unknown_operations_are_barriers_and_named():
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.last(torch.relu(self.second(torch.linalg.qr(self.first(x))[0])))

    found = coupling(Unknown(), torch.randn(8, 4))
    assert found.barriers == {"aten.linalg_qr": 1}
    assert [group.name for group in found.prunable] == ["second.weight"]
    assert "no rule for aten.linalg_qr" in found.why("first.weight", 0)[0]
    assert "aten.linalg_qr (1)" in str(found)


def test_a_graph_and_its_model_have_the_same_groups_under_the_same_names():
    for name in ("resnet", "transformer", "rotary"):
        model, inputs = case(name)
        graph = build_from_unstructured_module(model, inputs)
        own, of_graph = coupling(model, inputs), coupling(graph, inputs)
        assert [g.size for g in own.groups] == [g.size for g in of_graph.groups]
        assert {m.name for g in own.groups for m in g.members} >= {
            m.name.removesuffix(".value") for g in of_graph.groups for m in g.members
        }


def test_models_that_look_at_values_run_on_the_inputs_given():
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x):
            return (
                self.last(self.first(x))
                if x.sum().item() > 0
                else self.last(torch.roll(self.first(x), 1, -1))
            )

    assert coupling(Looks(), torch.ones(3, 4)).prunable
    assert not coupling(Looks(), -torch.ones(3, 4)).prunable


def test_inputs_that_do_not_fit_and_unknown_names_are_refused():
    with pytest.raises(TapeError, match="does not run on the example inputs"):
        coupling(nn.Linear(4, 2), torch.randn(3, 5))
    found = coupling(nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)), torch.randn(3, 4))
    with pytest.raises(CouplingError, match=r"Did you mean '0\.weight'"):
        found.why("0.weigth", 0)
    with pytest.raises(CouplingError, match="no axis 2"):
        found.why("0.weight", 2)


def test_recording_leaves_the_model_as_it_is():
    model, inputs = case("language_model")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    coupling(model, inputs)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_output_channels_of_standardised_weights_are_exact_and_what_they_read_is_soft():
    model = nn.Sequential(
        StandardisedConv(3, 8, 3), nn.ReLU(), StandardisedConv(8, 6, 3, form="layer_norm"), nn.ReLU(),
        StandardisedConv(6, 10, 1, form="batch_norm"), nn.Flatten(), nn.Linear(160, 2),
    )  # fmt: skip
    found = coupling(model, torch.randn(1, 3, 8, 8))
    exact = {group.name: group.exact for group in found.prunable}
    assert exact == {"0.weight": False, "2.weight": False, "4.weight": True}
    assert "mean runs over the axis" in found.group_named("0.weight").soft[0].text or found.group_named(
        "0.weight"
    ).soft[0].text.startswith("statistics")


def test_groups_of_parametrised_weights_have_the_name_of_the_modules_weight():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)),
        nn.ReLU(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5)),
        nn.ReLU(),
        nn.Linear(5, 2),
    )
    found = coupling(model, torch.randn(3, 4))
    assert [group.name for group in found.prunable] == ["0.weight", "2.weight"]
    first = found.group_named("0.weight")
    assert {"0.parametrizations.weight.original0", "0.parametrizations.weight.original1"} <= {
        member.name for member in first.members
    }
    with pytest.raises(CouplingError, match=r"2.weight|axis 1"):
        found.group_named("2.weight", 5)


@pytest.mark.parametrize("name", ["graph_net", "recommender", "spectral"])
def test_graphs_of_edges_bags_and_transforms_have_no_barriers(name):
    model, inputs = case(name)
    found = coupling(model, inputs)
    assert not found.barriers
    assert all(group.exact for group in found.prunable)
