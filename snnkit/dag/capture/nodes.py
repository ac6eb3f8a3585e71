"""What capture writes down: one node for each call, in the order in which the model made them."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ..arguments import leaves

__all__ = ["Node", "Recording", "Scope"]


@dataclass(eq=False)
class Scope:
    """One call of a module that is recorded inside; the calls in it stand in ``items``."""

    path: str
    module: nn.Module
    parent: "Scope | None"
    items: "list[Node | Scope]" = field(default_factory=list)
    names: "dict[Node, str]" = field(default_factory=dict)
    """Node from outside -> the name of the argument in which it came."""


@dataclass(eq=False)
class Node:
    """One call.

    Attributes:
        index: Position among all nodes.
        kind: "input", "tensor" (a parameter, buffer or constant), "function" or "module".
        name: What to call the vertex, before names are made unique.
        scope: In which call of a module it happened.
        args: Positional arguments, with nodes for values.
        kwargs: Keyword arguments, likewise.
        operation: The canonical function.
        in_place: Whether it writes into its first argument as the rest of the graph can see.
        module: For a module the one to put into the vertex; it shares its tensors with the model.
        path: Path of the module or tensor in the model.
        tensor: The parameter, buffer or constant.
        persistent: Whether the tensor is part of the model's ``state_dict``.
        when: "training" or "evaluation" for a function that the model calls in that mode only.
        value: For a size, or a number computed from sizes, what it was.
    """

    index: int
    kind: str
    name: str
    scope: Scope
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    operation: str = ""
    in_place: bool = False
    module: nn.Module | None = None
    path: str = ""
    tensor: Tensor | None = None
    persistent: bool = True
    when: str = ""
    value: Any = None

    @property
    def sources(self) -> "list[Node]":
        """The nodes read, each as often as it is read."""
        return [leaf for leaf in leaves([self.args, self.kwargs]) if isinstance(leaf, Node)]

    def __repr__(self) -> str:
        what = self.operation or (type(self.module).__name__ if self.module is not None else self.kind)
        return f"Node({self.index}, {what}, {self.scope.path}/{self.name})"


@dataclass
class Recording:
    """All that one run of a model gave.

    Attributes:
        root: The call of the model itself.
        nodes: All nodes in order.
        inputs: Name of an argument -> its node.
        output: What the model returned, with nodes for values.
        reads_sizes: Whether the model's own code read the size of a tensor.
    """

    root: Scope
    nodes: list[Node]
    inputs: dict[str, Node]
    output: Any = None
    reads_sizes: bool = False
