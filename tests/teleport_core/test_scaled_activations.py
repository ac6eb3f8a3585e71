"""Activations that carry their factors, on request."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkit.dag import DagModule
from snnkit.teleport import (
    ScaledActivation,
    TeleportError,
    random,
    symmetries,
    teleport,
    with_scaled_activations,
)
from snnkit.utilities.errors import FileFormatError


class Net(nn.Module):
    """Layers and functions, one activation after another, and one that is homogeneous."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 6, 3), nn.GELU(approximate="tanh")
        self.hidden, self.relu, self.out = nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 2)

    def forward(self, x):
        x = self.hidden(self.act(self.conv(x)).mean((2, 3)))
        return self.out(self.relu(torch.tanh(F.elu(x, alpha=0.7))))


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return Net().double().eval(), torch.randn(2, 3, 8, 8, dtype=torch.float64)


def test_channels_before_them_are_free(pair):
    model, x = pair
    assert symmetries(model, x).n_scales == 0
    graph = with_scaled_activations(model, x)
    assert torch.equal(graph(x), model(x))
    assert symmetries(graph, x).n_scales == 13
    assert not any(isinstance(module, ScaledActivation) for module in model.modules())


def test_the_function_stays_and_the_model_is_not_touched(pair):
    model, x = pair
    before = model(x)
    graph = with_scaled_activations(model, x)
    for seed, sampling in enumerate(("inter_landscape", "negative", "positive")):
        generator = torch.Generator().manual_seed(seed)
        teleport(graph, random(symmetries(graph, x), 0.9, sampling, generator=generator, permutations=True))
        assert float((graph(x) - before).abs().max() / before.abs().max()) < 1e-12
    assert torch.equal(model(x), before)


def test_factors_survive_files_and_the_state_dict(pair, tmp_path):
    model, x = pair
    graph = with_scaled_activations(model, x)
    teleport(graph, random(symmetries(graph, x), 0.9, "inter_landscape"))
    graph.save(tmp_path / "graph")
    loaded = DagModule.load(tmp_path / "graph")
    assert torch.equal(loaded(x), graph(x))
    assert not any(isinstance(p, nn.Parameter) for p in dict(loaded.named_buffers()).values())
    assert any(key.endswith("tau") for key in graph.state_dict())
    fresh = with_scaled_activations(model, x)
    fresh.load_state_dict(graph.state_dict())
    assert torch.equal(fresh(x), graph(x))


def test_a_graph_may_be_given_and_scaled_twice(pair):
    model, x = pair
    once = with_scaled_activations(model, x)
    twice = with_scaled_activations(once, x)
    assert sum(isinstance(module, ScaledActivation) for module in twice.modules()) == 3
    assert torch.equal(twice(x), once(x))


def test_unknown_functions_and_options_are_refused():
    with pytest.raises(TeleportError, match="gelu"):
        ScaledActivation("gelo", {}, torch.ones(3))
    with pytest.raises(TeleportError, match="approximate"):
        ScaledActivation("gelu", {"aproximate": "tanh"}, torch.ones(3))


@pytest.mark.parametrize(
    "content", [None, {"operation": "relu", "options": {}}, {"operation": "gelu", "options": [1]}]
)
def test_hostile_files_are_refused(pair, tmp_path, content):
    model, x = pair
    with_scaled_activations(model, x).save(tmp_path / "graph")
    path = tmp_path / "graph" / "graph.json"
    text = path.read_text()
    old = json.dumps({"operation": "gelu", "options": {"approximate": "tanh"}})
    compact = text.replace("\n", "").replace(" ", "")
    wanted = json.dumps(json.loads(old), separators=(",", ":"))
    assert wanted in compact
    path.write_text(compact.replace(wanted, json.dumps(content, separators=(",", ":"))))
    with pytest.raises(FileFormatError):
        DagModule.load(tmp_path / "graph")
