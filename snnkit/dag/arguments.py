"""The arguments of a call as a tree: containers as they were given, with vertices and constants as leaves."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["is_namedtuple", "leaves", "map_leaves", "same"]


def is_namedtuple(value: Any) -> bool:
    """Whether ``value`` is an instance of a named tuple."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return ``tree`` with ``function`` applied to each leaf; the types of the containers stay.

    Containers are lists, tuples, named tuples, dictionaries (of values) and slices. Everything else is a
    leaf, and so is a subclass of a container that cannot be rebuilt from its elements.
    """
    kind = type(tree)
    if kind is tuple:
        return tuple(map_leaves(function, item) for item in tree)
    if kind is list:
        return [map_leaves(function, item) for item in tree]
    if kind in (dict, OrderedDict):
        return kind((key, map_leaves(function, value)) for key, value in tree.items())
    if kind is slice:
        return slice(*(map_leaves(function, part) for part in (tree.start, tree.stop, tree.step)))
    if is_namedtuple(tree):
        return kind._make(map_leaves(function, item) for item in tree)
    return function(tree)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the leaves of ``tree`` in order, each as often as it occurs."""
    if isinstance(tree, list) or (isinstance(tree, tuple) and (type(tree) is tuple or is_namedtuple(tree))):
        for item in tree:
            yield from leaves(item)
    elif type(tree) in (dict, OrderedDict):
        for value in tree.values():
            yield from leaves(value)
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
