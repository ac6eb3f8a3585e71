"""A model as a directed acyclic graph of modules that can be read, run, edited, nested and flattened."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch

from snnkit.utilities.errors import unknown_key_message

from .arguments import in_mode, map_leaves
from .errors import GraphError
from .running import make_plan, run_plan
from .signatures import Signature
from .structure import GraphStructure
from .vertex import InputVertex, Vertex

if TYPE_CHECKING:
    from .cost import GraphCost

__all__ = ["DagModule"]


class DagModule(GraphStructure):
    """A graph of modules, itself a module.

    Vertices are in an order in which they can be computed: each reads only earlier ones.
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
        super().__init__(name)
        self.signature: Signature | None = None

    @classmethod
    def classes(cls) -> dict[str, type["DagModule"]]:
        """Return the classes of graphs that files may name: this one and its subclasses, by name."""
        found: dict[str, type[DagModule]] = {"DagModule": DagModule}
        pending = [DagModule]
        while pending:
            for subclass in pending.pop().__subclasses__():
                found.setdefault(subclass.__name__, subclass)
                pending.append(subclass)
        return found

    def options(self) -> dict[str, Any]:
        """Return what a subclass keeps beside the graph, for files: JSON values by name."""
        return {}

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Take back what :meth:`options` returned.

        Raises:
            GraphError: These are no options of this class.
        """
        if options:
            raise GraphError(f"{self.title} has no options {', '.join(map(str, options))}.")

    # --- Running --------------------------------------------------------------------------------

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the outputs, in the containers in which the model returns them.

        Args:
            inputs: One value per input vertex, for spiking models ``(batch, time, channels)``.
            named: Inputs by the names of their vertices.

        Raises:
            GraphError: Inputs are missing, unknown, or not of the kind for which the graph was captured.
        """
        vertices = self.input_vertices
        values = self._bind(vertices, inputs, named)
        if not self._has_output:
            raise GraphError(f"{self.title} has no output: call mark_as_output().")
        if self.signature is not None:
            self.signature.check(self, values)
        if self.training not in self._plans:
            self._plans[self.training] = make_plan(self, self.training)
        run_plan(self._plans[self.training], values)
        output = in_mode(self._output, self.training)
        return map_leaves(lambda leaf: values[leaf.name] if isinstance(leaf, Vertex) else leaf, output)

    def _bind(
        self, vertices: Sequence[InputVertex], inputs: tuple[Any, ...], named: dict[str, Any]
    ) -> dict[str, Any]:
        values: dict[str, Any] = dict(zip((vertex.name for vertex in vertices), inputs, strict=False))
        names = [vertex.name for vertex in vertices]
        for name, value in named.items():
            if name not in names:
                raise GraphError(f"{self.title}: {unknown_key_message('input', name, names)}")
            if name in values:
                raise GraphError(f"{self.title}: input {name!r} is given twice.")
            values[name] = value
        if len(inputs) > len(names) or len(values) < len(names):
            count = len(inputs) + len(named)
            raise GraphError(f"{self.title} has inputs {names}, but {count} values were given.")
        return values

    # --- Whole graphs ---------------------------------------------------------------------------

    def flatten(self) -> "DagModule":
        """Return the same model without nesting; inner names are joined with ``.`` to module paths.

        The new graph holds the same modules (not copies); this one stays as it is.
        """
        from .flattening import flatten

        return flatten(self)

    def copy(self) -> Self:
        """Return an independent graph: modules, parameters and all."""
        from .copying import copy_graph

        return copy_graph(self)

    def meta_copy(self) -> Self:
        """Return the graph with all tensors on the meta device: shapes without numbers or memory."""
        from .copying import meta_copy

        return meta_copy(self)

    def example_inputs(self, device: str = "meta") -> tuple[Any, ...]:
        """Return inputs of the shapes and types with which the graph was captured, all zero.

        Raises:
            GraphError: The graph was put together by hand, so that nothing is known of its inputs.
        """
        if self.signature is None:
            raise GraphError(f"{self.title} was not captured, so it has no example inputs: pass inputs.")
        return self.signature.examples(torch.device(device))

    def cost(self, *inputs: Any) -> "GraphCost":
        """Return what the graph costs to run, vertex by vertex; see :func:`snnkit.dag.cost.cost_of`."""
        from .cost import cost_of

        return cost_of(self, inputs)

    def draw(self, path: str | Path | None = None, depth: int | None = None, costs: bool = True) -> str:
        """Return a picture of the graph as SVG text; see :func:`snnkit.dag.drawing.draw`."""
        from .drawing import draw

        return draw(self, path, depth=depth, costs=costs)

    def table(self, *inputs: Any) -> str:
        """Return the graph as a table with the shape of every value and its cost."""
        from .printing import table

        return table(self, inputs)

    def save(self, path: str | Path) -> None:
        """Write the graph to the folder ``path``; see :func:`snnkit.dag.files.save_graph`."""
        from .files import save_graph

        save_graph(self, path)

    @staticmethod
    def load(path: str | Path) -> "DagModule":
        """Read a graph from the folder ``path``; see :func:`snnkit.dag.files.load_graph`."""
        from .files import load_graph

        return load_graph(path)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_plans": {}}

    def __repr__(self) -> str:
        from .printing import describe

        return describe(self)
