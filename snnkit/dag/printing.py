"""A graph as text: one line per vertex, nested graphs indented below theirs."""

from torch import nn

from .dag_module import DagModule
from .vertex import InnerVertex, Vertex

__all__ = ["describe"]

_INDENT = "    "


def describe(graph: DagModule) -> str:
    """Return the graph as a table of vertex, module and what the vertex reads."""
    rows = _rows(graph, depth=1)
    name_width = max((len(name) for name, _, _ in rows), default=0)
    kind_width = max((len(kind) for _, kind, _ in rows), default=0)
    lines = [
        f"{name:<{name_width}}  {kind:<{kind_width}}  {sources}".rstrip() for name, kind, sources in rows
    ]
    outputs = ", ".join(vertex.name for vertex in graph.output_vertices) or "(none)"
    return "\n".join([f"{graph.title} {{", *lines, f"}} -> {outputs}"])


def _rows(graph: DagModule, depth: int) -> list[tuple[str, str, str]]:
    rows = []
    for vertex in graph.vertices:
        rows.append((_INDENT * depth + vertex.name, _kind(vertex), _sources(vertex)))
        if isinstance(vertex, InnerVertex) and isinstance(vertex.module, DagModule):
            rows.extend(_rows(vertex.module, depth + 1))
    return rows


def _kind(vertex: Vertex) -> str:
    if not isinstance(vertex, InnerVertex):
        return "input"
    if isinstance(vertex.module, DagModule):
        return vertex.module.title
    return _title(vertex.module)


def _title(module: nn.Module) -> str:
    shape = getattr(module, "shape", None)
    if isinstance(shape, tuple):
        return f"{type(module).__name__} {shape}"
    extra = module.extra_repr()
    return f"{type(module).__name__} ({extra})" if extra else type(module).__name__


def _sources(vertex: Vertex) -> str:
    if not isinstance(vertex, InnerVertex):
        return ""
    return "<- " + ", ".join(source.name for source in vertex.predecessors)
