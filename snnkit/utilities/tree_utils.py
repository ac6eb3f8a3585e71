"""Functions over trees: nested dictionaries, whose leaves are anything that is no dictionary.

Trees are what ``module.parameters()`` and ``module.state()`` return. A *branch* is the tuple of keys
that leads to a leaf. Functions that change a tree return the new one and leave the old one alone, unless
``inplace=True``; leaves are never copied.
"""

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

__all__ = [
    "branches",
    "get_nested",
    "make_prototype_tree",
    "set_matching",
    "set_matching_select",
    "set_nested",
    "tree_find",
    "tree_flatten",
    "tree_map",
    "tree_unflatten",
    "tree_update",
]

Tree = dict[str, Any]
Branch = tuple[str, ...]


def _copy_nodes(tree: Mapping[str, Any]) -> Tree:
    """Copy the dictionaries of a tree, and share its leaves."""
    return {key: _copy_nodes(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def branches(tree: Mapping[str, Any], prefix: Branch = ()) -> Generator[Branch, None, None]:
    """Yield the branch of every leaf, in order. An empty dictionary holds no leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from branches(value, (*prefix, key))
        else:
            yield (*prefix, key)


def get_nested(tree: Mapping[str, Any], branch: Branch) -> Any:
    """Return what stands at ``branch``; KeyError if there is nothing."""
    value: Any = tree
    for key in branch:
        value = value[key]
    return value


def set_nested(tree: Tree, branch: Branch, value: Any, inplace: bool = False) -> Tree:
    """Set the leaf at ``branch``; KeyError if a dictionary on the way is missing."""
    result = tree if inplace else _copy_nodes(tree)
    get_nested(result, branch[:-1])[branch[-1]] = value
    return result


def set_matching(full_tree: Tree, target_tree: Mapping[str, Any], value: Any, inplace: bool = False) -> Tree:
    """Set every leaf of ``full_tree`` to ``value`` that ``target_tree`` also has."""
    result = full_tree if inplace else _copy_nodes(full_tree)
    known = set(branches(result))
    for branch in branches(target_tree):
        if branch in known:
            set_nested(result, branch, value, inplace=True)
    return result


def set_matching_select(
    full_tree: Tree, target_tree: Mapping[str, Any], value: Any, inplace: bool = False
) -> Tree:
    """Set those leaves of ``full_tree`` to ``value`` whose leaf in ``target_tree`` is true."""
    result = full_tree if inplace else _copy_nodes(full_tree)
    known = set(branches(result))
    for branch in tree_find(target_tree):
        if branch in known:
            set_nested(result, branch, value, inplace=True)
    return result


def make_prototype_tree(full_tree: Mapping[str, Any], target_tree: Mapping[str, Any]) -> Tree:
    """Return a tree of bools in the form of ``full_tree``: True where ``target_tree`` has that leaf.

    A leaf of ``target_tree`` that is nowhere in ``full_tree`` raises a ``SyntaxWarning``.
    """
    known = set(branches(full_tree))
    prototype = tree_map(full_tree, lambda _leaf: False)
    for branch in branches(target_tree):
        if branch in known:
            set_nested(prototype, branch, True, inplace=True)
        else:
            path = ".".join(branch)
            warnings.warn(f"{path!r} is not in the full tree and is left out.", SyntaxWarning, stacklevel=2)
    return prototype


def tree_map(tree: Mapping[str, Any], f: Callable[[Any], Any]) -> Tree:
    """Apply ``f`` to every leaf; note that the tree comes first."""
    return {
        key: tree_map(value, f) if isinstance(value, Mapping) else f(value) for key, value in tree.items()
    }


def tree_flatten(tree: Mapping[str, Any], leaves: list[Any] | None = None) -> tuple[list[Any], Tree]:
    """Return the leaves as a list, and the structure: the same tree with None as every leaf.

    Leaves are appended to ``leaves`` where it is given.
    """
    flat: list[Any] = [] if leaves is None else leaves
    flat.extend(get_nested(tree, branch) for branch in branches(tree))
    return flat, tree_map(tree, lambda _leaf: None)


def tree_unflatten(treedef: Mapping[str, Any], leaves: Sequence[Any]) -> Tree:
    """Put ``leaves`` back into the structure that :func:`tree_flatten` returned.

    Raises:
        ValueError: the number of leaves is not that of the structure.
    """
    places = list(branches(treedef))
    if len(places) != len(leaves):
        raise ValueError(f"The structure has {len(places)} leaves, but {len(leaves)} were given.")
    tree = _copy_nodes(treedef)
    for branch, leaf in zip(places, leaves, strict=True):
        set_nested(tree, branch, leaf, inplace=True)
    return tree


def tree_update(target: Tree, additional: Mapping[str, Any], inplace: bool = False) -> Tree:
    """Merge ``additional`` into ``target``: nested dictionaries are merged, leaves are replaced."""
    result = target if inplace else _copy_nodes(target)
    for key, value in additional.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), dict):
            tree_update(result[key], value, inplace=True)
        else:
            result[key] = _copy_nodes(value) if isinstance(value, Mapping) else value
    return result


def tree_find(tree: Mapping[str, Any], prefix: Branch = ()) -> Generator[Branch, None, None]:
    """Yield the branch of every leaf that is true."""
    for branch in branches(tree):
        if get_nested(tree, branch):
            yield (*prefix, *branch)
