"""Weights that are computed from parameters alone become parameters, and nothing else changes."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from snnkit.dag import DagModule, FreeTensor, Function, build_from_unstructured_module
from snnkit.dag.editing import fold_weights


class StandardisedConv(nn.Conv2d):
    """The weights of each output channel have mean 0 and variance 1, times a gain."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.rand(self.out_channels, 1, 1, 1) + 0.5)

    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-4) * self.gain
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


def standardised():
    torch.manual_seed(0)
    return nn.Sequential(
        StandardisedConv(3, 8, 3), nn.ReLU(), StandardisedConv(8, 6, 3), nn.Flatten(), nn.Linear(96, 4)
    ).eval()


def images(batch=2):
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def vertices(graph):
    return dict(graph.traverse_paths())


@pytest.mark.parametrize("flat", [False, True])
def test_standardised_weights_become_parameters_under_their_own_names(flat, tmp_path):
    model = standardised()
    graph = build_from_unstructured_module(model, (images(),))
    graph = graph.flatten() if flat else graph
    folded = fold_weights(graph)
    assert folded.places == ("0.weight", "2.weight")
    assert folded.difference == 0
    x = images(5)
    assert torch.equal(folded.graph(x), model(x))
    # What computed them is gone, with the gains; the rest shares its tensors with the source.
    assert not any(v.operation in ("std", "mean", "div") for v in vertices(folded.graph).values()
                   if hasattr(v, "operation"))  # fmt: skip
    assert sum(p.numel() for p in folded.graph.parameters()) == sum(
        p.numel() for name, p in model.named_parameters() if not name.endswith("gain")
    )
    assert any(p is model[4].weight for p in folded.graph.parameters())
    assert any(v.operation == "std" for v in vertices(graph).values() if hasattr(v, "operation"))
    folded.graph.save(tmp_path / "folded")
    assert torch.equal(DagModule.load(tmp_path / "folded")(x), model(x))


def test_gradients_go_to_the_folded_weight():
    model = standardised()
    folded = fold_weights(build_from_unstructured_module(model, (images(),))).graph
    folded(images()).square().sum().backward()
    weight = vertices(folded)["0.weight"].module.value
    assert isinstance(weight, nn.Parameter)
    assert weight.requires_grad
    assert weight.grad.abs().sum() > 0
    assert model[0].weight.grad is None


def test_frozen_parameters_stay_frozen_and_buffers_stay_buffers():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.frozen = nn.Parameter(torch.randn(4, 4), requires_grad=False)
            self.register_buffer("steps", torch.randn(4, 4))

        def forward(self, x):
            return F.linear(x, self.frozen.tanh()) + F.linear(x, self.steps.round() * 0.25)

    folded = fold_weights(build_from_unstructured_module(Net(), (torch.randn(2, 4),)))
    assert len(folded.places) == 2
    assert [p.requires_grad for p in folded.graph.parameters()] == [False]
    assert len(list(folded.graph.buffers())) == 1


@pytest.mark.parametrize("norm", [spectral_norm, weight_norm, orthogonal])
def test_parametrisations_of_torch_are_folded(norm):
    torch.manual_seed(0)
    model = nn.Sequential(norm(nn.Linear(6, 6)), nn.ReLU(), norm(nn.Linear(6, 6))).eval()
    folded = fold_weights(build_from_unstructured_module(model, (torch.randn(2, 6),)))
    assert folded.places == ("0.weight", "2.weight")
    assert folded.difference == 0
    assert len(list(folded.graph.parameters())) == 4
    assert not list(folded.graph.buffers())


def test_a_layer_used_twice_has_one_folded_weight():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = StandardisedConv(3, 3, 3, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x).relu())

    folded = fold_weights(build_from_unstructured_module(Twice().eval(), (images(),)))
    assert len(folded.places) == 2
    assert len(list(folded.graph.parameters())) == 2
    assert folded.difference == 0


def test_what_depends_on_inputs_on_chance_or_on_writes_stays():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))
            self.register_buffer("state", torch.zeros(4, 4))

        def forward(self, x):
            self.state.add_(1)
            noisy = self.weight * torch.rand_like(self.weight)
            return F.linear(x, self.weight * x.mean()) + F.linear(x, noisy) + F.linear(x, self.state * 2)

    graph = build_from_unstructured_module(Net(), (torch.randn(2, 4),))
    folded = fold_weights(graph, tolerance=None)
    assert folded.places == ()
    first = folded.graph(torch.ones(1, 4))
    assert not torch.equal(first, folded.graph(torch.ones(1, 4)))


def test_views_and_what_would_grow_stay_as_they_are():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.projections = nn.Parameter(torch.randn(12, 4))
            self.down, self.up = nn.Parameter(torch.randn(1, 4)), nn.Parameter(torch.randn(4, 1))

        def forward(self, x):
            first, second, third = self.projections.chunk(3)
            return x @ first.t() + F.linear(x, second) + x @ third.t() + F.linear(x, self.up @ self.down)

    assert fold_weights(build_from_unstructured_module(Net(), (torch.randn(2, 4),))).places == ()


def test_weights_handed_into_a_nested_graph_are_folded_there():
    class Inner(nn.Module):
        def forward(self, x, weight):
            return F.linear(x, weight * 2)

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.inner = nn.Parameter(torch.randn(4, 4)), Inner()

        def forward(self, x):
            return self.inner(x, torch.tanh(self.weight))

    folded = fold_weights(build_from_unstructured_module(Outer(), (torch.randn(2, 4),)))
    assert folded.places == ("inner.weight",)
    assert folded.difference == 0
    left = [v for v in vertices(folded.graph).values() if isinstance(getattr(v, "module", None), Function)]
    assert [v.operation for v in left] == ["linear"]
    free = [v for v in vertices(folded.graph).values() if isinstance(getattr(v, "module", None), FreeTensor)]
    assert len(free) == 1


def test_only_chosen_weights_are_folded():
    graph = build_from_unstructured_module(standardised(), (images(),))
    inside = [path for path in vertices(graph) if path.startswith("2.")]
    assert fold_weights(graph, only=inside).places == ("2.weight",)


def test_graphs_without_numbers_are_folded_without_comparison():
    model = standardised().to("meta")
    folded = fold_weights(build_from_unstructured_module(model, (images().to("meta"),)))
    assert len(folded.places) == 2
    assert folded.difference is None
