"""Copies of graphs: with tensors of their own, or with none at all."""

import copy
from typing import TypeVar

from torch import Tensor, nn

from .dag_module import DagModule

__all__ = ["copy_graph", "meta_copy", "share_graph"]

Graph = TypeVar("Graph", bound=DagModule)


def copy_graph(graph: Graph) -> Graph:
    """Return an independent graph; tensors that are one in the graph are one in the copy."""
    return copy.deepcopy(graph)


def meta_copy(graph: Graph) -> Graph:
    """Return the graph on the meta device; see :meth:`DagModule.meta_copy`."""
    memo: dict[int, object] = {}
    for module in nn.Module.modules(graph):
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and id(tensor) not in memo:
                memo[id(tensor)] = _to_meta(tensor)
    return copy.deepcopy(graph, memo)


def share_graph(graph: Graph) -> Graph:
    """Return a graph of its own vertices and modules, in which the tensors are the very ones of ``graph``."""
    memo: dict[int, object] = {}
    for module in nn.Module.modules(graph):
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                memo[id(tensor)] = tensor
    return copy.deepcopy(graph, memo)


def _to_meta(tensor: Tensor) -> Tensor:
    data = tensor.detach().to("meta", copy=True)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(data, requires_grad=tensor.requires_grad)
    return data
