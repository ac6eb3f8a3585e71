"""What numbers computed in a graph, such as sizes read from tensors, are after removal."""

import math
from collections.abc import Callable
from typing import Any

from snnkit.dag.analysis.tape import Value, VertexCall
from snnkit.dag.dag_module import DagModule
from snnkit.dag.functions import own
from snnkit.dag.vertex import InnerVertex, InputVertex, Vertex

__all__ = ["Numbers"]

NewShape = Callable[[Value], tuple[int, ...]]


class Numbers:
    """Values of the vertices that are whole numbers, for the example's batch.

    Args:
        dag: The graph before removal.
        calls: Its vertices as they ran.
        new_shape: Returns the shape of a tensor after removal.
    """

    def __init__(self, dag: DagModule, calls: dict[str, VertexCall], new_shape: NewShape) -> None:
        self._vertices = dict(dag.traverse_paths())
        self._calls = calls
        self._new_shape = new_shape

    def after(self, prefix: str, vertex: Vertex) -> int | None:
        """Return the number that a vertex is after removal; None if it is no number.

        Args:
            prefix: Path of the graph that the vertex is in, with the dot behind it; empty for the outermost.
            vertex: The vertex, or its copy in another graph of the same names.
        """
        found = self._vertices.get(prefix + vertex.name)
        if isinstance(found, InputVertex):
            return self._of_input(prefix, found)
        call = self._calls.get(prefix + vertex.name)
        if call is None or not isinstance(found, InnerVertex):
            return None
        return self._of_call(prefix, found, call)

    def _of_input(self, prefix: str, vertex: InputVertex) -> int | None:
        """Follow an input of a nested graph to what the vertex that holds the graph is given."""
        holder = self._vertices.get(prefix[:-1])
        if not isinstance(holder, InnerVertex) or not isinstance(holder.module, DagModule):
            return None
        names = [entry.name for entry in holder.module.input_vertices]
        given = {**dict(zip(names, holder.args, strict=False)), **holder.kwargs}.get(vertex.name)
        return self._of_operand(prefix[: -len(holder.name) - 1], given)

    def _of_operand(self, prefix: str, operand: Any) -> Any:
        return self.after(prefix, operand) if isinstance(operand, Vertex) else operand

    def _of_call(self, prefix: str, vertex: InnerVertex, call: VertexCall) -> Any:
        given = call.arguments[0]
        if vertex.operation == "size":
            return self._new_shape(given[0])[vertex.args[1]]
        if vertex.operation == "numel":
            return math.prod(self._new_shape(given[0]))
        if vertex.operation == "number":
            operands = tuple(self._of_operand(prefix, operand) for operand in vertex.args[1])
            return None if None in operands else own.number(vertex.args[0], operands)
        return call.results if isinstance(call.results, int) else None
