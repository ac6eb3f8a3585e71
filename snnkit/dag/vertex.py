"""Vertices: the inputs of a graph, and the modules in it with what they read."""

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from .dag_module import DagModule

__all__ = ["InnerVertex", "InputVertex", "Vertex"]


class Vertex:
    """A named value in a graph. Vertices are made by :class:`~snnkit.dag.DagModule`, which owns them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._dag_module: DagModule | None = None

    @property
    def dag_module(self) -> "DagModule | None":
        """The graph that owns this vertex; None until it is added to one."""
        return self._dag_module

    @property
    def successors(self) -> tuple["InnerVertex", ...]:
        """The vertices that read this one, in the graph's order, each once."""
        return () if self._dag_module is None else self._dag_module.successors_of(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class InputVertex(Vertex):
    """A value that the caller of the graph supplies."""


class InnerVertex(Vertex):
    """A module applied to the values of other vertices.

    Args:
        name: Unique in its graph.
        module: Any :class:`torch.nn.Module`; a :class:`~snnkit.dag.DagModule` nests.
        predecessors: The vertices whose values are the module's arguments, in order. The same vertex
            may appear more than once.
    """

    def __init__(self, name: str, module: nn.Module, predecessors: tuple[Vertex, ...]) -> None:
        super().__init__(name)
        self._module = module
        self._predecessors = predecessors

    @property
    def module(self) -> nn.Module:
        """The module that this vertex applies."""
        return self._module

    @property
    def predecessors(self) -> tuple[Vertex, ...]:
        """The vertices read, in argument order."""
        return self._predecessors

    def __repr__(self) -> str:
        sources = ", ".join(vertex.name for vertex in self._predecessors)
        return f"InnerVertex({self.name!r}, {type(self._module).__name__}, [{sources}])"
