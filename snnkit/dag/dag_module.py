"""A model as a directed acyclic graph of modules that can be read, run, nested and flattened."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from snnkit.utilities.errors import unknown_key_message

from .errors import GraphError
from .registry import call_module
from .vertex import InnerVertex, InputVertex, Vertex

__all__ = ["DagModule"]


class _ModuleTable(nn.Module):
    """Registers the modules of all vertices under the vertices' names."""

    def put(self, name: str, module: nn.Module) -> None:
        # torch reserves "." for nesting; flattened graphs have it in their vertex names.
        self._modules[name.replace(".", "/")] = module


class DagModule(nn.Module):
    """A graph of modules, itself a module.

    Vertices are added in an order in which they can be computed: each may read only those that exist.
    The graph holds the very modules it is given: their parameters are its parameters.

    >>> graph = DagModule("two layers")
    >>> x = graph.add_input_vertex("input")
    >>> hidden = graph.add_vertex("0_Linear", nn.Linear(3, 5), [x])
    >>> output = graph.add_vertex("1_Linear", nn.Linear(5, 2), [hidden])
    >>> graph.mark_as_output(output)

    Args:
        name: What to call the graph in prints and messages; by convention the class of the model.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.vertex_modules = _ModuleTable()
        self._vertices: dict[str, Vertex] = {}
        self._successors: dict[str, dict[str, InnerVertex]] = {}
        self._outputs: tuple[Vertex, ...] = ()

    @property
    def vertices(self) -> tuple[Vertex, ...]:
        """All vertices, in the order of computation."""
        return tuple(self._vertices.values())

    @property
    def input_vertices(self) -> tuple[InputVertex, ...]:
        """The inputs, in the order of the arguments of :meth:`forward`."""
        return tuple(vertex for vertex in self.vertices if isinstance(vertex, InputVertex))

    @property
    def inner_vertices(self) -> tuple[InnerVertex, ...]:
        """The vertices that hold modules, in the order of computation."""
        return tuple(vertex for vertex in self.vertices if isinstance(vertex, InnerVertex))

    @property
    def output_vertices(self) -> tuple[Vertex, ...]:
        """The vertices whose values :meth:`forward` returns."""
        return self._outputs

    def get_vertex_by_name(self, name: str) -> Vertex:
        """Return the vertex called ``name``; :class:`GraphError` with the nearest match if there is none."""
        try:
            return self._vertices[name]
        except KeyError:
            message = unknown_key_message("vertex", name, self._vertices)
            raise GraphError(f"{self.title}: {message}") from None

    def successors_of(self, vertex: Vertex) -> tuple[InnerVertex, ...]:
        """Return the vertices that read ``vertex``, each once."""
        return tuple(self._successors[self._own(vertex).name].values())

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
        sources = tuple(self._own(source) for source in given)
        self._check_module(name, module, len(sources))
        vertex = InnerVertex(name, module, sources)
        self._insert(vertex)
        self.vertex_modules.put(name, module)
        for source in sources:
            self._successors[source.name][name] = vertex
        return vertex

    def mark_as_output(self, *vertices: Vertex | str) -> None:
        """Make ``vertices`` the outputs, in this order; an earlier choice is replaced."""
        if not vertices:
            raise GraphError(f"{self.title} needs at least one output vertex.")
        self._outputs = tuple(self._own(vertex) for vertex in vertices)

    def forward(self, *inputs: Any) -> Any:
        """Compute the outputs: one value, or a tuple if several vertices are marked as outputs.

        Args:
            inputs: One value per input vertex, for spiking models ``(batch, time, channels)``.
        """
        names = [vertex.name for vertex in self.input_vertices]
        if len(inputs) != len(names):
            raise GraphError(f"{self.title} has inputs {names}, but {len(inputs)} values were given.")
        if not self._outputs:
            raise GraphError(f"{self.title} has no output: call mark_as_output().")
        values: dict[str, Any] = dict(zip(names, inputs, strict=True))
        for vertex in self.inner_vertices:
            arguments = (values[source.name] for source in vertex.predecessors)
            values[vertex.name] = call_module(vertex.module, *arguments)
        outputs = tuple(values[vertex.name] for vertex in self._outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def flatten(self) -> "DagModule":
        """Return the same model without nesting; inner names are joined with ``.`` to module paths.

        The new graph holds the same modules (not copies); this one stays as it is.
        """
        from .flattening import flatten

        return flatten(self)

    def traverse(self, processor: Callable[[Vertex], Any] | None = None) -> Iterator[Vertex] | list[Any]:
        """Walk all vertices, depth first into nested graphs.

        Args:
            processor: Called on each vertex, if given.

        Returns:
            Without ``processor`` an iterator over the vertices; with it, the list of its results.
        """
        walk = self._walk()
        return walk if processor is None else [processor(vertex) for vertex in walk]

    def _walk(self) -> Iterator[Vertex]:
        for vertex in self.vertices:
            yield vertex
            if isinstance(vertex, InnerVertex) and isinstance(vertex.module, DagModule):
                yield from vertex.module._walk()

    def _insert(self, vertex: Vertex) -> None:
        if not isinstance(vertex.name, str) or not vertex.name:
            raise GraphError(f"{self.title}: a vertex is named by a non-empty string, not {vertex.name!r}.")
        if vertex.name in self._vertices:
            raise GraphError(f"{self.title} already has a vertex {vertex.name!r}: choose another name.")
        vertex._dag_module = self
        self._vertices[vertex.name] = vertex
        self._successors[vertex.name] = {}

    def _own(self, vertex: Vertex | str) -> Vertex:
        if isinstance(vertex, str):
            return self.get_vertex_by_name(vertex)
        if not isinstance(vertex, Vertex) or self._vertices.get(vertex.name) is not vertex:
            raise GraphError(f"{vertex!r} is not a vertex of {self.title}: add it to this graph first.")
        return vertex

    def _check_module(self, name: str, module: nn.Module, num_sources: int) -> None:
        if not isinstance(module, nn.Module):
            raise GraphError(
                f"Vertex {name!r} of {self.title} needs a torch.nn.Module, not {type(module).__name__}."
            )
        if not isinstance(module, DagModule):
            return
        if module is self or any(
            isinstance(vertex, InnerVertex) and vertex.module is self for vertex in module._walk()
        ):
            raise GraphError(f"Vertex {name!r} would put {self.title} inside itself.")
        expected = len(module.input_vertices)
        if num_sources != expected:
            raise GraphError(
                f"Vertex {name!r}: {module.title} has {expected} inputs, {num_sources} are connected."
            )

    @property
    def title(self) -> str:
        """Class and name, for messages; ``repr`` shows the whole graph."""
        return f"DagModule {self.name!r}"

    def __repr__(self) -> str:
        from .printing import describe

        return describe(self)
