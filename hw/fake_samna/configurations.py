"""The driver's configuration classes of one chip, made of ours, with the bindings' ways of assignment.

As in bindings to C++: nested structs are views that can be written through, lists of neurons and matrices
are copies, so that changing an element of what was read changes nothing; enumerations take no numbers.
"""

import copy
from enum import Enum
from typing import Any

from ..xylo.configuration.fields import (
    ConfigObject,
    Field,
    IntegerList,
    Many,
    Matrix,
    Nested,
    OptionalRange,
)
from ..xylo.configuration.objects import XyloConfiguration, configuration_class
from .dialect import Dialect
from .strict import Struct, integer

__all__ = ["configuration_classes"]


class _EnumField(Field[Any]):
    """A member of an enumeration; numbers are refused, JSON holds the number."""

    def __init__(self, kind: type[Enum], first: str) -> None:
        super().__init__()
        self._kind, self._first = kind, first

    def default(self) -> Enum:
        first: Enum = self._kind.__members__[self._first]
        return first

    def checked(self, value: Any) -> Enum:
        if not isinstance(value, self._kind):
            raise TypeError(f"{self.name}: incompatible argument {value!r}, {self._kind.__name__} is needed")
        return value

    def to_json(self, value: Any) -> Any:
        return value.value

    def from_json(self, value: Any) -> Enum:
        return self._kind(value)


class _CopiedMany(Many):
    """A vector of structs: reading gives copies."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else copy.deepcopy(instance._values[self.name])

    def checked(self, value: Any) -> Any:
        return copy.deepcopy(super().checked(value))


class _CopiedMatrix(Matrix):
    """A matrix: reading gives a copy."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance._values[self.name].copy()


class _CopiedList(IntegerList):
    """A vector of numbers: reading gives a copy."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else list(instance._values[self.name])


class _NeuronRangeField(OptionalRange):
    """A ``NeuronRange``, or None; pairs are refused."""

    def __init__(self, kind: type[Struct]) -> None:
        super().__init__()
        self._kind = kind

    def checked(self, value: Any) -> Any:
        if value is not None and not isinstance(value, self._kind):
            raise TypeError(f"{self.name}: incompatible argument {value!r}, NeuronRange is needed")
        return value

    def to_json(self, value: Any) -> Any:
        return super().to_json(None if value is None else (value.start, value.end))

    def from_json(self, value: Any) -> Any:
        pair = OptionalRange.from_json(_PLAIN_RANGE, value)
        return None if pair is None else self._kind(*pair)


class _PlainRangeOwner(ConfigObject):
    value = OptionalRange()


_PLAIN_RANGE: Any = _PlainRangeOwner.value


def configuration_classes(dialect: Dialect, enums: dict[str, type[Enum]]) -> dict[str, type]:
    """Return the classes of the chip's ``configuration`` namespace by name."""
    module = f"samna.{dialect.module}.configuration"
    neuron_range = type(
        "NeuronRange",
        (Struct,),
        {
            "fields": {"start": (integer(0, 2**16), ...), "end": (integer(0, 2**16), ...)},
            "__module__": module,
        },
    )
    ours = configuration_class(dialect.chip)
    maker = _Maker(module, neuron_range, enums)
    whole = maker.vendor_class(ours, "XyloConfiguration", XyloConfiguration)
    nested = {name: field.kind for name, field in whole._fields.items() if isinstance(field, Nested)}
    hidden = nested["reservoir" if "reservoir" in nested else "hidden"]
    classes = {
        "XyloConfiguration": whole,
        "InputConfig": nested["input"],
        dialect.hidden_class: hidden,
        "ReadoutConfig": nested["readout"],
        "DebugConfig": nested["debug"],
        dialect.neuron_class: hidden._fields["neurons"].kind,
        "OutputNeuron": nested["readout"]._fields["neurons"].kind,
    }
    for name, kind in classes.items():
        kind.__name__ = kind.__qualname__ = name
    if dialect.chip != "a3":
        classes["NeuronRange"] = neuron_range
    return classes


class _Maker:
    def __init__(self, module: str, neuron_range: type[Struct], enums: dict[str, type[Enum]]) -> None:
        self._module, self._neuron_range, self._enums = module, neuron_range, enums

    def vendor_class(self, ours: Any, name: str, base: type = ConfigObject) -> Any:
        """Return the driver's class for one of ours."""
        fields = {name: self._field(name, field) for name, field in ours._fields.items()}
        members = {**fields, "__module__": self._module, "__slots__": ()}
        if base is XyloConfiguration:
            members["chip"] = ours.chip
        return type(name, (base,), members)

    def _field(self, name: str, field: Field) -> Field:
        if name in self._enums:
            kind = self._enums[name]
            return _EnumField(kind, next(iter(kind.__members__)))
        if isinstance(field, Many):
            return _CopiedMany(self.vendor_class(field.kind, field.kind.__name__))
        if isinstance(field, Nested):
            return Nested(self.vendor_class(field.kind, field.kind.__name__))
        if isinstance(field, Matrix):
            return _CopiedMatrix(json=field.json)
        if isinstance(field, OptionalRange):
            return _NeuronRangeField(self._neuron_range)
        return _CopiedList() if isinstance(field, IntegerList) else copy.copy(field)
