"""Vertices: the inputs of a graph, and the modules in it with what they are called with."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from .arguments import leaves

if TYPE_CHECKING:
    from .structure import GraphStructure

__all__ = ["InnerVertex", "InputVertex", "Vertex"]


class Vertex:
    """A named value in a graph. Vertices are made by :class:`~snnkit.dag.DagModule`, which owns them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dag_module: GraphStructure | None = None

    @property
    def name(self) -> str:
        """The name, unique in the graph; :meth:`DagModule.rename` changes it."""
        return self._name

    @property
    def dag_module(self) -> "GraphStructure | None":
        """The graph that owns this vertex; None until it is added to one, and after its removal."""
        return self._dag_module

    @property
    def successors(self) -> tuple["InnerVertex", ...]:
        """The vertices that read this one, in the graph's order, each once."""
        return () if self._dag_module is None else self._dag_module.successors_of(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class InputVertex(Vertex):
    """A value that the caller of the graph supplies.

    Attributes:
        spec: What a call may supply; None if anything goes. Set by capture.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.spec: Any = None


class InnerVertex(Vertex):
    """A module applied to arguments: values of other vertices, and constants.

    Args:
        name: Unique in its graph.
        module: Any :class:`torch.nn.Module`; a :class:`~snnkit.dag.DagModule` nests.
        args: The positional arguments: vertices, constants, and containers of both. The same vertex may
            appear more than once.
        kwargs: The keyword arguments, likewise.
    """

    def __init__(
        self, name: str, module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(name)
        self._module = module
        self._args = tuple(args)
        self._kwargs = dict(kwargs or {})

    @property
    def module(self) -> nn.Module:
        """The module that this vertex applies; a new one can be put in its place."""
        return self._module

    @module.setter
    def module(self, module: nn.Module) -> None:
        self._owner().replace(self, module)

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments. Constants in them can be changed by assigning new arguments.

        Raises:
            GraphError: On assignment, if a vertex in them is not an earlier one of the same graph.
        """
        return self._args

    @args.setter
    def args(self, args: Sequence[Any]) -> None:
        self._owner().set_arguments(self, args, self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments (a copy); they are changed by assigning a new dictionary."""
        return dict(self._kwargs)

    @kwargs.setter
    def kwargs(self, kwargs: Mapping[str, Any]) -> None:
        self._owner().set_arguments(self, self._args, kwargs)

    @property
    def predecessors(self) -> tuple[Vertex, ...]:
        """The vertices read, in argument order, each as often as it is read."""
        return tuple(leaf for leaf in leaves([self._args, self._kwargs]) if isinstance(leaf, Vertex))

    @property
    def operation(self) -> str | None:
        """The canonical name of the function applied; None if the vertex holds a layer or a graph."""
        return getattr(self._module, "operation", None)

    def _owner(self) -> "GraphStructure":
        if self._dag_module is None:
            from .errors import GraphError

            raise GraphError(f"{self!r} is in no graph, so it cannot be edited.")
        return self._dag_module

    def __repr__(self) -> str:
        sources = ", ".join(vertex.name for vertex in self.predecessors)
        return f"InnerVertex({self.name!r}, {type(self._module).__name__}, [{sources}])"
