"""Sparse layers inside the graph of a model: one vertex each, counted, saved, and never cut."""

import json

import pytest
import torch
from torch import nn

from snnkit.dag import build_from_unstructured_module, coupling
from snnkit.dag.cost import cost_of
from snnkit.dag.files import load_graph, save_graph
from snnkit.sparse import SparseLayer, convert, convert_model
from snnkit.sparse.formats import FORMATS
from snnkit.utilities.errors import FileFormatError


def make(kind: str) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 32), nn.Linear(32, 5)
    )
    model[0] = convert(model[0], "masked", torch.rand(4, 1, 3, 3) < 0.5)
    model[3] = SparseLayer(64, 32, density=0.2, format=kind, k=0.1)
    return model


@pytest.mark.parametrize("kind", FORMATS)
def test_captured_counted_saved_and_loaded(kind, tmp_path):
    model, x = make(kind), torch.randn(2, 1, 4, 4)
    graph = build_from_unstructured_module(model, (x,))
    kinds = [type(vertex.module).__name__ for vertex in graph.inner_vertices]
    assert kinds[0] == "MaskedConv2d"
    assert "SparseLayer" in kinds
    assert torch.equal(graph(x), model(x))
    layer = model[3]
    costs = list(cost_of(graph, (x,)).vertices.values())
    assert (costs[3].macs, costs[3].parameters) == (2 * layer.nnz, layer.nnz + 32)
    save_graph(graph, tmp_path / "graph")
    loaded = load_graph(tmp_path / "graph")
    assert torch.equal(loaded(x), model(x))
    found = loaded.inner_vertices[3].module
    assert (found.format, found.k, found.block) == (kind, 0.1, layer.block)
    assert torch.equal(found.dense_weight(), layer.dense_weight())
    loaded(x).sum().backward()
    assert found.values.grad is not None


def test_a_file_that_claims_another_size_is_refused(tmp_path):
    save_graph(build_from_unstructured_module(make("csr"), (torch.randn(2, 1, 4, 4),)), tmp_path / "graph")
    path = tmp_path / "graph" / "graph.json"
    document = json.loads(path.read_text())
    entry = next(m for m in document["modules"] if m.get("registered") == "snnkit.sparse.SparseLayer")
    entry["config"]["out_features"] = 10**12
    path.write_text(json.dumps(document))
    with pytest.raises(FileFormatError):
        load_graph(tmp_path / "graph")


def test_channels_beside_a_sparse_layer_are_not_offered_for_removal():
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    convert_model(model[2:3], nn.Linear, "csr")
    model[2] = convert(model[2], "csr")
    assert str(coupling(model, torch.randn(2, 8))) == "No channel can be dropped."
