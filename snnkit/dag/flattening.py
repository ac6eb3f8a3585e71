"""Taking the nesting out of a graph."""

from typing import Any

from .arguments import ByMode, map_leaves
from .dag_module import DagModule
from .errors import GraphError
from .operations import Select
from .vertex import InnerVertex, InputVertex, Vertex

__all__ = ["flatten"]

_Values = dict[str, Any]
"""Name of a vertex -> its counterpart, or for a nested graph the tree of them that it returns."""


def flatten(graph: DagModule) -> DagModule:
    """Return ``graph`` without nested graphs; see :meth:`DagModule.flatten`."""
    flat = type(graph)(graph.name)
    flat.signature, flat.training = graph.signature, graph.training
    inputs: _Values = {vertex.name: flat.add_input_vertex(vertex.name) for vertex in graph.input_vertices}
    output = _copy_into(flat, graph, inputs, prefix="")
    if graph._has_output:
        flat.set_output(output)
    return flat


def _copy_into(flat: DagModule, graph: DagModule, values: _Values, prefix: str) -> Any:
    """Add the vertices of ``graph`` to ``flat``; ``values`` maps its names to vertices of ``flat``."""
    for vertex in graph.vertices:
        if isinstance(vertex, InnerVertex):
            values[vertex.name] = _copy_vertex(flat, vertex, values, prefix)
        elif not isinstance(vertex, InputVertex):
            raise GraphError(f"{vertex!r} in {graph.title} is neither an input nor a module.")
    return map_leaves(lambda leaf: values[leaf.name] if isinstance(leaf, Vertex) else leaf, graph.output)


def _copy_vertex(flat: DagModule, vertex: InnerVertex, values: _Values, prefix: str) -> Any:
    path, module = prefix + vertex.name, vertex.module

    def counterpart(leaf: Any) -> Any:
        return values[leaf.name] if isinstance(leaf, Vertex) else leaf

    args, kwargs = map_leaves(counterpart, vertex.args), map_leaves(counterpart, vertex.kwargs)
    if isinstance(module, Select) and len(args) == 1 and isinstance(args[0], list | tuple):
        return args[0][module.index]
    if not isinstance(module, DagModule):
        return flat.add_call(path, module, args, kwargs)
    if module.training != flat.training and _follows_mode(module):
        raise GraphError(f"{path!r} is in another mode than {flat.title}: call train() or eval() first.")
    names = [inner.name for inner in module.input_vertices]
    return _copy_into(flat, module, {**dict(zip(names, args, strict=False)), **kwargs}, prefix=f"{path}.")


def _follows_mode(graph: DagModule) -> bool:
    found: list[ByMode] = []

    def note(tree: Any) -> None:
        if isinstance(tree, ByMode):
            found.append(tree)
        elif isinstance(tree, list | tuple | dict):
            for item in tree.values() if isinstance(tree, dict) else tree:
                note(item)

    for vertex in graph.inner_vertices:
        note([vertex.args, vertex.kwargs])
    return bool(found)
