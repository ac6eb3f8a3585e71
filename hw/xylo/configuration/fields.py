"""The kinds of value in a chip configuration, and how the vendor's JSON writes each of them.

The vendor's objects are C++ structs; their JSON is that of the cereal library: matrices with
dimensions, strides and flat values, optional values as objects with ``nullopt``.
"""

import copy
from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

import numpy as np

from snnkit.utilities.errors import FileFormatError, nearest_match

from ..specification.integers import exact_integers
from .vendor_json import check_keys, numbered, optional, whole

__all__ = [
    "ConfigObject",
    "Field",
    "Flag",
    "Integer",
    "IntegerArray",
    "IntegerList",
    "Many",
    "Matrix",
    "Nested",
    "OptionalInteger",
    "OptionalRange",
]

T = TypeVar("T")
C = TypeVar("C", bound="ConfigObject")


class Field(Generic[T]):
    """One checked attribute of a :class:`ConfigObject`, with its name in the JSON form."""

    name: str
    json: str

    def __init__(self, json: str | None = None) -> None:
        self._json = json

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        first, *rest = name.split("_")
        self.json = self._json or first + "".join(part[:1].upper() + part[1:] for part in rest)

    @overload
    def __get__(self, instance: None, owner: type) -> "Field[T]": ...
    @overload
    def __get__(self, instance: "ConfigObject", owner: type) -> T: ...
    def __get__(self, instance: "ConfigObject | None", owner: type) -> "Field[T] | T":
        return self if instance is None else instance._values[self.name]

    def __set__(self, instance: "ConfigObject", value: Any) -> None:
        instance._values[self.name] = self.checked(value)

    def default(self) -> T:
        """Return the value of a new object."""
        raise NotImplementedError

    def checked(self, value: Any) -> T:
        """Return ``value`` in its final type; TypeError or ValueError if it has no such."""
        raise NotImplementedError

    def to_json(self, value: T) -> Any:
        """Return the JSON form of ``value``."""
        return value

    def from_json(self, value: Any) -> T:
        """Read the JSON form; FileFormatError, TypeError or ValueError if it is another."""
        return self.checked(value)


class Flag(Field[bool]):
    """True or False."""

    def __init__(self, default: bool = False, json: str | None = None) -> None:
        super().__init__(json)
        self._default = default

    def default(self) -> bool:
        """Return the value of a new object."""
        return self._default

    def checked(self, value: Any) -> bool:
        """Accept Python's and numpy's booleans only."""
        if not isinstance(value, (bool, np.bool_)):
            raise TypeError(f"{self.name} must be True or False, not {value!r}.")
        return bool(value)


class Integer(Field[int]):
    """A whole number in ``low..high``; enumeration values count as their number."""

    def __init__(self, low: int, high: int, default: int = 0, json: str | None = None) -> None:
        super().__init__(json)
        self.low, self.high, self._default = low, high, default

    def default(self) -> int:
        """Return the value of a new object."""
        return self._default

    def checked(self, value: Any) -> int:
        """Accept whole numbers in range."""
        return whole(self.name, value, self.low, self.high)


class OptionalInteger(Field[int | None]):
    """A number of a neuron, or None."""

    def __init__(self, high: int = 2**16 - 1, json: str | None = None) -> None:
        super().__init__(json)
        self.high = high

    def default(self) -> None:
        """Return the value of a new object."""

    def checked(self, value: Any) -> int | None:
        """Accept None and numbers from 0 on."""
        return None if value is None else whole(self.name, value, 0, self.high)

    def to_json(self, value: int | None) -> Any:
        """Write the form of C++ optional values."""
        return {"nullopt": True} if value is None else {"nullopt": False, "data": value}

    def from_json(self, value: Any) -> int | None:
        """Read the form of C++ optional values."""
        return self.checked(optional(self.json, value))


class OptionalRange(Field[tuple[int, int] | None]):
    """A range of neurons ``(start, stop)``, or None."""

    def default(self) -> None:
        """Return the value of a new object."""

    def checked(self, value: Any) -> tuple[int, int] | None:
        """Accept None and pairs."""
        if value is None:
            return None
        start, stop = value
        return whole(self.name, start, 0, 2**16 - 1), whole(self.name, stop, 0, 2**16 - 1)

    def to_json(self, value: tuple[int, int] | None) -> Any:
        """Write the form of C++ optional pairs."""
        if value is None:
            return {"nullopt": True}
        return {"nullopt": False, "data": {"value0": value[0], "value1": value[1]}}

    def from_json(self, value: Any) -> tuple[int, int] | None:
        """Read the form of C++ optional pairs."""
        pair = optional(self.json, value)
        return None if pair is None else self.checked(numbered(self.json, pair, 2))


class IntegerArray(Field[tuple[int, ...]]):
    """A fixed count of whole numbers, written as ``{"value0": .., "value1": ..}``."""

    def __init__(self, count: int, json: str | None = None) -> None:
        super().__init__(json)
        self.count = count

    def default(self) -> tuple[int, ...]:
        """Return the value of a new object."""
        return (0,) * self.count

    def checked(self, value: Any) -> tuple[int, ...]:
        """Accept sequences of the right length."""
        values = tuple(whole(self.name, entry, 0, 2**32 - 1) for entry in value)
        if len(values) != self.count:
            raise ValueError(f"{self.name} needs {self.count} numbers, not {len(values)}.")
        return values

    def to_json(self, value: tuple[int, ...]) -> Any:
        """Write the form of C++ arrays."""
        return {f"value{i}": entry for i, entry in enumerate(value)}

    def from_json(self, value: Any) -> tuple[int, ...]:
        """Read the form of C++ arrays."""
        return self.checked(numbered(self.json, value, self.count))


class IntegerList(Field[list[int]]):
    """Any count of neuron numbers."""

    def default(self) -> list[int]:
        """Return the value of a new object."""
        return []

    def checked(self, value: Any) -> list[int]:
        """Accept sequences of whole numbers."""
        return [whole(self.name, entry, 0, 2**16 - 1) for entry in value]


class Matrix(Field[np.ndarray]):
    """An int8 matrix, assigned as nested lists or arrays of whole numbers."""

    def default(self) -> np.ndarray:
        """Return the value of a new object."""
        return np.zeros((0, 0), np.int8)

    def checked(self, value: Any) -> np.ndarray:
        """Accept two-axis arrays of whole numbers in int8; the result is a copy."""
        array = exact_integers(self.name, value, np.int8).copy()
        if array.size == 0 and array.ndim == 1:
            return self.default()
        if array.ndim != 2:
            raise ValueError(f"{self.name} must be a matrix, not an array of shape {array.shape}.")
        return array

    def to_json(self, value: np.ndarray) -> Any:
        """Write dimensions, strides and the values row by row."""
        rows, columns = value.shape
        return {
            "dimensions": {"value0": rows, "value1": columns},
            "offsets": {"value0": columns, "value1": 1},
            "values": value.ravel().tolist(),
        }

    def from_json(self, value: Any) -> np.ndarray:
        """Read what :meth:`to_json` writes."""
        check_keys(self.json, value, ["dimensions", "offsets", "values"])
        rows, columns = (whole(self.json, n, 0, 2**16) for n in numbered(self.json, value["dimensions"], 2))
        if rows and numbered(self.json, value["offsets"], 2) != [columns, 1]:
            raise FileFormatError(f"{self.json} is not stored row by row: offsets {value['offsets']}.")
        values = value["values"]
        if not isinstance(values, list) or len(values) != rows * columns:
            raise FileFormatError(f"{self.json} is {rows} × {columns}, but has another number of values.")
        numbers = [whole(self.json, number, -128, 127) for number in values]
        return np.array(numbers, np.int8).reshape(rows, columns)


class Nested(Field[C]):
    """Another configuration object."""

    def __init__(self, kind: type[C], json: str | None = None) -> None:
        super().__init__(json)
        self.kind = kind

    def default(self) -> C:
        """Return the value of a new object."""
        return self.kind()

    def checked(self, value: Any) -> C:
        """Accept objects of the class."""
        if not isinstance(value, self.kind):
            raise TypeError(f"{self.name} must be a {self.kind.__name__}, not a {type(value).__name__}.")
        return value

    def to_json(self, value: C) -> Any:
        """Write the object."""
        return value.to_dict()

    def from_json(self, value: Any) -> C:
        """Read the object."""
        return self.kind.from_dict(value)


class Many(Field[list[C]]):
    """A list of configuration objects of one class; assigning it copies the list."""

    def __init__(self, kind: type[C], json: str | None = None) -> None:
        super().__init__(json)
        self.kind = kind

    def default(self) -> list[C]:
        """Return the value of a new object."""
        return []

    def checked(self, value: Any) -> list[C]:
        """Accept sequences of objects of the class."""
        entries = list(value)
        wrong = [entry for entry in entries if not isinstance(entry, self.kind)]
        if wrong:
            raise TypeError(f"{self.name} holds {self.kind.__name__}, not {type(wrong[0]).__name__}.")
        return entries

    def to_json(self, value: list[C]) -> Any:
        """Write each object."""
        return [entry.to_dict() for entry in value]

    def from_json(self, value: Any) -> list[C]:
        """Read each object."""
        if not isinstance(value, list):
            raise FileFormatError(f"{self.json} must be a list.")
        return [self.kind.from_dict(entry) for entry in value]


class ConfigObject:
    """A struct whose attributes are the class's fields and nothing else, like the vendor's objects."""

    _fields: dict[str, Field] = {}  # noqa: RUF012 - filled once per subclass
    _values: dict[str, Any]
    __slots__ = ("_values",)

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        cls._fields = {**cls._fields, **own}

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, "_values", {n: field.default() for n, field in self._fields.items()})
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._fields:
            raise AttributeError(self._unknown(name))
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions need no nearest match
            raise AttributeError(name)
        raise AttributeError(self._unknown(name))

    def _unknown(self, name: str) -> str:
        match = nearest_match(name, self._fields)
        hint = f" Did you mean {match!r}?" if match else ""
        return f"{type(self).__name__} has no attribute {name!r}.{hint}"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form as a dict."""
        return {field.json: field.to_json(self._values[name]) for name, field in self._fields.items()}

    @classmethod
    def from_dict(cls: type[C], content: Any) -> C:
        """Read the JSON form; FileFormatError if keys or values are not those of this class."""
        check_keys(cls.__name__, content, [field.json for field in cls._fields.values()])
        result = cls()
        for name, field in cls._fields.items():
            try:
                result._values[name] = field.from_json(content[field.json])
            except (TypeError, ValueError) as error:
                raise FileFormatError(f"{cls.__name__}: {error}") from error
        return result

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = {
            name: f"int8 {value.shape}" if isinstance(value, np.ndarray) else _short(value)
            for name, value in self._values.items()
        }
        return f"{type(self).__name__}({', '.join(f'{name}={text}' for name, text in shown.items())})"

    def __deepcopy__(self: C, memo: dict[int, Any]) -> C:
        duplicate = object.__new__(type(self))
        object.__setattr__(
            duplicate, "_values", {name: _copied(value) for name, value in self._values.items()}
        )
        return duplicate

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()], dict[str, Any]]:
        return type(self), (), self._values

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "_values", state)


def _copied(value: Any) -> Any:
    """Return a deep copy of a field's value; what is not listed here cannot be changed."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list):
        return [_copied(entry) for entry in value]
    return copy.deepcopy(value) if isinstance(value, ConfigObject) else value


def _short(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], ConfigObject):
        return f"[{len(value)} {type(value[0]).__name__}]"
    return repr(value)
