"""What a graph computes from its parameters and buffers alone, found by running just that."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import in_mode, leaves, map_leaves
from ..dag_module import DagModule
from ..functions import RANDOM, FreeTensor, Function
from ..operations import Add, Concat, Identity, Select
from ..registry import has_call
from ..vertex import InnerVertex, Vertex

__all__ = ["VARIES", "Constant", "Constants"]

VARIES = object()
"""Stands for a value that is no constant."""

_VIEWS = frozenset(
    {"reshape", "reshape_as", "view_as", "expand_as", "permute", "transpose", "t", "movedim", "getitem",
     "chunk", "split", "narrow", "unbind", "squeeze", "unsqueeze", "flatten", "unflatten", "expand",
     "broadcast_to", "select", "detach", "contiguous", "clone", "to", "to_like", "identity", "attribute",
     "size", "numel", "number"}
)  # fmt: skip
"""Functions that take numbers as they are: a part of a parameter, or another look at it, is not computed."""


@dataclass(frozen=True, eq=False)
class Constant:
    """A value that depends on nothing but parameters and buffers.

    Args:
        value: What it is in evaluation mode.
        key: The same for values that are computed in the same way from the same tensors.
        tensors: The parameters and buffers behind it.
        paths: The vertices that compute it.
        is_computed: Whether its numbers are others than those of the tensors behind it.
    """

    value: Any
    key: int
    tensors: tuple[Tensor, ...]
    paths: frozenset[str]
    is_computed: bool


class Constants:
    """The constants of a graph, by vertex; the graph is run in evaluation mode as far as they go.

    Random numbers, values written in place, and modules with a state are none.
    """

    def __init__(self, graph: DagModule) -> None:
        self._of: dict[tuple[int, str], Any] = {}
        self._keys: dict[Any, int] = {}
        self._written = _Written(graph)
        holders = [v.module for _, v in graph.traverse_paths() if isinstance(v, InnerVertex)]
        ids = [id(module) for module in holders if isinstance(module, DagModule)]
        self._shared = {key for key in ids if ids.count(key) > 1}
        with torch.no_grad():
            self._run(graph, "", {vertex.name: VARIES for vertex in graph.input_vertices})

    def of(self, vertex: Vertex) -> Any:
        """Return the constant of a vertex, a tree of them if it returns several; with :data:`VARIES`."""
        return self._of.get((id(vertex.dag_module), vertex.name), VARIES)

    def takes(self, graph: DagModule) -> bool:
        """Whether constants given to a nested graph are known inside: it stands in one place."""
        return id(graph) not in self._shared

    def _run(self, graph: DagModule, prefix: str, values: dict[str, Any]) -> Any:
        values = dict(values)
        for vertex in graph.inner_vertices:
            is_written = (id(graph), vertex.name) in self._written.values
            found = self._value(vertex, prefix + vertex.name, values)
            values[vertex.name] = VARIES if is_written else found
        self._of |= {(id(graph), name): value for name, value in values.items()}
        return map_leaves(
            lambda leaf: values[leaf.name] if isinstance(leaf, Vertex) else self._literal(leaf), graph.output
        )

    def _value(self, vertex: InnerVertex, path: str, values: dict[str, Any]) -> Any:
        module = vertex.module

        def resolved(leaf: Any) -> Any:
            return values[leaf.name] if isinstance(leaf, Vertex) else leaf

        args, kwargs = in_mode(vertex.args, False), in_mode(vertex.kwargs, False)
        args, kwargs = map_leaves(resolved, args), map_leaves(resolved, kwargs)
        if isinstance(module, DagModule):
            return self._nested(module, path, args, kwargs)
        if isinstance(module, FreeTensor):
            return self._free(module.value, path)
        if isinstance(module, Function) and module.when == "training":
            return args[0] if args else VARIES
        if isinstance(module, Select) and isinstance(args[0], list | tuple):
            return args[0][module.index]
        given = list(leaves([args, kwargs]))
        if any(leaf is VARIES for leaf in given) or not _is_pure(module):
            return VARIES
        return self._computed(module, path, args, kwargs, [leaf for leaf in given if _is_constant(leaf)])

    def _nested(self, graph: DagModule, path: str, args: Any, kwargs: Any) -> Any:
        names = [entry.name for entry in graph.input_vertices]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if not self.takes(graph):
            given = dict.fromkeys(names, VARIES)
        return self._run(graph, f"{path}.", {name: _whole(given[name]) for name in names})

    def _free(self, tensor: Tensor, path: str) -> Any:
        if id(tensor) in self._written.tensors:
            return VARIES
        return Constant(tensor, self._key(("tensor", id(tensor))), (tensor,), frozenset([path]), False)

    def _literal(self, leaf: Any) -> Any:
        return Constant(leaf, self._key(("literal", repr(leaf))), (), frozenset(), False)

    def _key(self, what: Any) -> int:
        return self._keys.setdefault(what, len(self._keys))

    def _computed(self, module: nn.Module, path: str, args: Any, kwargs: Any, sources: list[Constant]) -> Any:
        def plain(leaf: Any) -> Any:
            return leaf.value if isinstance(leaf, Constant) else leaf

        def named(leaf: Any) -> Any:
            return f"<{leaf.key}>" if isinstance(leaf, Constant) else leaf

        operation = module.operation if isinstance(module, Function) else id(module)
        key = ("call", operation, repr(map_leaves(named, [args, kwargs])))
        held = list(nn.Module.parameters(module)) + list(nn.Module.buffers(module))
        if any(id(tensor) in self._written.tensors for tensor in held):
            return VARIES
        result = module(*map_leaves(plain, args), **map_leaves(plain, kwargs))
        tensors = {id(t): t for source in sources for t in source.tensors} | {id(t): t for t in held}
        paths = frozenset([path]).union(*(source.paths for source in sources))
        computed = not _is_view(module) or any(source.is_computed for source in sources)
        positions = iter(range(1 << 30))

        def wrapped(leaf: Any) -> Constant:
            return Constant(
                leaf, self._key((*key, next(positions))), tuple(tensors.values()), paths, computed
            )

        return map_leaves(wrapped, result)


def _is_constant(leaf: Any) -> bool:
    return isinstance(leaf, Constant)


def _whole(given: Any) -> Any:
    """Return a value for an input of a nested graph: what varies in part varies."""
    return VARIES if any(not isinstance(leaf, Constant) for leaf in leaves([given])) else given


def _is_pure(module: nn.Module) -> bool:
    """Whether a call in evaluation mode returns the same for the same, and changes nothing."""
    if isinstance(module, Function):
        return not module.in_place and module.operation not in RANDOM | {"control", "check", "assign"}
    if getattr(module, "inplace", False) is True or has_call(module):
        return False
    return isinstance(module, Add | Concat | Identity | Select) or type(module).__module__.startswith(
        "torch.nn.modules."
    )


class _Written:
    """The tensors and values that evaluation writes into: all that may be behind a write's first argument."""

    def __init__(self, graph: DagModule) -> None:
        self.tensors: set[int] = set()
        self.values: set[tuple[int, str]] = set()
        self._holders: dict[int, list[InnerVertex]] = {}
        inner = [vertex for _, vertex in graph.traverse_paths() if isinstance(vertex, InnerVertex)]
        for vertex in inner:
            self._holders.setdefault(id(vertex.module), []).append(vertex)
        self._trace([vertex for vertex in inner if _writes(vertex.module)])

    def _trace(self, pending: list[Any]) -> None:
        while pending:
            vertex = pending.pop()
            key = (id(vertex.dag_module), vertex.name)
            if key in self.values:
                continue
            self.values.add(key)
            if not isinstance(vertex, InnerVertex):
                pending += [s for holder in self._holders.get(key[0], ()) for s in holder.predecessors]
            elif isinstance(vertex.module, FreeTensor):
                self.tensors.add(id(vertex.module.value))
            elif isinstance(vertex.module, DagModule):
                pending += [*vertex.predecessors, *vertex.module.output_vertices]
            elif _writes(vertex.module) or _is_view(vertex.module):
                pending += vertex.predecessors


def _writes(module: nn.Module) -> bool:
    if isinstance(module, Function):
        return module.when != "training" and (module.in_place or module.operation == "assign")
    return getattr(module, "inplace", False) is True


def _is_view(module: nn.Module) -> bool:
    return getattr(module, "operation", None) in _VIEWS or isinstance(module, nn.Identity)
