"""The tape: every tensor operation of one forward pass, in order. It is made once and never edited."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from snnkit.dag.errors import GraphError

__all__ = ["Operation", "Tape", "TapeError", "Value", "VertexCall", "values_in"]


class TapeError(GraphError):
    """A model cannot be run on the example inputs, so that nothing can be found out about it."""


@dataclass(frozen=True, eq=False)
class Value:
    """One tensor of a forward pass.

    Args:
        index: Position in :attr:`Tape.values`.
        kind: ``input``, ``parameter``, ``buffer``, ``constant`` (a tensor that the model holds otherwise) or
            ``result``.
        shape: Sizes of the axes.
        dtype: Type of the elements.
        name: Path of a parameter or buffer, position of an input; empty for results.
        root: Index of the value whose memory this one is a view of; its own if of none.
    """

    index: int
    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    name: str
    root: int

    def __repr__(self) -> str:
        label = self.name or f"%{self.index}"
        return f"{label}{list(self.shape)}"


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: an ATen call, or a module that has rules of its own.

    Args:
        index: Position in :attr:`Tape.operations`.
        kind: Name by which rules are found, like ``aten.convolution`` or ``LSTM``.
        target: The overload that was called, or the module.
        arguments: By name, defaults included; tensors are :class:`Value`, also within lists.
        outputs: The tensors returned, in order, nested ones flattened.
        path: Path of the innermost module that was running; empty for the model itself.
        source: ``file:line`` of the code that called it, outside of torch; empty if unknown.
        mutates: Whether it writes into one of its arguments.
    """

    index: int
    kind: str
    target: Any
    arguments: dict[str, Any]
    outputs: tuple[Value, ...]
    path: str
    source: str
    mutates: bool = False

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors it reads, in the order of the arguments."""
        return tuple(values_in(list(self.arguments.values())))

    def argument(self, name: str) -> Any:
        """Return the argument called ``name``; None if the operation has no such argument."""
        return self.arguments.get(name)

    def __repr__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        return f"{self.kind}{where}" + (f" ({self.source})" if self.source else "")


@dataclass(frozen=True, eq=False)
class VertexCall:
    """What a vertex of a :class:`~snnkit.dag.DagModule` was called with, and what it returned.

    Args:
        path: Its name behind those of the graphs around it, joined by ``.``.
        arguments: The positional and keyword arguments, tensors as :class:`Value`.
        results: What it returned, likewise.
        operations: Positions on the tape of what ran inside.
    """

    path: str
    arguments: Any
    results: Any
    operations: range


@dataclass(frozen=True, eq=False)
class Tape:
    """All operations of one forward pass that its outputs depend on.

    Args:
        values: All tensors.
        operations: In the order in which they ran.
        outputs: The tensors that the model returned, nested ones flattened.
        parameters: Parameters and buffers by path; one that has several paths is there under its first.
        aliases: Other paths of parameters and buffers, each with the first.
        calls: The vertices that ran, by path, if the model is a :class:`~snnkit.dag.DagModule`.
        results: The first tensor that each module returned, by path, in the order in which they ended.
    """

    values: tuple[Value, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[Value, ...]
    parameters: dict[str, Value]
    aliases: dict[str, str] = field(default_factory=dict)
    calls: dict[str, VertexCall] = field(default_factory=dict)
    results: dict[str, Value] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The tensors that the model was given."""
        return tuple(value for value in self.values if value.kind == "input")

    def __repr__(self) -> str:
        lines = [
            f"{op.index:5d}  {op.kind:<28} {_shapes(op)}  {op.path}  {op.source}" for op in self.operations
        ]
        return "\n".join(line.rstrip() for line in lines)


def _shapes(op: Operation) -> str:
    inputs = ", ".join(map(repr, op.inputs))
    return f"({inputs}) -> {', '.join(map(repr, op.outputs))}"


def values_in(tree: Any) -> Iterator[Value]:
    """Walk the values in nested lists, tuples and dictionaries."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from values_in(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from values_in(item)
