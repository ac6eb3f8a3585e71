"""Checks a parsed TOML table against a frozen dataclass: types, ranges, choices, unknown keys.

Every problem is collected before one error names them all. The dataclass is the schema: its annotations
give the types, :class:`Limits` the ranges, its defaults what may be left out. A field whose type is a union
of dataclasses is a table with a key ``kind`` that chooses one of them.
"""

import math
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any

from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["Limits", "RecipeError", "build"]


class RecipeError(ConfigurationError):
    """A recipe is wrong; ``problems`` lists every fault found."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{source} has {count}:{lines}")


@dataclass(frozen=True)
class Limits:
    """Range of a field, given as ``Annotated[int, Limits(low=1)]``; for a tuple it holds for each entry."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    """The value must be more than this."""
    choices: tuple[str, ...] | None = None
    unit: str = ""
    fewest: int = 0
    """Entries that a tuple must have at least."""

    def problems(self, where: str, value: Any) -> list[str]:
        """Say what is wrong with ``value``, if anything."""
        if isinstance(value, tuple):
            if len(value) < self.fewest:
                return [f"{where} has {len(value)} entries; it must have at least {self.fewest}."]
            return [p for i, entry in enumerate(value) for p in self.problems(f"{where}[{i}]", entry)]
        if self.choices is not None:
            known = value in self.choices
            return [] if known else [unknown_key_message(f"value of {where}", str(value), self.choices)]
        unit = f" {self.unit}" if self.unit else ""
        faults = (
            (self.low is not None and value < self.low, f"at least {self.low}"),
            (self.above is not None and value <= self.above, f"more than {self.above}"),
            (self.high is not None and value > self.high, f"at most {self.high}"),
        )
        return [f"{where} is {value}{unit}; it must be {rule}{unit}." for wrong, rule in faults if wrong]


def build(cls: type, table: Mapping[str, Any], source: str) -> Any:
    """Return ``cls`` filled from ``table``, or raise :class:`RecipeError` with every problem.

    Args:
        cls: A frozen dataclass; fields may be dataclasses themselves (TOML sub-tables).
        table: What ``tomllib`` parsed.
        source: File or recipe name, for messages.
    """
    problems: list[str] = []
    result = _build(cls, table, "", problems)
    if problems:
        raise RecipeError(source, problems)
    return result


def _build(cls: type, table: Mapping[str, Any], path: str, problems: list[str]) -> Any:
    known = {f.name: f for f in fields(cls) if f.init}
    hints = typing.get_type_hints(cls, include_extras=True)
    for key in table:
        if key not in known and not (key == "kind" and hasattr(cls, "kind")):
            problems.append(unknown_key_message("key", f"{path}{key}", [f"{path}{k}" for k in known]))
    values = {}
    before = len(problems)
    for name, f in known.items():
        where = f"{path}{name}"
        if name in table:
            values[name] = _value(hints[name], table[name], where, problems)
        elif f.default is MISSING and f.default_factory is MISSING:
            problems.append(f"{where} is missing.")
    if len(problems) > before or not _complete(known, values):
        return None
    try:
        return cls(**values)
    except ConfigurationError as error:
        problems.append(f"{path.rstrip('.')}: {error}" if path else str(error))
        return None


def _complete(known: Mapping[str, Field], values: Mapping[str, Any]) -> bool:
    required = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    return all(name in values for name in required)


def _value(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    bounds: list[Limits] = []
    if typing.get_origin(hint) is Annotated:
        hint, *bounds = typing.get_args(hint)
    kinds: dict[str, type] = {a.kind: a for a in typing.get_args(hint) if hasattr(a, "kind")}
    if kinds:
        return _kind(kinds, value, where, problems)
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            problems.append(f"{where} must be a table, not {value!r}.")
            return None
        return _build(typing.cast(type, hint), value, f"{where}.", problems)
    found = len(problems)
    converted = _convert(hint, value, where, problems)
    if len(problems) == found:
        problems += [problem for bound in bounds for problem in bound.problems(where, converted)]
    return converted


def _kind(kinds: Mapping[str, type], value: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, Mapping) or "kind" not in value:
        problems.append(f"{where} must be a table with a key kind: {', '.join(kinds)}.")
        return None
    if value["kind"] not in kinds:
        problems.append(unknown_key_message(f"{where}.kind", str(value["kind"]), kinds))
        return None
    return _build(kinds[value["kind"]], value, f"{where}.", problems)


def _convert(hint: Any, value: Any, where: str, problems: list[str]) -> Any:
    if typing.get_origin(hint) is tuple:
        return _convert_tuple(typing.get_args(hint)[0], value, where, problems)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        problems.append(f"{where} must be {_NAMES[hint]}, not {value!r}.")
        return None
    if hint is float and not math.isfinite(value):
        problems.append(f"{where} must be a finite number, not {value!r}.")
        return None
    return value


def _convert_tuple(item: Any, value: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(value, list | tuple):
        problems.append(f"{where} must be a list, not {value!r}.")
        return None
    return tuple(_convert(item, entry, f"{where}[{i}]", problems) for i, entry in enumerate(value))


_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
