"""A graph as text: one line per vertex, nested graphs indented below theirs."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .arguments import ByMode, is_namedtuple
from .structure import GraphStructure
from .vertex import InnerVertex, Vertex

if TYPE_CHECKING:
    from .cost import GraphCost
    from .dag_module import DagModule

__all__ = ["call_text", "describe", "kind_text", "shape_text", "table"]

_INDENT = "    "
_LONGEST = 72


def describe(graph: GraphStructure) -> str:
    """Return the graph as a table of vertex, module and what the vertex reads."""
    rows = _rows(graph, lambda path, vertex: (kind_text(vertex), _sources(vertex)))
    return _framed(graph, _aligned(rows))


def table(graph: "DagModule", inputs: tuple[Any, ...] = ()) -> str:
    """Return the graph as a table with the shape of each value and its cost.

    Args:
        graph: The graph.
        inputs: As for :func:`snnkit.dag.cost.cost_of`.
    """
    from .cost import cost_of
    from .shapes import value_shapes

    shapes, cost = value_shapes(graph, inputs), cost_of(graph, inputs)

    def row(path: str, vertex: Vertex) -> tuple[str, ...]:
        macs, parameters = _costs(path, vertex, cost)
        return kind_text(vertex), shape_text(shapes.get(path)), macs, parameters, _sources(vertex)

    head = ("vertex", "what", "value", "MACs", "parameters", "reads")
    lines = _aligned([head, *_rows(graph, row)], right=(3, 4))
    return f"{_framed(graph, lines)}\n{cost}"


def _costs(path: str, vertex: Vertex, cost: "GraphCost") -> tuple[str, str]:
    found = cost.vertices.get(path)
    if found is None:
        inside = [entry for key, entry in cost.vertices.items() if key.startswith(f"{path}.")]
        macs, parameters = sum(e.macs for e in inside), sum(e.parameters for e in inside)
    else:
        macs, parameters = found.macs, found.parameters
    return f"{macs:,}" if macs else "", f"{parameters:,}" if parameters else ""


def _framed(graph: GraphStructure, lines: list[str]) -> str:
    outputs = _outputs(graph)
    return "\n".join([f"{graph.title} {{", *lines, f"}} -> {outputs}"])


def _outputs(graph: GraphStructure) -> str:
    output = graph.output
    if isinstance(output, Vertex):
        return output.name
    if type(output) is tuple and output and all(isinstance(item, Vertex) for item in output):
        return ", ".join(vertex.name for vertex in output)
    return argument_text(output) if graph.output_vertices else "(none)"


def _aligned(rows: list[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    widths = (
        [max((len(row[column]) for row in rows), default=0) for column in range(len(rows[0]))] if rows else []
    )
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _rows(
    graph: GraphStructure, columns: Callable[[str, Vertex], tuple[str, ...]], prefix: str = "", depth: int = 1
) -> list[tuple[str, ...]]:
    rows = []
    for vertex in graph.vertices:
        path = prefix + vertex.name
        rows.append((_INDENT * depth + vertex.name, *columns(path, vertex)))
        if isinstance(vertex, InnerVertex) and isinstance(vertex.module, GraphStructure):
            rows.extend(_rows(vertex.module, columns, f"{path}.", depth + 1))
    return rows


def kind_text(vertex: Vertex) -> str:
    """Return what a vertex is: input, layer with its sizes, function with its constants, or graph."""
    if not isinstance(vertex, InnerVertex):
        return "input"
    module = vertex.module
    if isinstance(module, GraphStructure):
        return module.title
    if type(module).__name__ == "Function":
        return call_text(vertex)
    return _title(module)


def _title(module: nn.Module) -> str:
    shape = getattr(module, "shape", None)
    if isinstance(shape, tuple):
        return f"{type(module).__name__} {shape}"
    extra = module.extra_repr()
    return f"{type(module).__name__} ({extra})" if extra else type(module).__name__


def call_text(vertex: InnerVertex) -> str:
    """Return a function as a call, with ``·`` for the values of other vertices."""
    arguments = [argument_text(argument, anonymous=True) for argument in vertex.args]
    arguments += [f"{name}={argument_text(value, anonymous=True)}" for name, value in vertex.kwargs.items()]
    text = f"{vertex.operation}({', '.join(arguments)})"
    module: Any = vertex.module
    notes = ["in place"] if module.in_place else []
    notes += [f"in {module.when}"] if module.when else []
    text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]}...)"
    return f"{text}, {', '.join(notes)}" if notes else text


def argument_text(tree: Any, anonymous: bool = False) -> str:
    """Return an argument as text."""
    if isinstance(tree, Vertex):
        return "·" if anonymous else tree.name
    if isinstance(tree, ByMode | slice):
        return _choice_text(tree, anonymous)
    if isinstance(tree, list | tuple | dict):
        return _container_text(tree, anonymous)
    if isinstance(tree, torch.dtype):
        return str(tree).removeprefix("torch.")
    return "..." if tree is Ellipsis else repr(tree)


def _choice_text(tree: ByMode | slice, anonymous: bool) -> str:
    if isinstance(tree, slice):
        parts = [tree.start, tree.stop, *([] if tree.step is None else [tree.step])]
        return ":".join("" if part is None else argument_text(part, anonymous) for part in parts)
    if tree.training is True and tree.evaluation is False:
        return "training"
    first, second = (argument_text(part, anonymous) for part in (tree.training, tree.evaluation))
    return f"{first} if training else {second}"


def _container_text(tree: Any, anonymous: bool) -> str:
    if isinstance(tree, Mapping):
        inner = ", ".join(f"{key!r}: {argument_text(value, anonymous)}" for key, value in tree.items())
        return f"{{{inner}}}"
    items = [argument_text(item, anonymous) for item in tree]
    if isinstance(tree, list):
        return f"[{', '.join(items)}]"
    if is_namedtuple(tree):
        fields = ", ".join(f"{key}={item}" for key, item in zip(tree._fields, items, strict=True))
        return f"{type(tree).__name__}({fields})"
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def shape_text(shapes: Any) -> str:
    """Return the shapes of a value as text."""
    if isinstance(shapes, tuple) and all(isinstance(size, int) for size in shapes):
        return "×".join(map(str, shapes)) or "scalar"
    if isinstance(shapes, list | tuple):
        return ", ".join(shape_text(part) for part in shapes)
    if isinstance(shapes, dict):
        return ", ".join(f"{key}: {shape_text(part)}" for key, part in shapes.items())
    return "" if shapes is None else str(shapes)


def _sources(vertex: Vertex) -> str:
    if not isinstance(vertex, InnerVertex):
        return ""
    names = [source.name for source in vertex.predecessors]
    return f"<- {', '.join(names)}" if names else ""
