"""Attention layers of torch opened into their operations, so that heads and channels can go.

``nn.MultiheadAttention`` holds one number for the channels that it reads, makes and splits into heads. With
fewer heads these are three numbers, which the layer cannot hold; its operations can.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.dag.analysis.tape import Value, VertexCall
from snnkit.dag.channels import coupling
from snnkit.dag.dag_module import DagModule
from snnkit.dag.operations import Select
from snnkit.dag.vertex import InnerVertex

__all__ = ["open_attention"]


class OpenAttention(nn.Module):
    """The computation of an attention layer, written with functions."""

    q: nn.Linear
    k: nn.Linear
    v: nn.Linear

    def __init__(self, layer: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads, self.batch_first, self.dropout = layer.num_heads, layer.batch_first, layer.dropout
        size = layer.embed_dim
        weights = [layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight]
        if layer.in_proj_weight is not None:
            weights = list(layer.in_proj_weight.detach().split(size))
        biases = [None] * 3 if layer.in_proj_bias is None else list(layer.in_proj_bias.detach().split(size))
        for name, weight, bias in zip("qkv", weights, biases, strict=True):
            projection = nn.Linear(weight.shape[1], size, bias is not None, weight.device, weight.dtype)
            with torch.no_grad():
                projection.weight.copy_(weight)
                if bias is not None:
                    projection.bias.copy_(bias)
            setattr(self, name, projection)
        self.out_proj = nn.Linear(
            size, size, layer.out_proj.bias is not None, weights[0].device, weights[0].dtype
        )
        self.out_proj.load_state_dict(layer.out_proj.state_dict())
        self.train(layer.training)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the output alone."""
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q = self.q(query).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k = self.k(key).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        v = self.v(value).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        dropped = self.dropout if self.training else 0.0
        found = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropped)
        output = self.out_proj(found.transpose(1, 2).flatten(2))
        return output if self.batch_first else output.transpose(0, 1)


def open_attention(graph: DagModule, example_inputs: Any) -> DagModule:
    """Return the graph with its attention layers opened; ``graph`` itself if there are none to open.

    A layer stays closed if something reads the weights that it returns, or if it has masks other than one of
    numbers, or learned keys.
    """
    found = [path for path, v in graph.traverse_paths() if _layer_of(v) is not None]
    if not found:
        return graph
    calls = coupling(graph, example_inputs).tape.calls
    opened = graph.copy()
    vertices = dict(opened.traverse_paths())
    changed = False
    for path in found:
        vertex = vertices[path]
        if isinstance(vertex, InnerVertex) and _can_open(vertex, calls.get(path)):
            _open(vertex, calls[path])
            changed = True
    return opened if changed else graph


def _layer_of(vertex: Any) -> nn.MultiheadAttention | None:
    module = vertex.module if isinstance(vertex, InnerVertex) else None
    return module if type(module) is nn.MultiheadAttention else None


def _can_open(vertex: InnerVertex, call: VertexCall | None) -> bool:
    layer = _layer_of(vertex)
    if layer is None or call is None or len(vertex.args) != 3 or layer.bias_k is not None:
        return False
    given = call.arguments[1]
    mask = given.get("attn_mask")
    if given.get("key_padding_mask") is not None or given.get("is_causal") or layer.add_zero_attn:
        return False
    if mask is not None and not (
        isinstance(mask, Value) and mask.dtype.is_floating_point and len(mask.shape) == 2
    ):
        return False
    batched = isinstance(call.arguments[0][0], Value) and len(call.arguments[0][0].shape) == 3
    readers = vertex._owner().successors_of(vertex)
    first_only = all(_takes_first(reader) for reader in readers)
    return batched and first_only and vertex not in vertex._owner().output_vertices


def _takes_first(reader: InnerVertex) -> bool:
    if isinstance(reader.module, Select):
        return reader.module.index == 0
    return reader.operation == "getitem" and reader.args[1:] == (0,)


def _open(vertex: InnerVertex, call: VertexCall) -> None:
    from snnkit.dag.capture import build_from_unstructured_module

    layer = _layer_of(vertex)
    assert layer is not None
    mask = vertex.kwargs.get("attn_mask")
    values = [*call.arguments[0], *([] if mask is None else [call.arguments[1]["attn_mask"]])]
    like = next(nn.Module.parameters(layer))
    examples = tuple(torch.zeros(v.shape, dtype=like.dtype, device=like.device) for v in values)
    inside = build_from_unstructured_module(OpenAttention(layer), examples)
    inside.signature = None
    graph = vertex._owner()
    name = graph.free_name(f"{vertex.name}_opened")
    given = [*vertex.args, *([] if mask is None else [mask])]
    new = graph.add_call(name, inside, given, before=vertex)
    for reader in graph.successors_of(vertex):
        graph.replace_uses(reader, new)
        graph.remove_vertex(reader)
    graph.remove_vertex(vertex)
    graph.rename(new, vertex.name)
