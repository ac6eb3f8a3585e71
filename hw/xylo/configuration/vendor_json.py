"""Readers for the pieces of the vendor's JSON, which the C++ library cereal writes."""

import json
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from snnkit.utilities.errors import FileFormatError

__all__ = ["check_keys", "dump_json", "numbered", "optional", "parse_json", "whole"]


def whole(name: str, value: Any, low: int, high: int) -> int:
    """Return ``value`` as an int; TypeError unless it is a whole number, ValueError outside ``low..high``."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a whole number, not {value!r}.")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r:.60}.") from None
    if not low <= number <= high:
        raise ValueError(f"{name} = {number} is outside {low}..{high}.")
    return number


def optional(name: str, value: Any) -> Any:
    """Return what a C++ optional holds; ``null`` and a bare value are understood too."""
    if value is None or value == {"nullopt": True}:
        return None
    if isinstance(value, dict) and set(value) == {"nullopt", "data"} and value["nullopt"] is False:
        return value["data"]
    raise FileFormatError(f"{name} = {value!r:.60} is not an optional value.")


def numbered(name: str, value: Any, count: int) -> list[Any]:
    """Return the ``count`` entries of a C++ array or pair, ``{"value0": .., "value1": ..}``."""
    keys = [f"value{i}" for i in range(count)]
    check_keys(name, value, keys)
    return [value[key] for key in keys]


def check_keys(name: str, content: Any, known: Sequence[str]) -> None:
    """Raise FileFormatError unless ``content`` is an object with exactly the ``known`` keys."""
    if not isinstance(content, dict):
        raise FileFormatError(f"{name} must be an object, not {content!r:.60}.")
    extra = [key for key in content if key not in known]
    missing = [key for key in known if key not in content]
    if extra or missing:
        text = [f"unknown: {', '.join(extra)}"] if extra else []
        text += [f"missing: {', '.join(missing)}"] if missing else []
        raise FileFormatError(f"{name} does not have the keys that it should have; {'; '.join(text)}.")


def dump_json(content: Any) -> str:
    """Return ``content`` as the vendor lays it out."""
    return json.dumps(content, indent=4, allow_nan=False)


def parse_json(text: str) -> Any:
    """Read JSON text; FileFormatError if it is damaged."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(f"This is not readable JSON: {error}") from error
