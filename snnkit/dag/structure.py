"""What every graph is made of: vertices in order, what they read, and the edits that keep this whole."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from snnkit.utilities.errors import unknown_key_message

from .arguments import leaves, map_leaves
from .errors import GraphError
from .running import Plan
from .vertex import InnerVertex, InputVertex, Vertex

__all__ = ["GraphStructure"]


class _ModuleTable(nn.Module):
    """Registers the modules of all vertices under the vertices' names."""

    def put(self, name: str, module: nn.Module) -> None:
        # torch reserves "." for nesting; flattened graphs have it in their vertex names.
        self._modules[name.replace(".", "/")] = module

    def drop(self, name: str) -> None:
        del self._modules[name.replace(".", "/")]


class GraphStructure(nn.Module):
    """Vertices, edges and outputs; :class:`~snnkit.dag.DagModule` adds what can be done with them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.vertex_modules = _ModuleTable()
        self._vertices: dict[str, Vertex] = {}
        self._successors: dict[str, dict[str, InnerVertex]] = {}
        self._output: Any = None
        self._has_output = False
        self._plans: dict[bool, Plan] = {}

    @property
    def title(self) -> str:
        """Class and name, for messages; ``repr`` shows the whole graph."""
        return f"{type(self).__name__} {self.name!r}"

    # --- Reading --------------------------------------------------------------------------------

    @property
    def vertices(self) -> tuple[Vertex, ...]:
        """All vertices, in the order of computation."""
        return tuple(self._vertices.values())

    @property
    def input_vertices(self) -> tuple[InputVertex, ...]:
        """The inputs, in the order of the arguments of :meth:`forward`."""
        return tuple(vertex for vertex in self._vertices.values() if isinstance(vertex, InputVertex))

    @property
    def inner_vertices(self) -> tuple[InnerVertex, ...]:
        """The vertices that hold modules, in the order of computation."""
        return tuple(vertex for vertex in self._vertices.values() if isinstance(vertex, InnerVertex))

    @property
    def output_vertices(self) -> tuple[Vertex, ...]:
        """The vertices whose values :meth:`forward` returns, each as often as it is returned."""
        return tuple(leaf for leaf in leaves(self._output) if isinstance(leaf, Vertex))

    @property
    def output(self) -> Any:
        """What :meth:`forward` returns: containers and constants, with vertices for their values."""
        return self._output

    def get_vertex_by_name(self, name: str) -> Vertex:
        """Return the vertex called ``name``; :class:`GraphError` with the nearest match if there is none."""
        try:
            return self._vertices[name]
        except KeyError:
            message = unknown_key_message("vertex", name, self._vertices)
            raise GraphError(f"{self.title}: {message}") from None

    def __contains__(self, vertex: object) -> bool:
        return isinstance(vertex, Vertex) and self._vertices.get(vertex.name) is vertex

    def successors_of(self, vertex: Vertex) -> tuple[InnerVertex, ...]:
        """Return the vertices that read ``vertex``, each once, in the order of computation."""
        found = self._successors[self._own(vertex).name]
        if len(found) < 2:
            return tuple(found.values())
        order = {name: position for position, name in enumerate(self._vertices)}
        return tuple(sorted(found.values(), key=lambda successor: order[successor.name]))

    def traverse(self, processor: Callable[[Vertex], Any] | None = None) -> Iterator[Vertex] | list[Any]:
        """Walk all vertices, depth first into nested graphs.

        Args:
            processor: Called on each vertex, if given.

        Returns:
            Without ``processor`` an iterator over the vertices; with it, the list of its results.
        """
        walk = (vertex for _, vertex in self.traverse_paths())
        return walk if processor is None else [processor(vertex) for vertex in walk]

    def traverse_paths(self, prefix: str = "") -> Iterator[tuple[str, Vertex]]:
        """Yield all vertices with their paths (names joined by ``.``), depth first into nested graphs."""
        for vertex in self.vertices:
            yield prefix + vertex.name, vertex
            if isinstance(vertex, InnerVertex) and isinstance(vertex.module, GraphStructure):
                yield from vertex.module.traverse_paths(f"{prefix}{vertex.name}.")

    def graphs(self) -> Iterator["GraphStructure"]:
        """Yield this graph and all nested in it, each object once."""
        seen = {id(self)}
        yield self
        for _, vertex in self.traverse_paths():
            module = vertex.module if isinstance(vertex, InnerVertex) else None
            if isinstance(module, GraphStructure) and id(module) not in seen:
                seen.add(id(module))
                yield module

    # --- Building -------------------------------------------------------------------------------

    def add_input_vertex(self, name: str) -> InputVertex:
        """Add one more input."""
        vertex = InputVertex(name)
        self._insert(vertex)
        return vertex

    def add_vertex(
        self, name: str, module: nn.Module, predecessors: Vertex | str | Sequence[Vertex | str]
    ) -> InnerVertex:
        """Add ``module`` applied to ``predecessors`` (vertices of this graph or their names).

        Raises:
            GraphError: The name is taken, a predecessor is not in this graph, or a nested graph gets
                another number of inputs than it has.
        """
        given = [predecessors] if isinstance(predecessors, Vertex | str) else predecessors
        return self.add_call(name, module, tuple(self._own(source) for source in given))

    def add_call(
        self,
        name: str,
        module: nn.Module,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        before: Vertex | None = None,
    ) -> InnerVertex:
        """Add ``module`` called with arguments in which vertices stand for their values.

        Args:
            name: Unique in this graph.
            module: What to call; see :func:`~snnkit.dag.register_call` for how.
            args: Positional arguments: vertices of this graph, constants, containers of both.
            kwargs: Keyword arguments, likewise.
            before: An inner vertex in front of which to compute the new one; at the end by default.

        Raises:
            GraphError: As for :meth:`add_vertex`, or a vertex is read before it is computed.
        """
        args, kwargs = tuple(args), dict(kwargs or {})
        self._check_module(name, module, args, kwargs)
        if before is not None and not isinstance(self._own(before), InnerVertex):
            raise GraphError(f"{self.title}: nothing is computed before the input {before.name!r}.")
        self._check_sources(name, [args, kwargs], before)
        vertex = InnerVertex(name, module, args, kwargs)
        self._insert(vertex, before)
        self.vertex_modules.put(name, module)
        self._link(vertex)
        return vertex

    def mark_as_output(self, *vertices: Vertex | str) -> None:
        """Make ``vertices`` the outputs, in this order; an earlier choice is replaced."""
        if not vertices:
            raise GraphError(f"{self.title} needs at least one output vertex.")
        outputs = tuple(self._own(vertex) for vertex in vertices)
        self.set_output(outputs[0] if len(outputs) == 1 else outputs)

    def set_output(self, output: Any) -> None:
        """Return ``output`` from :meth:`forward`: any containers of vertices and constants."""
        for leaf in leaves(output):
            if isinstance(leaf, Vertex):
                self._own(leaf)
        self._output, self._has_output = output, True
        self._plans.clear()

    # --- Editing in place -----------------------------------------------------------------------

    def replace(self, vertex: InnerVertex, module: nn.Module) -> None:
        """Put ``module`` in the place of the vertex's own, with the same arguments."""
        self._own(vertex)
        self._check_module(vertex.name, module, vertex.args, vertex.kwargs)
        vertex._module = module
        self.vertex_modules.put(vertex.name, module)
        self._plans.clear()

    def set_arguments(self, vertex: InnerVertex, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Call the vertex's module with other arguments from now on."""
        self._own(vertex)
        self._check_module(vertex.name, vertex.module, args, kwargs)
        self._check_sources(vertex.name, [tuple(args), dict(kwargs)], vertex)
        self._unlink(vertex)
        vertex._args, vertex._kwargs = tuple(args), dict(kwargs)
        self._link(vertex)
        self._plans.clear()

    def replace_uses(self, old: Vertex, new: Vertex, readers: Iterable[InnerVertex] | None = None) -> None:
        """Let the readers of ``old`` (all of them and the output, or only ``readers``) read ``new``."""
        self._own(old)
        self._own(new)

        def swap(leaf: Any) -> Any:
            return new if leaf is old else leaf

        chosen = self.successors_of(old) if readers is None else tuple(readers)
        for reader in chosen:
            if reader is not new:
                self.set_arguments(
                    reader, map_leaves(swap, reader.args), map_leaves(swap, dict(reader.kwargs))
                )
        if readers is None:
            self.set_output(map_leaves(swap, self._output))

    def remove_vertex(self, vertex: Vertex) -> None:
        """Take a vertex that nothing reads out of the graph.

        Raises:
            GraphError: It is read, or is an output: use :meth:`replace_uses` first.
        """
        readers = [reader.name for reader in self.successors_of(vertex)]
        if any(leaf is vertex for leaf in leaves(self._output)):
            readers.append("the output")
        if readers:
            raise GraphError(
                f"{self.title}: {vertex.name!r} is read by {', '.join(readers)}: "
                "let them read something else first."
            )
        if isinstance(vertex, InnerVertex):
            self._unlink(vertex)
            self.vertex_modules.drop(vertex.name)
        del self._vertices[vertex.name], self._successors[vertex.name]
        vertex._dag_module = None
        self._plans.clear()

    def rename(self, vertex: Vertex, name: str) -> None:
        """Give a vertex another name."""
        old = self._own(vertex).name
        self._check_name(name)
        sources = vertex.predecessors if isinstance(vertex, InnerVertex) else ()
        for source in sources:
            self._successors[source.name].pop(old, None)
        self._vertices = {name if key == old else key: entry for key, entry in self._vertices.items()}
        self._successors[name] = self._successors.pop(old)
        vertex._name = name
        if isinstance(vertex, InnerVertex):
            self._link(vertex)
            self.vertex_modules.drop(old)
            self.vertex_modules.put(name, vertex.module)
        self._plans.clear()

    def reorder(self, order: Sequence[Vertex]) -> None:
        """Compute the vertices in another order.

        Raises:
            GraphError: It leaves vertices out, or one would be computed before what it reads.
        """
        if sorted(vertex.name for vertex in order) != sorted(self._vertices):
            raise GraphError(f"{self.title}: the order must hold each vertex once.")
        position = {vertex.name: number for number, vertex in enumerate(order)}
        for vertex in order:
            sources = vertex.predecessors if isinstance(vertex, InnerVertex) else ()
            late = [source.name for source in sources if position[source.name] > position[vertex.name]]
            if late:
                raise GraphError(
                    f"{self.title}: {vertex.name!r} reads {late[0]!r}, which would come after it."
                )
        self._vertices = {vertex.name: self._own(vertex) for vertex in order}
        self._plans.clear()

    def free_name(self, name: str) -> str:
        """Return ``name``, or with the first number behind it, ``name_1``, that no vertex has."""
        candidate, number = name, 0
        while candidate in self._vertices:
            number += 1
            candidate = f"{name}_{number}"
        return candidate

    # --- Keeping the graph whole ----------------------------------------------------------------

    def _insert(self, vertex: Vertex, before: Vertex | None = None) -> None:
        self._check_name(vertex.name)
        vertex._dag_module = self
        if before is None:
            self._vertices[vertex.name] = vertex
        else:
            pairs = list(self._vertices.items())
            position = list(self._vertices).index(before.name)
            self._vertices = dict([*pairs[:position], (vertex.name, vertex), *pairs[position:]])
        self._successors[vertex.name] = {}
        self._plans.clear()

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise GraphError(f"{self.title}: a vertex is named by a non-empty string, not {name!r}.")
        if name in self._vertices:
            raise GraphError(f"{self.title} already has a vertex {name!r}: choose another name.")

    def _link(self, vertex: InnerVertex) -> None:
        for source in vertex.predecessors:
            self._successors[source.name][vertex.name] = vertex

    def _unlink(self, vertex: InnerVertex) -> None:
        for source in vertex.predecessors:
            self._successors[source.name].pop(vertex.name, None)

    def _own(self, vertex: Vertex | str) -> Vertex:
        if isinstance(vertex, str):
            return self.get_vertex_by_name(vertex)
        if vertex not in self:
            raise GraphError(f"{vertex!r} is not a vertex of {self.title}: add it to this graph first.")
        return vertex

    def _check_sources(self, name: str, tree: Any, before: Vertex | None) -> None:
        """Raise unless all vertices in ``tree`` are of this graph and computed before ``before``."""
        sources = [self._own(leaf) for leaf in leaves(tree) if isinstance(leaf, Vertex)]
        if before is None or not sources:
            return
        order = {key: position for position, key in enumerate(self._vertices)}
        for source in sources:
            if isinstance(source, InnerVertex) and order[source.name] >= order[before.name]:
                raise GraphError(f"{self.title}: {name!r} would read {source.name!r} before it is computed.")

    def _check_module(
        self, name: str, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        if not isinstance(module, nn.Module):
            raise GraphError(
                f"Vertex {name!r} of {self.title} needs a torch.nn.Module, not {type(module).__name__}."
            )
        if not isinstance(module, GraphStructure):
            return
        if any(graph is self for graph in module.graphs()):
            raise GraphError(f"Vertex {name!r} would put {self.title} inside itself.")
        expected, given = len(module.input_vertices), len(args) + len(kwargs)
        if given != expected:
            raise GraphError(f"Vertex {name!r}: {module.title} has {expected} inputs, {given} are connected.")
