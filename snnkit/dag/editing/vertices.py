"""Editing a graph in place, vertex by vertex: insert, remove, wrap and unwrap."""

from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from ..arguments import map_leaves
from ..dag_module import DagModule
from ..errors import GraphError
from ..operations import Select
from ..vertex import InnerVertex, InputVertex, Vertex

__all__ = ["insert_after", "insert_before", "insert_between", "remove", "unwrap", "wrap"]


def insert_after(vertex: Vertex, module: nn.Module, name: str | None = None) -> InnerVertex:
    """Let all that read ``vertex`` read ``module`` applied to it instead; return the new vertex."""
    graph = _graph_of(vertex)
    inserted = graph.add_call(_name(graph, vertex, module, name), module, (vertex,), before=_next(vertex))
    readers = [reader for reader in graph.successors_of(vertex) if reader is not inserted]
    graph.replace_uses(vertex, inserted, readers)
    graph.set_output(map_leaves(lambda leaf: inserted if leaf is vertex else leaf, graph.output))
    return inserted


def insert_before(vertex: InnerVertex, module: nn.Module, name: str | None = None) -> InnerVertex:
    """Apply ``module`` to the first value that ``vertex`` reads; return the new vertex.

    Raises:
        GraphError: The vertex reads nothing.
    """
    if not vertex.predecessors:
        raise GraphError(f"{vertex.name!r} reads no other vertex, so nothing can come before it.")
    return insert_between(vertex.predecessors[0], vertex, module, name)


def insert_between(
    source: Vertex, reader: InnerVertex, module: nn.Module, name: str | None = None
) -> InnerVertex:
    """Let ``reader`` read ``module`` applied to ``source``, in all its arguments; return the new vertex.

    Raises:
        GraphError: ``reader`` does not read ``source``.
    """
    graph = _graph_of(reader)
    if not any(found is source for found in reader.predecessors):
        raise GraphError(f"{reader.name!r} does not read {source.name!r}.")
    inserted = graph.add_call(_name(graph, source, module, name), module, (source,), before=reader)
    graph.replace_uses(source, inserted, [reader])
    return inserted


def remove(vertex: InnerVertex) -> None:
    """Take a vertex out; its readers read what it read.

    Raises:
        GraphError: It has readers, and reads several values or none.
    """
    graph = _graph_of(vertex)
    sources = list(dict.fromkeys(vertex.predecessors))
    is_read = bool(vertex.successors) or any(output is vertex for output in graph.output_vertices)
    if is_read and len(sources) != 1:
        names = ", ".join(source.name for source in sources) or "nothing"
        raise GraphError(
            f"{vertex.name!r} reads {names}, so its readers cannot read that in its place: "
            "choose with replace_uses() what they read, then remove_vertex()."
        )
    if is_read:
        graph.replace_uses(vertex, sources[0])
    graph.remove_vertex(vertex)


def wrap(vertices: Sequence[InnerVertex], name: str, cls: type[DagModule] = DagModule) -> InnerVertex:
    """Put vertices of one graph into a graph of their own, nested in its place; return its vertex.

    Args:
        vertices: Such that no path leaves them and comes back.
        name: Of the new vertex and the nested graph.
        cls: Class of the nested graph.

    Raises:
        GraphError: They are of several graphs, or a path leaves them and comes back.
    """
    if not vertices:
        raise GraphError("There is nothing to wrap.")
    graph = _graph_of(vertices[0])
    chosen = [vertex for vertex in graph.inner_vertices if any(vertex is given for given in vertices)]
    if len(chosen) != len(vertices):
        raise GraphError(f"All vertices to wrap must be different inner vertices of {graph.title}.")
    last = _gather(graph, chosen)
    nested, sources, results = _nested(graph, chosen, name, cls)
    block = graph.add_call(graph.free_name(name), nested, sources, before=last)
    values: list[InnerVertex] = [block]
    if len(results) > 1:
        values = [
            graph.add_call(graph.free_name(f"{block.name}_{i}"), Select(i), (block,), before=last)
            for i in range(len(results))
        ]
    for result, value in zip(results, values, strict=False):
        graph.replace_uses(result, value)
    for vertex in reversed(chosen):
        graph.remove_vertex(vertex)
    return block


def _gather(graph: DagModule, chosen: list[InnerVertex]) -> InnerVertex | None:
    """Order the graph so that the vertices follow each other; return the one that comes after them."""
    names = {vertex.name for vertex in chosen}
    behind: set[str] = set()
    before: list[Vertex] = []
    after: list[InnerVertex] = []
    for vertex in graph.vertices:
        if vertex.name in names:
            back = [source.name for source in cast(InnerVertex, vertex).predecessors if source.name in behind]
            if back:
                raise GraphError(
                    f"{vertex.name!r} reads {back[0]!r}, which itself reads what is to be wrapped: "
                    "wrap that as well."
                )
        elif isinstance(vertex, InnerVertex) and any(
            source.name in names or source.name in behind for source in vertex.predecessors
        ):
            behind.add(vertex.name)
            after.append(vertex)
        else:
            before.append(vertex)
    tail = [vertex for vertex in before if isinstance(vertex, InnerVertex)]
    if [*tail, *chosen, *after] != list(graph.inner_vertices):
        _check_writes(graph, [*tail, *chosen, *after])
        graph.reorder([*before, *chosen, *after])
    position = graph.vertices.index(chosen[-1])
    return cast(InnerVertex, graph.vertices[position + 1]) if position + 1 < len(graph.vertices) else None


def _check_writes(graph: DagModule, order: list[InnerVertex]) -> None:
    """Raise if the order moves anything past a vertex that writes in place."""
    old = list(graph.inner_vertices)
    writers = [vertex for vertex in old if getattr(vertex.module, "in_place", False)]
    for writer in writers:
        if set(map(id, old[: old.index(writer)])) != set(map(id, order[: order.index(writer)])):
            raise GraphError(f"{writer.name!r} writes in place, so that nothing may move past it.")


def _nested(
    graph: DagModule, chosen: list[InnerVertex], name: str, cls: type[DagModule]
) -> tuple[DagModule, list[Vertex], list[InnerVertex]]:
    """Return the graph of the vertices, what it reads, and which of its values are read outside."""
    nested = cls(name)
    nested.training = graph.training
    inside = {vertex.name for vertex in chosen}
    known: dict[str, Vertex] = {}
    sources: list[Vertex] = []
    for vertex in chosen:
        for source in vertex.predecessors:
            if source.name not in inside and source.name not in known:
                known[source.name] = nested.add_input_vertex(source.name)
                sources.append(source)

    def counterpart(leaf: Any) -> Any:
        return known[leaf.name] if isinstance(leaf, Vertex) else leaf

    for vertex in chosen:
        args = map_leaves(counterpart, vertex.args)
        known[vertex.name] = nested.add_call(
            vertex.name, vertex.module, args, map_leaves(counterpart, vertex.kwargs)
        )
    results = [
        vertex
        for vertex in chosen
        if any(reader.name not in inside for reader in vertex.successors)
        or any(output is vertex for output in graph.output_vertices)
    ]
    outputs = tuple(known[vertex.name] for vertex in results)
    nested.set_output(outputs[0] if len(outputs) == 1 else outputs)
    return nested, sources, results


def unwrap(vertex: InnerVertex) -> list[InnerVertex]:
    """Put the vertices of a nested graph into the graph around it; return them. The opposite of :func:`wrap`.

    Raises:
        GraphError: The vertex holds no graph.
    """
    graph, nested = _graph_of(vertex), vertex.module
    if not isinstance(nested, DagModule):
        raise GraphError(f"{vertex.name!r} holds {type(nested).__name__}, no graph.")
    names = [inner.name for inner in nested.input_vertices]
    known: dict[str, Any] = {**dict(zip(names, vertex.args, strict=False)), **vertex.kwargs}
    added: list[InnerVertex] = []

    def counterpart(leaf: Any) -> Any:
        return known[leaf.name] if isinstance(leaf, Vertex) else leaf

    for inner in nested.inner_vertices:
        name = graph.free_name(f"{vertex.name}.{inner.name}")
        args, kwargs = map_leaves(counterpart, inner.args), map_leaves(counterpart, inner.kwargs)
        known[inner.name] = graph.add_call(name, inner.module, args, kwargs, before=vertex)
        added.append(known[inner.name])
    _read_instead(graph, vertex, map_leaves(counterpart, nested.output))
    graph.remove_vertex(vertex)
    return added


def _read_instead(graph: DagModule, vertex: InnerVertex, value: Any) -> None:
    """Let the readers of a nested graph read the tree of values that it returned."""

    def swap(leaf: Any) -> Any:
        return value if leaf is vertex else leaf

    for reader in vertex.successors:
        if isinstance(reader.module, Select) and isinstance(value, list | tuple):
            selected = value[reader.module.index]
            graph.replace_uses(reader, selected)
            graph.remove_vertex(reader)
        else:
            graph.set_arguments(reader, map_leaves(swap, reader.args), map_leaves(swap, reader.kwargs))
    graph.set_output(map_leaves(swap, graph.output))


def _graph_of(vertex: Vertex) -> DagModule:
    graph = vertex.dag_module
    if not isinstance(graph, DagModule):
        raise GraphError(f"{vertex!r} is in no graph, so it cannot be edited.")
    return graph


def _next(vertex: Vertex) -> InnerVertex | None:
    """Return the inner vertex that comes after ``vertex``, or None."""
    inner = _graph_of(vertex).inner_vertices
    if isinstance(vertex, InputVertex):
        return inner[0] if inner else None
    position = next(i for i, found in enumerate(inner) if found is vertex)
    return inner[position + 1] if position + 1 < len(inner) else None


def _name(graph: DagModule, vertex: Vertex, module: nn.Module, name: str | None) -> str:
    return graph.free_name(f"{vertex.name}_{type(module).__name__}") if name is None else name
