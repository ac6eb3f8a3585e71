"""Which values form a specification: types, integer ranges and sizes that fit each other."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from snnkit.utilities.chips import get_chip
from snnkit.utilities.errors import ConfigurationError, SnnkitError

from .integers import exact_integer, exact_integers

__all__ = ["ARRAYS", "SHIFTS", "Population", "SpecificationError", "contradictions", "normalised"]

ARRAYS: dict[str, type] = {
    "weights_in": np.int8,
    "weights_rec": np.int8,
    "weights_out": np.int8,
    "dash_mem": np.uint8,
    "dash_mem_out": np.uint8,
    "dash_syn": np.uint8,
    "dash_syn_2": np.uint8,
    "dash_syn_out": np.uint8,
    "threshold": np.int16,
    "threshold_out": np.int16,
    "bias": np.int16,
    "bias_out": np.int16,
}
"""The arrays of a specification and their types."""

SHIFTS = ("weight_shift_in", "weight_shift_rec", "weight_shift_out")

MAX_SHIFT = 15
"""Shifted weights are 16 bits wide, so a larger shift leaves nothing of any weight."""


class SpecificationError(SnnkitError, ValueError):
    """Arrays that do not form a program: the message lists every contradiction."""


@dataclass(frozen=True)
class Population:
    """Neurons ``start..stop-1`` of a layer come from the module at ``path`` of the trained network."""

    path: str
    layer: Literal["hidden", "output"]
    start: int
    stop: int


def normalised(spec: Any, problems: list[str]) -> dict[str, Any]:
    """Return every field in its final type; what cannot be converted is told in ``problems``."""
    converters: dict[str, Any] = {
        name: lambda value, name=name, dtype=dtype: exact_integers(name, value, dtype)
        for name, dtype in ARRAYS.items()
    }
    converters |= {n: lambda value, n=n: exact_integer(n, value, 0, MAX_SHIFT) for n in SHIFTS}
    converters |= {
        "chip": lambda value: get_chip(value).name,
        "aliases": _aliases,
        "dt": _time_step,
        "populations": _populations,
    }
    values = {}
    for name, convert in converters.items():
        try:
            values[name] = convert(getattr(spec, name))
        except (ValueError, ConfigurationError) as error:
            problems.append(str(error))
    return values


def _time_step(value: Any) -> float:
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise ValueError(f"dt = {value!r} is not a number of seconds.")
    dt = float(value)
    if not (math.isfinite(dt) and dt > 0):
        raise ValueError(f"dt = {dt} s must be finite and above zero.")
    return dt


def _aliases(value: Any) -> tuple[tuple[int, ...], ...]:
    try:
        rows = [list(targets) for targets in value]
    except TypeError:
        raise ValueError("aliases must hold one list of targets for each hidden neuron.") from None
    return tuple(
        tuple(exact_integers(f"aliases[{source}]", targets, np.int64).tolist())
        for source, targets in enumerate(rows)
    )


def _populations(value: Any) -> tuple[Population, ...]:
    populations = tuple(value)
    wrong = [p for p in populations if not isinstance(p, Population)]
    if wrong:
        raise ValueError(f"populations must be Population objects, not {type(wrong[0]).__name__}.")
    return populations


def contradictions(values: dict[str, Any]) -> list[str]:
    """Return what does not fit together, given fields of the right types."""
    ranks = {"weights_in": 3, "weights_rec": 3, "weights_out": 2}
    wrong = [
        f"{name} has {values[name].ndim} axes, {ranks.get(name, 1)} are needed."
        for name in ARRAYS
        if values[name].ndim != ranks.get(name, 1)
    ]
    if wrong:
        return wrong
    n_in, n_ien, n_synapses = values["weights_in"].shape
    n_hidden = values["weights_rec"].shape[0]
    n_oen, n_out = values["weights_out"].shape
    problems = _shape_problems(values, n_hidden, n_out, n_synapses)
    counts = {"input channels": n_in, "hidden neurons": n_hidden, "output neurons": n_out}
    counts |= {"neurons that take input": n_ien, "neurons that drive outputs": n_oen}
    problems += [
        f"There are no {what}; at least one is needed." for what, count in counts.items() if not count
    ]
    if n_ien > n_hidden:
        problems.append(f"weights_in has {n_ien} targets, but there are {n_hidden} hidden neurons.")
    if n_oen > n_hidden:
        problems.append(f"weights_out has {n_oen} sources, but there are {n_hidden} hidden neurons.")
    return (
        problems
        + _alias_problems(values["aliases"], n_hidden)
        + _population_problems(values["populations"], n_hidden, n_out)
    )


def _shape_problems(values: dict[str, Any], n_hidden: int, n_out: int, n_synapses: int) -> list[str]:
    expected: dict[str, tuple[int, ...]] = {"weights_rec": (n_hidden, n_hidden, n_synapses)}
    for name in ARRAYS:
        if values[name].ndim == 1:
            expected[name] = (n_out,) if name.endswith("_out") else (n_hidden,)
    problems = [
        f"{name} has shape {values[name].shape}, {shape} is needed."
        for name, shape in expected.items()
        if values[name].shape != shape
    ]
    if n_synapses not in (1, 2):
        problems.append(f"weights_in has {n_synapses} synapses for each neuron; 1 or 2 are possible.")
    return problems


def _alias_problems(aliases: tuple[tuple[int, ...], ...], n_hidden: int) -> list[str]:
    if len(aliases) != n_hidden:
        return [f"aliases has {len(aliases)} entries; one is needed for each of {n_hidden} hidden neurons."]
    return [
        f"aliases[{source}] names hidden neuron {target}; there are 0..{n_hidden - 1}."
        for source, targets in enumerate(aliases)
        for target in targets
        if not 0 <= target < n_hidden
    ]


def _population_problems(populations: tuple[Population, ...], n_hidden: int, n_out: int) -> list[str]:
    sizes = {"hidden": n_hidden, "output": n_out}
    problems = []
    for p in populations:
        if p.layer not in sizes:
            problems.append(f"Population {p.path!r} is in layer {p.layer!r}; known: hidden, output.")
        elif not 0 <= p.start < p.stop <= sizes[p.layer]:
            size = sizes[p.layer]
            problems.append(f"Population {p.path!r} covers {p.start}..{p.stop} of {size} {p.layer} neurons.")
    return problems
