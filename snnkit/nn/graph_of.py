"""The graph of a network, whichever way the network was put together."""

from torch import nn

from snnkit.dag import DagModule, Vertex
from snnkit.utilities.errors import ConfigurationError

__all__ = ["graph_of", "inner_graph"]


def graph_of(net: nn.Module) -> DagModule:
    """Return a network's graph: itself, its ``as_graph()``, or the chain in a ``torch.nn.Sequential``.

    The graph holds the network's own modules under its module paths.

    Raises:
        ConfigurationError: The network has no graph.
    """
    graph = inner_graph(net)
    if graph is not None:
        return graph
    as_graph = getattr(net, "as_graph", None)
    if callable(as_graph):
        return as_graph()
    raise ConfigurationError(
        f"{type(net).__name__} has no graph: build the network from snnkit modules in a Sequential, "
        "give the class an as_graph() method, or pass the DagModule that "
        "snnkit.dag.build_from_unstructured_module() captures."
    )


def inner_graph(module: nn.Module) -> DagModule | None:
    """Return the graph inside a module; None for a leaf."""
    if isinstance(module, DagModule):
        return module
    if isinstance(module, nn.Sequential):
        return _chain(module)
    as_graph = getattr(module, "as_graph", None)
    if not callable(as_graph):
        return None
    graph = as_graph()
    vertices = graph.inner_vertices
    return None if len(vertices) == 1 and vertices[0].module is module else graph


def _chain(modules: nn.Sequential) -> DagModule:
    graph = DagModule(type(modules).__name__)
    last: Vertex = graph.add_input_vertex("input")
    for name, module in modules.named_children():
        last = graph.add_vertex(name, inner_graph(module) or module, [last])
    graph.mark_as_output(last)
    return graph
