"""Our configurations written onto the driver's objects, attribute by attribute, and compared with them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..xylo.configuration.fields import ConfigObject, Many, Matrix, Nested, OptionalRange

__all__ = ["object_differences", "write_object"]

ENUMERATIONS = ("operation_mode", "input_source")
"""Set by their member's name, which ours do not know."""

Make = Callable[..., Any]
"""Makes a ``HiddenNeuron``, ``OutputNeuron`` or ``NeuronRange`` of the driver."""


def write_object(target: Any, ours: ConfigObject, make: Make, *, touched_only: bool = False) -> None:
    """Set the attributes of ``target`` to those of ``ours``.

    Lists of neurons are built whole and assigned once, as reading them gives copies. Debug switches that we
    leave at their default keep the driver's own value.
    """
    for name, kind in type(ours)._fields.items():
        value: Any = getattr(ours, name)
        if name in ENUMERATIONS or (touched_only and value == kind.default()):
            continue
        if isinstance(kind, Nested):
            write_object(getattr(target, name), value, make, touched_only=name == "debug")
        elif isinstance(kind, Many):
            neuron_class = "HiddenNeuron" if "alias_target" in kind.kind._fields else "OutputNeuron"
            setattr(target, name, [_filled(make(neuron_class), neuron) for neuron in value])
        elif isinstance(kind, OptionalRange):
            setattr(target, name, make("NeuronRange", *value))
        elif not isinstance(kind, Matrix):
            setattr(target, name, value)
        elif value.size:
            setattr(target, name, value.tolist())


def _filled(neuron: Any, ours: ConfigObject) -> Any:
    for name in type(ours)._fields:
        setattr(neuron, name, getattr(ours, name))
    return neuron


def object_differences(ours: ConfigObject, written: Any, held: Any, path: str = "") -> Iterator[str]:
    """Yield where two of the driver's objects of the shape of ``ours`` differ."""
    for name, kind in type(ours)._fields.items():
        place = f"{path}{name}"
        if isinstance(kind, OptionalRange):
            continue  # how the driver's ranges compare is not documented
        one, other = getattr(written, name), getattr(held, name)
        if isinstance(kind, Nested):
            yield from object_differences(getattr(ours, name), one, other, f"{place}.")
        elif isinstance(kind, Many):
            yield from _neuron_differences(list(kind.kind._fields), one, other, place)
        elif isinstance(kind, Matrix):
            yield from _matrix_differences(np.asarray(one), np.asarray(other), place)
        elif one != other:
            yield f"{place}: {one!r} written, {other!r} held"


def _neuron_differences(fields: list[str], written: Any, held: Any, place: str) -> Iterator[str]:
    if len(written) != len(held):
        yield f"{place}: {len(written)} written, {len(held)} held"
        return
    for index, (one, other) in enumerate(zip(written, held, strict=True)):
        for name in fields:
            a, b = getattr(one, name), getattr(other, name)
            if a != b:
                yield f"{place}[{index}].{name}: {a!r} written, {b!r} held"


def _matrix_differences(written: np.ndarray, held: np.ndarray, place: str) -> Iterator[str]:
    if written.size == held.size == 0:
        return
    if written.shape != held.shape:
        yield f"{place}: {written.shape} written, {held.shape} held"
        return
    wrong = np.argwhere(written != held)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        yield f"{place}{list(at)}: {written[at]} written, {held[at]} held ({len(wrong)} such)"
