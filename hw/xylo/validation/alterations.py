"""What differs between two programs, and which of the differences is the one that shows first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...divergence.result import Alteration
from ..specification.core import ARRAYS, SHIFTS, Population, Specification

__all__ = ["Change", "altered", "changes_between", "described", "first_alteration", "widened"]

_ONE_BY_ONE = 64
"""Up to this number of differences in one array, they are listed."""


@dataclass(frozen=True)
class Change:
    """One entry of a specification's field: an array's place, a neuron's aliases, or a shift."""

    parameter: str
    place: tuple[int, ...]
    before: Any
    after: Any


def changes_between(a: Specification, b: Specification) -> list[Change]:
    """Return every parameter in which two programs of one shape differ; both are :func:`widened`."""
    changes = [Change(name, (), getattr(a, name), getattr(b, name)) for name in SHIFTS]
    changes = [change for change in changes if change.before != change.after]
    for name in ARRAYS:
        ours, theirs = getattr(a, name), getattr(b, name)
        changes += [
            Change(name, tuple(int(i) for i in place), int(ours[tuple(place)]), int(theirs[tuple(place)]))
            for place in np.argwhere(ours != theirs)
        ]
    for source, (ours, theirs) in enumerate(zip(a.aliases, b.aliases, strict=True)):
        if ours != theirs:
            changes.append(Change("aliases", (source,), ours, theirs))
    return changes


def widened(spec: Specification) -> Specification:
    """Return the same program with input and output weights of all hidden neurons, mostly zeros."""
    missing_in = spec.n_hidden - spec.weights_in.shape[1]
    missing_out = spec.n_hidden - spec.weights_out.shape[0]
    return replace(
        spec,
        weights_in=np.pad(spec.weights_in, ((0, 0), (0, missing_in), (0, 0))),
        weights_out=np.pad(spec.weights_out, ((missing_out, 0), (0, 0))),
    )


def altered(spec: Specification, changes: Sequence[Change]) -> Specification:
    """Return a program with some parameters changed."""
    values: dict[str, Any] = {}
    for change in changes:
        name = change.parameter
        if name in SHIFTS:
            values[name] = change.after
        elif name == "aliases":
            rows = list(values.get(name, spec.aliases))
            rows[change.place[0]] = change.after
            values[name] = tuple(rows)
        else:
            if name not in values:
                values[name] = getattr(spec, name).copy()
            values[name][change.place] = change.after
    return replace(spec, **values)


def first_alteration(
    a: Specification,
    b: Specification,
    populations: Sequence[Population],
    differs: Callable[[Specification], bool],
) -> tuple[str, tuple[Alteration, ...]] | None:
    """Find the parameter whose change makes a difference show, on the way from ``a`` to ``b``.

    Parameters change one after another, and those before the one that is found make no difference by
    themselves: halving the way finds such a place without walking all of it.

    Args:
        a: the first program.
        b: the second program.
        populations: names for the neurons.
        differs: tells of a program whether it shows the difference.

    Returns:
        A sentence's words, and the alterations: the found one first. None if the programs are equal.
    """
    a, b = widened(a), widened(b)
    changes = changes_between(a, b)
    if not changes:
        return None
    low, high = 0, len(changes)
    while high - low > 1:
        middle = (low + high) // 2
        if differs(altered(a, changes[:middle])):
            high = middle
        else:
            low = middle
    found = changes[high - 1]
    first = described(found, a, populations)
    others = [change for change in changes if change is not found]
    if len(changes) > _ONE_BY_ONE:
        return f"{first}; {len(others)} more parameters differ", (first,)
    words = f"{first}" + (f"; {len(others)} more parameters differ" if others else "")
    return words, (first, *(described(change, a, populations) for change in others))


def described(change: Change, spec: Specification, populations: Sequence[Population]) -> Alteration:
    """Return a change with its neurons named as the network names them."""
    name, place = change.parameter, change.place
    if name in SHIFTS:
        return Alteration(name, "", None, "", int(change.before), int(change.after))
    if name == "aliases":
        layer, neuron = _named("hidden", place[0], populations)
        targets = [_targets(row, populations) for row in (change.before, change.after)]
        return Alteration(name, layer, neuron, "", targets[0], targets[1])
    if not name.startswith("weights"):
        layer, neuron = _named("output" if name.endswith("_out") else "hidden", place[0], populations)
        return Alteration(name, layer, neuron, "", change.before, change.after)
    layer, neuron = _named("output" if name == "weights_out" else "hidden", place[1], populations)
    source = f"input {place[0]}"
    if name != "weights_in":
        source = "{} neuron {}".format(*_named("hidden", place[0], populations))
    if len(place) == 3 and spec.n_synapses == 2:
        source += f", synapse {place[2] + 1}"
    return Alteration(name, layer, neuron, source, change.before, change.after)


def _named(layer: str, neuron: int, populations: Sequence[Population]) -> tuple[str, int]:
    for population in populations:
        if population.layer == layer and population.start <= neuron < population.stop:
            return population.path, neuron - population.start
    return layer, neuron


def _targets(row: Sequence[int], populations: Sequence[Population]) -> str:
    return ", ".join("{} neuron {}".format(*_named("hidden", t, populations)) for t in row) or "none"
