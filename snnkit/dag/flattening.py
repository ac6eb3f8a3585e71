"""Taking the nesting out of a graph."""

from .dag_module import DagModule
from .errors import GraphError
from .operations import Select
from .vertex import InnerVertex, InputVertex, Vertex

__all__ = ["flatten"]

_Outputs = tuple[Vertex, ...]


def flatten(graph: DagModule) -> DagModule:
    """Return ``graph`` without nested graphs; see :meth:`DagModule.flatten`."""
    flat = DagModule(graph.name)
    inputs: dict[str, _Outputs] = {v.name: (flat.add_input_vertex(v.name),) for v in graph.input_vertices}
    outputs = _copy_into(flat, graph, inputs, prefix="")
    if outputs:
        flat.mark_as_output(*outputs)
    return flat


def _copy_into(flat: DagModule, graph: DagModule, values: dict[str, _Outputs], prefix: str) -> _Outputs:
    """Add the vertices of ``graph`` to ``flat``; ``values`` maps its names to vertices of ``flat``."""
    for vertex in graph.vertices:
        if isinstance(vertex, InnerVertex):
            values[vertex.name] = _copy_vertex(flat, vertex, values, prefix)
        elif not isinstance(vertex, InputVertex):
            raise GraphError(f"{vertex!r} in {graph.title} is neither an input nor a module.")
    return tuple(output for vertex in graph.output_vertices for output in values[vertex.name])


def _copy_vertex(flat: DagModule, vertex: InnerVertex, values: dict[str, _Outputs], prefix: str) -> _Outputs:
    path = prefix + vertex.name
    sources = [values[source.name] for source in vertex.predecessors]
    if isinstance(vertex.module, Select) and len(sources) == 1 and len(sources[0]) > 1:
        return (sources[0][vertex.module.index],)
    several = [s.name for s, found in zip(vertex.predecessors, sources, strict=True) if len(found) != 1]
    if several:
        raise GraphError(
            f"Vertex {path!r} reads {several[0]!r}, which has {len(values[several[0]])} outputs: "
            "put a Select between them."
        )
    single = [found[0] for found in sources]
    if isinstance(vertex.module, DagModule):
        names = [inner.name for inner in vertex.module.input_vertices]
        inner_values: dict[str, _Outputs] = {n: (s,) for n, s in zip(names, single, strict=True)}
        return _copy_into(flat, vertex.module, inner_values, prefix=f"{path}.")
    return (flat.add_vertex(path, vertex.module, single),)
