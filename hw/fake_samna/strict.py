"""Building blocks that refuse what bindings to C++ refuse: unknown names, wrong types, made-up attributes."""

import json
import operator
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, EnumType
from typing import Any, ClassVar

__all__ = ["Namespace", "Struct", "boolean", "enumeration", "exactly", "integer", "integers", "real", "text"]

Check = Callable[[str, Any], Any]
"""Takes a name for messages and a value; returns it in its own type or raises TypeError."""


def integer(low: int = 0, high: int = 2**32 - 1) -> Check:
    """Accept whole numbers of ``low..high``; floats are refused even if whole."""

    def check(name: str, value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(
                f"{name}: incompatible argument {value!r:.40}, a whole number is needed"
            ) from None
        if not low <= number <= high:
            raise TypeError(f"{name}: {number} does not fit its type, {low}..{high}")
        return number

    return check


def real(name: str, value: Any) -> float:
    """Accept numbers."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: incompatible argument {value!r:.40}, a number is needed")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """Accept True and False only."""
    if value is not True and value is not False:
        raise TypeError(f"{name}: incompatible argument {value!r:.40}, True or False is needed")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Accept strings."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: incompatible argument {value!r:.40}, a string is needed")
    return value


def exactly(*kinds: type) -> Check:
    """Accept instances of ``kinds``."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{name}: incompatible argument {value!r:.40}, {wanted} is needed")
        return value

    return check


def integers(name: str, value: Any) -> list[int]:
    """Accept sequences of whole numbers."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name}: incompatible argument {value!r:.40}, whole numbers are needed")
    one = integer(-(2**31), 2**31 - 1)
    return [one(name, entry) for entry in value]


class _BoundEnumType(EnumType):
    """Members of bound enumerations are attributes: there is no subscript, and nothing to go through."""

    def __getitem__(cls, name: str) -> Any:
        raise TypeError(f"type {cls.__name__!r} is not subscriptable")

    def __iter__(cls) -> Any:
        raise TypeError(f"type {cls.__name__!r} is not iterable")


class _BoundEnum(Enum, metaclass=_BoundEnumType):
    """An enumeration that converts to int, but does not accept an int in its place."""

    def __int__(self) -> int:
        return int(self.value)

    __index__ = __int__


def enumeration(name: str, members: Mapping[str, int], module: str) -> type[Enum]:
    """Return an enumeration as bindings make them: its members are attributes."""
    make: Any = _BoundEnum
    kind: Any = make(name, dict(members), module=module)
    found: type[Enum] = kind
    return found


class Namespace:
    """A module of the driver: its members and nothing else, which cannot be replaced."""

    def __init__(self, name: str, members: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_name", name)
        object.__setattr__(self, "_members", dict(members))

    def __getattr__(self, name: str) -> Any:
        members = object.__getattribute__(self, "_members")
        if name not in members:
            raise AttributeError(
                f"module {object.__getattribute__(self, '_name')!r} has no attribute {name!r}"
            )
        return members[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"module {self._name!r}: attribute {name!r} cannot be set")

    def __dir__(self) -> Iterable[str]:
        return sorted(self._members)


class Struct:
    """A value of named fields, each checked when it is given; subclasses set :attr:`fields`."""

    fields: ClassVar[Mapping[str, tuple[Check, Any]]] = {}
    """Name -> its check and its default; a default of Ellipsis must be given."""

    __slots__ = ("_values",)
    _values: dict[str, Any]

    def __init__(self, *positional: Any, **values: Any) -> None:
        name = type(self).__name__
        if len(positional) > len(self.fields):
            raise TypeError(f"{name}(): incompatible constructor arguments: {len(positional)} given")
        given = dict(zip(self.fields, positional, strict=False))
        twice, unknown = given.keys() & values.keys(), values.keys() - self.fields.keys()
        if twice or unknown:
            raise TypeError(f"{name}(): incompatible constructor arguments: {sorted(twice | unknown)}")
        object.__setattr__(self, "_values", {})
        for field, (check, default) in self.fields.items():
            value = (given | values).get(field, default)
            if value is ...:
                raise TypeError(f"{name}(): incompatible constructor arguments: {field} is missing")
            self._values[field] = value if value is default else check(f"{name}.{field}", value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._values:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._values[name]

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._values[name] = self.fields[name][0](f"{type(self).__name__}.{name}", value)

    def to_json(self) -> str:
        """Return the vendor's JSON: one object under ``value0``."""
        return json.dumps({"value0": {_camel(name): value for name, value in self._values.items()}})

    def from_json(self, content: str) -> None:
        """Take over values from the vendor's JSON."""
        values = json.loads(content)["value0"]
        for name in self.fields:
            setattr(self, name, values[_camel(name)])

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._values[name] for name in self.fields)

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if type(other) is type(self) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"{type(self).__name__}({shown})"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
