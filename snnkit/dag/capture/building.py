"""From a recording to nested graphs: one for each call of a module that was recorded inside."""

from typing import Any

from torch import nn

from ..arguments import leaves, map_leaves
from ..dag_module import DagModule
from ..functions import FreeTensor, Function
from ..operations import Add, Concat, Select
from ..vertex import Vertex
from .nodes import Node, Recording, Scope

__all__ = ["build"]


def build(recording: Recording, name: str) -> DagModule:
    """Return the graph of a recording."""
    return _Builder(recording).graph(recording.root, name)


class _Builder:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.outputs = [leaf for leaf in leaves(recording.output) if isinstance(leaf, Node)]
        self.free: dict[int, FreeTensor] = {}
        self.functions: dict[tuple[str, bool], Function] = {}
        self.inside: dict[int, dict[int, Node]] = {}
        """For each scope the nodes in it, at any depth, by index."""
        self.readers: dict[int, list[Node]] = {}
        """Index of a node -> the nodes that read it."""
        for node in recording.nodes:
            for source in node.sources:
                self.readers.setdefault(source.index, []).append(node)
        self._collect(recording.root)

    def _collect(self, scope: Scope) -> dict[int, Node]:
        found: dict[int, Node] = {}
        for item in scope.items:
            found |= self._collect(item) if isinstance(item, Scope) else {item.index: item}
        self.inside[id(scope)] = found
        return found

    def graph(self, scope: Scope, name: str) -> DagModule:
        """Return the graph of the model itself."""
        graph = DagModule(name)
        known: dict[int, Vertex] = {}
        for argument, node in self.recording.inputs.items():
            known[node.index] = graph.add_input_vertex(argument)
        self._fill(graph, scope, known)
        graph.set_output(self._resolved(self.recording.output, known))
        graph.training = scope.module.training
        return graph

    def _nested(self, scope: Scope, known: dict[int, Vertex]) -> tuple[DagModule, list[Node], list[Node]]:
        """Return the graph of a call, the nodes that it reads from outside, and those it is read for."""
        inside = self.inside[id(scope)]
        sources = {source.index: source for node in inside.values() for source in node.sources
                   if source.index not in inside}  # fmt: skip
        read_outside = {node.index for node in self.outputs}
        results = [
            node
            for node in inside.values()
            if node.index in read_outside
            or any(reader.index not in inside for reader in self.readers.get(node.index, ()))
        ]
        graph = DagModule(type(scope.module).__name__)
        inner: dict[int, Vertex] = {}
        for source in sources.values():
            argument = scope.names.get(source, source.name)
            inner[source.index] = graph.add_input_vertex(graph.free_name(argument))
        self._fill(graph, scope, inner)
        vertices = tuple(inner[node.index] for node in results)
        graph.set_output(vertices[0] if len(vertices) == 1 else vertices)
        graph.training = scope.module.training
        return graph, list(sources.values()), results

    def _fill(self, graph: DagModule, scope: Scope, known: dict[int, Vertex]) -> None:
        for item in scope.items:
            if isinstance(item, Scope):
                if self.inside[id(item)]:
                    self._add_nested(graph, scope, item, known)
            elif item.kind != "input":
                known[item.index] = self._add_node(graph, scope, item, known)

    def _add_nested(self, graph: DagModule, scope: Scope, item: Scope, known: dict[int, Vertex]) -> None:
        nested, sources, results = self._nested(item, known)
        name = graph.free_name(_relative(item.path, scope.path))
        vertex = graph.add_call(name, nested, tuple(known[source.index] for source in sources))
        if len(results) == 1:
            known[results[0].index] = vertex
            return
        for index, node in enumerate(results):
            selected = graph.free_name(f"{name}_{index}")
            known[node.index] = graph.add_call(selected, Select(index), (vertex,))

    def _add_node(self, graph: DagModule, scope: Scope, node: Node, known: dict[int, Vertex]) -> Vertex:
        args, kwargs = self._resolved(node.args, known), self._resolved(node.kwargs, known)
        if node.kind == "module":
            assert node.module is not None
            name = graph.free_name(_relative(node.path, scope.path) or type(node.module).__name__)
            return graph.add_call(name, node.module, args, kwargs)
        if node.kind == "tensor":
            return graph.add_call(graph.free_name(_relative(node.path, scope.path)), self._free(node))
        module, args, kwargs = self._operation(node, args, kwargs)
        return graph.add_call(graph.free_name(node.name), module, args, kwargs)

    def _operation(
        self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        """Return the module and arguments of a function: joins of values have classes of their own."""
        if node.when:
            return Function(node.operation, node.in_place, node.when), args, kwargs
        if node.operation == "add" and not node.in_place and not kwargs and _are_vertices(args):
            return Add(), args, {}
        if node.operation == "cat" and not node.in_place and _are_vertices(args[0]):
            dim = kwargs.get("dim", 0)
            if isinstance(dim, int):
                return Concat(dim), tuple(args[0]), {}
        if node.operation == "getitem" and isinstance(args[1], int) and node.name.endswith(f"_{args[1]}"):
            return Select(args[1]), args[:1], {}
        return Function(node.operation, node.in_place), args, kwargs

    def _free(self, node: Node) -> FreeTensor:
        assert node.tensor is not None
        key = id(node.tensor)
        if key not in self.free:
            self.free[key] = FreeTensor(node.tensor, node.persistent)
        return self.free[key]

    def _resolved(self, tree: Any, known: dict[int, Vertex]) -> Any:
        return map_leaves(lambda leaf: known[leaf.index] if isinstance(leaf, Node) else leaf, tree)


def _are_vertices(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, Vertex) for value in values)


def _relative(path: str, scope: str) -> str:
    return path.removeprefix(f"{scope}.") if scope else path
