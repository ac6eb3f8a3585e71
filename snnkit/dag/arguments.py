"""The arguments of a call as a tree: containers as they were given, with vertices and constants as leaves."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["TRAINING", "ByMode", "in_mode", "is_namedtuple", "leaves", "map_leaves", "same"]


@dataclass(frozen=True)
class ByMode:
    """An argument that depends on the mode of the graph, as ``training=self.training`` does in a model.

    Attributes:
        training: The value after ``train()``.
        evaluation: The value after ``eval()``.
    """

    training: Any
    evaluation: Any

    def __repr__(self) -> str:
        if self.training is True and self.evaluation is False:
            return "training"
        return f"({self.training!r} if training else {self.evaluation!r})"


TRAINING = ByMode(training=True, evaluation=False)


def is_namedtuple(value: Any) -> bool:
    """Whether ``value`` is an instance of a named tuple."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return ``tree`` with ``function`` applied to each leaf; the types of the containers stay.

    Containers are lists, tuples, named tuples, dictionaries (of values), slices and :class:`ByMode`.
    Everything else is a leaf, and so is a subclass of a container that cannot be rebuilt from its elements.
    """
    rebuild = _REBUILDERS.get(type(tree))
    if rebuild is not None:
        return rebuild(lambda item: map_leaves(function, item), tree)
    if is_namedtuple(tree):
        return type(tree)._make(map_leaves(function, item) for item in tree)
    return function(tree)


_Each = Callable[[Any], Any]


def _rebuilt_mapping(each: _Each, tree: dict[Any, Any]) -> dict[Any, Any]:
    return type(tree)((key, each(value)) for key, value in tree.items())


_REBUILDERS: dict[type, Callable[[_Each, Any], Any]] = {
    tuple: lambda each, tree: tuple(each(item) for item in tree),
    list: lambda each, tree: [each(item) for item in tree],
    dict: _rebuilt_mapping,
    OrderedDict: _rebuilt_mapping,
    slice: lambda each, tree: slice(each(tree.start), each(tree.stop), each(tree.step)),
    ByMode: lambda each, tree: ByMode(each(tree.training), each(tree.evaluation)),
}


def in_mode(tree: Any, training: bool) -> Any:
    """Return arguments with the values of one mode."""

    def chosen(part: Any) -> Any:
        if isinstance(part, ByMode):
            return chosen(part.training if training else part.evaluation)
        if type(part) is list:
            return [chosen(item) for item in part]
        if type(part) in (dict, OrderedDict):
            return type(part)((key, chosen(value)) for key, value in part.items())
        if isinstance(part, tuple) and (type(part) is tuple or is_namedtuple(part)):
            items = [chosen(item) for item in part]
            return tuple(items) if type(part) is tuple else type(part)(*items)
        return part

    return chosen(tree)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the leaves of ``tree`` in order, each as often as it occurs."""
    if isinstance(tree, list) or (isinstance(tree, tuple) and (type(tree) is tuple or is_namedtuple(tree))):
        for item in tree:
            yield from leaves(item)
    elif type(tree) in (dict, OrderedDict):
        for value in tree.values():
            yield from leaves(value)
    elif type(tree) is ByMode:
        yield from leaves(tree.training)
        yield from leaves(tree.evaluation)
    elif type(tree) is slice:
        for part in (tree.start, tree.stop, tree.step):
            yield from leaves(part)
    else:
        yield tree


def same(first: Any, second: Any) -> bool:
    """Whether two trees have the same containers and identical or equal leaves."""
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    return _equal(first, second)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, float) and math.isnan(first):
        # NaN is a fill value like any other: equal to itself.
        return math.isnan(second)
    try:
        return bool(first == second)
    except (TypeError, ValueError, RuntimeError):
        return False
