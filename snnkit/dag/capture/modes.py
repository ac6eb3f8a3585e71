"""One graph for both modes: what a model does differently in training and in evaluation."""

from functools import cache
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from ..arguments import ByMode, map_leaves, same
from ..errors import CaptureError
from ..functions import FUNCTIONS
from .layers import Layers
from .nodes import Node, Recording, Scope

__all__ = ["join_modes", "reads_mode"]

_WINDOW = 40
"""How many calls that one mode makes alone are looked for in a row."""


def reads_mode(layers: Layers) -> bool:
    """Whether the model's own code mentions its mode; layers of torch handle theirs by themselves."""
    classes: list[Any] = [type(module) for module in layers.recorded()]
    return any(map(_class_reads_mode, classes)) or any(map(_holds_reader, layers.recorded()))


def _holds_reader(module: nn.Module) -> bool:
    functions = (value for value in module.__dict__.values() if isinstance(value, FunctionType))
    return any(_code_reads_mode(function.__code__) for function in functions)


@cache
def _class_reads_mode(cls: Any) -> bool:
    for base in cls.__mro__:
        if base is nn.Module:
            return False
        for value in vars(base).values():
            function = getattr(value, "__func__", getattr(value, "fget", value))
            if isinstance(function, FunctionType) and _code_reads_mode(function.__code__):
                return True
    return False


def _code_reads_mode(code: CodeType) -> bool:
    if "training" in code.co_names or "training" in code.co_consts:
        return True
    return any(isinstance(constant, CodeType) and _code_reads_mode(constant) for constant in code.co_consts)


def join_modes(recording: Recording, other: Recording, training: bool) -> None:
    """Make a recording in one mode hold for the other mode as well.

    Args:
        recording: Changed in place, in the mode ``training``.
        other: The same model in the other mode.
        training: The mode of ``recording``.

    Raises:
        CaptureError: The modes differ in more than arguments and functions; the message has the place.
    """
    _Join(recording, other, training).run()


class _Join:
    def __init__(self, recording: Recording, other: Recording, training: bool) -> None:
        self.recording, self.other, self.training = recording, other, training
        self.matched: dict[int, Node] = {}
        """Index of a node of the other recording -> its counterpart."""
        self.scopes: dict[int, Scope] = {id(other.root): recording.root}
        self.joined: list[Node] = []

    def run(self) -> None:
        here, there = self.recording.nodes, self.other.nodes
        position = 0
        for node in there:
            found = self._find(node, here, position)
            if found is None:
                self._adopt(node)
                continue
            for skipped in here[position:found]:
                self._only_here(skipped)
            self._match(here[found], node)
            position = found + 1
        for skipped in here[position:]:
            self._only_here(skipped)
        self.recording.output = self._merged(self.recording.output, self.other.output, self.recording.root)
        for index, node in enumerate(self.joined):
            node.index = index
        self.recording.nodes = self.joined
        self._sort_scopes()

    def _sort_scopes(self) -> None:
        """List what is in each scope in the order of the joined calls."""
        chains = [_chain_of(node.scope) for node in self.joined]
        placed: set[int] = set()
        for scope in (scope for chain in chains for scope in chain):
            scope.items = []
        for node, chain in zip(self.joined, chains, strict=True):
            for parent, scope in pairwise(chain):
                if id(scope) not in placed:
                    placed.add(id(scope))
                    parent.items.append(scope)
            node.scope.items.append(node)

    def _find(self, node: Node, here: list[Node], position: int) -> int | None:
        for offset in range(position, min(position + _WINDOW, len(here))):
            if _key(here[offset]) == _key(node):
                return offset
            if here[offset].kind == "module":
                # Layers are called in both modes, so that what is looked for cannot be behind one.
                return None
        return None

    def _match(self, node: Node, other: Node) -> None:
        self._match_scopes(node.scope, other.scope)
        self.matched[other.index] = node
        node.args = self._merged(node.args, other.args, node.scope)
        node.kwargs = self._merged_kwargs(node, other)
        self.joined.append(node)

    def _match_scopes(self, scope: Scope | None, other: Scope | None) -> None:
        while scope is not None and other is not None and id(other) not in self.scopes:
            self.scopes[id(other)] = scope
            scope, other = scope.parent, other.parent

    def _merged_kwargs(self, node: Node, other: Node) -> dict[str, Any]:
        defaults = FUNCTIONS[node.operation].defaults if node.operation else {}
        names = [*node.kwargs, *(name for name in other.kwargs if name not in node.kwargs)]
        merged = {}
        for name in names:
            if (name not in node.kwargs or name not in other.kwargs) and name not in defaults:
                raise CaptureError(_place(node))
            here = node.kwargs.get(name, defaults.get(name))
            there = other.kwargs.get(name, defaults.get(name))
            merged[name] = self._merged(here, there, node.scope)
        return merged

    def _merged(self, here: Any, there: Any, scope: Scope) -> Any:
        """Return arguments that are ``here`` in this mode and ``there`` in the other."""
        if isinstance(there, Node) and isinstance(here, Node):
            there = self.matched.get(there.index, there)
            return here if there is here else self._by_mode(here, there)
        if type(here) is type(there) and isinstance(here, list | tuple) and len(here) == len(there):
            items = [self._merged(a, b, scope) for a, b in zip(here, there, strict=True)]
            return type(here)(items) if type(here) in (list, tuple) else type(here)(*items)
        if type(here) is type(there) is dict and list(here) == list(there):
            return {key: self._merged(here[key], there[key], scope) for key in here}
        if isinstance(there, Node):
            there = self.matched.get(there.index, there)
        return here if same(here, there) else self._by_mode(here, there)

    def _by_mode(self, here: Any, there: Any) -> ByMode:
        return ByMode(here, there) if self.training else ByMode(there, here)

    def _adopt(self, node: Node) -> None:
        """Take in a call that only the other mode makes."""
        self._restrict(node, not self.training)
        scope = self._scope_here(node.scope, node)
        node.args = self._translated(node.args)
        node.kwargs = {name: self._translated(value) for name, value in node.kwargs.items()}
        node.scope = scope
        self.joined.append(node)

    def _scope_here(self, scope: Scope, node: Node) -> Scope:
        """Return the counterpart of a call of the other recording in which nothing is matched so far."""
        if id(scope) in self.scopes:
            return self.scopes[id(scope)]
        assert scope.parent is not None
        parent = self._scope_here(scope.parent, node)
        used = list(self.scopes.values())
        candidates = [
            item
            for item in parent.items
            if isinstance(item, Scope) and item.path == scope.path and all(item is not one for one in used)
        ]
        if not candidates:
            raise CaptureError(_place(node))
        self.scopes[id(scope)] = candidates[0]
        return candidates[0]

    def _translated(self, tree: Any) -> Any:
        return map_leaves(
            lambda leaf: self.matched.get(leaf.index, leaf) if isinstance(leaf, Node) else leaf, tree
        )

    def _only_here(self, node: Node) -> None:
        self._restrict(node, self.training)
        self.joined.append(node)

    def _restrict(self, node: Node, training: bool) -> None:
        if node.kind == "function":
            node.when = "training" if training else "evaluation"
        elif node.kind != "tensor":
            raise CaptureError(_place(node))


def _chain_of(scope: Scope) -> list[Scope]:
    """Return the scopes around a scope, from the outside in, and itself."""
    chain: list[Scope] = []
    current: Scope | None = scope
    while current is not None:
        chain.insert(0, current)
        current = current.parent
    return chain


def _key(node: Node) -> tuple[Any, ...]:
    tensor = id(node.tensor) if node.tensor is not None else None
    return node.kind, node.operation, node.path, node.scope.path, node.in_place, tensor


def _place(node: Node) -> str:
    what = node.path or f"{node.operation} in {node.scope.path or 'the model'}"
    return f"The model calls {what} in one mode and not in the other."
