"""Turns tables with lists in places of single values into all their combinations.

The dataclass of a section says which fields are lists by themselves. Everywhere else a list is an axis of the
matrix: ``{cls = "SGD", kwargs = {lr = [0.1, 0.01]}}`` stands for two optimizers.
"""

import itertools
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal

from snnkit.recipes.schema import Limits
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["combinations", "read_sections"]

_KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", lambda v: isinstance(v, bool)),
    int: ("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    float: (
        "a finite number",
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v),
    ),
    str: ("a text", lambda v: isinstance(v, str)),
}


def combinations(table: Mapping[str, Any], is_list: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Return all that ``table`` stands for; ``is_list(key)`` tells which values are lists themselves."""
    axes = []
    for key, value in table.items():
        several = isinstance(value, list) and (not is_list(key) or any(isinstance(v, list) for v in value))
        axes.append([(key, one) for one in (value if several else [value])])
    return [dict(chosen) for chosen in itertools.product(*axes)]


def read_sections(
    cls: type, table: Any, where: str, problems: list[str], *, hidden: tuple[str, ...] = ()
) -> list[Any]:
    """Return every ``cls`` that ``table`` stands for; what is wrong goes to ``problems``.

    Args:
        cls: A frozen dataclass: fields of int, float, str, bool, Literal, tuples, mappings of arguments
            (``kwargs``), or another dataclass or None.
        table: The section.
        where: Its place, for messages.
        problems: Faults found so far; grows.
        hidden: Fields that a configuration may not set.
    """
    if not isinstance(table, Mapping):
        problems.append(f"{where} must be a table, not {table!r}.")
        return []
    hints = typing.get_type_hints(cls, include_extras=True)
    known = {f.name: f for f in fields(cls) if f.name not in hidden}
    before = len(problems)
    problems += [
        unknown_key_message("key", f"{where}.{k}", [f"{where}.{n}" for n in known])
        for k in table
        if k not in known
    ]
    problems += [
        f"{where}.{name} is missing."
        for name, f in known.items()
        if name not in table and f.default is MISSING and f.default_factory is MISSING
    ]
    axes = [
        [(name, value) for value in _values(hints[name], table[name], f"{where}.{name}", problems)]
        for name in known
        if name in table
    ]
    if len(problems) > before:
        return []
    return [one for chosen in itertools.product(*axes) for one in _made(cls, dict(chosen), where, problems)]


def _made(cls: type, values: dict[str, Any], where: str, problems: list[str]) -> list[Any]:
    try:
        return [cls(**values)]
    except ConfigurationError as error:
        problem = f"{where}: {error}"
        if problem not in problems:  # Combinations repeat the fault of one of their values.
            problems.append(problem)
        return []


def _values(hint: Any, value: Any, where: str, problems: list[str]) -> list[Any]:
    """Return the values that one field may take in turn."""
    bounds: list[Limits] = []
    if typing.get_origin(hint) is Annotated:
        hint, *bounds = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return _optional(hint, value, where, problems)
    if is_dataclass(hint):
        return _tables(typing.cast(type, hint), value, where, problems)
    if typing.get_origin(hint) is Mapping:
        return _arguments(value, where, problems)
    if typing.get_origin(hint) is tuple:
        several = isinstance(value, list) and bool(value) and all(isinstance(v, list) for v in value)
    else:
        several = isinstance(value, list)
    found = [_one(hint, one, where, problems) for one in (value if several else [value])]
    for bound in bounds:
        problems += [p for one in found if one is not None for p in bound.problems(where, one)]
    return found


def _optional(hint: Any, value: Any, where: str, problems: list[str]) -> list[Any]:
    """A union of literals, or a dataclass or None."""
    members = typing.get_args(hint)
    choices = [c for m in members for c in (typing.get_args(m) if typing.get_origin(m) is Literal else ())]
    if choices:
        return _values(Literal[tuple(choices)], value, where, problems)
    inner = next(member for member in members if member is not types.NoneType)
    if value is None or value == "none":
        return [None]
    if isinstance(value, list):
        return [one for entry in value for one in _optional(hint, entry, where, problems)]
    return _values(inner, value, where, problems)


def _tables(cls: type, value: Any, where: str, problems: list[str]) -> list[Any]:
    entries = value if isinstance(value, list) else [value]
    return [one for entry in entries for one in read_sections(cls, entry, where, problems)]


def _arguments(value: Any, where: str, problems: list[str]) -> list[Any]:
    """Arguments of a class: which of them are lists is known to the class alone, by name."""
    if not isinstance(value, Mapping):
        problems.append(f"{where} must be a table, not {value!r}.")
        return []
    return [value]


def _one(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            problems.append(unknown_key_message(f"value of {where}", str(value), map(str, choices)))
            return None
        return value
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            problems.append(f"{where} must be a list, not {value!r}.")
            return None
        return tuple(_one(typing.get_args(hint)[0], entry, where, problems) for entry in value)
    name, fits = _KINDS[hint]
    if not fits(value):
        problems.append(f"{where} must be {name}, not {value!r}.")
        return None
    return float(value) if hint is float else value
