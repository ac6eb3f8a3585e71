"""Scales at which what channels write and what reads them are equally large.

A channel that takes the factor ``exp(x)`` multiplies the weights that make it by ``exp(x)`` and those that
read it by ``exp(-x)``. Two measures of the weights are balanced here: the sum of their squares, whose least
value over all scales is unique (Osborne 1960, On pre-conditioning of matrices; each step is exact for one set
of channels), and the largest of them (Nagel et al. 2019, Data-free quantization through weight equalization
and bias correction). The second has many solutions; begun at the first it has one.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from snnkit.dag.scales import ParameterScale, Scales

__all__ = ["Balance", "Incidence", "free_columns", "spans_of"]

_SWEEPS = 2000
_SETTLED = 1e-14
_FARTHEST = 200.0


@dataclass(frozen=True, eq=False)
class Incidence:
    """Where a weight takes one of the free scales.

    Args:
        weight: Position of the weight.
        coefficient: Power of the scale in the weight.
        columns: Which scale each element takes, -1 for none; broadcasts against the weight.
        measures: The measures in which it counts. Biases and gains count in the largest absolute value only
            where nothing else makes or reads the channels.
    """

    weight: int
    coefficient: float
    columns: Tensor
    measures: tuple[str, ...] = ("sum", "max")


@dataclass(eq=False)
class Balance:
    """Weights and the free scales that they take.

    Args:
        names: Paths of the weights.
        sizes: Absolute values of the weights, reduced over axes along which no scale varies.
        incidences: Which scales they take.
        groups: Scales that are balanced at a time, as ranges of their positions.
        activations: By weight, the largest value of each channel that it reads; broadcasts against it.
        strength: How much of a channel's range goes from activations into the weights that read it.
    """

    names: list[str]
    sizes: dict[str, list[Tensor]]
    incidences: list[Incidence]
    groups: list[range]
    n: int
    activations: dict[str, Tensor] = field(default_factory=dict)
    strength: float = 0.5
    _by_group: list[list[Incidence]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for group in self.groups:
            inside = [i for i in self.incidences if _touches(i.columns, group)]
            self._by_group.append(inside)

    @classmethod
    def of(cls, found: Scales, tensors: Mapping[str, Tensor]) -> "Balance":
        """Return the balance of a model.

        Args:
            found: The scales it may take; they are balanced parameter by parameter, as in
                :attr:`Symmetries.scales`.
            tensors: Its parameters by path.
        """
        column = {unknown: position for position, unknown in enumerate(found.first_uses)}
        names: list[str] = []
        incidences: list[Incidence] = []
        sizes: dict[str, list[Tensor]] = {"sum": [], "max": []}
        for name, scale in found.parameters.items():
            tensor = tensors[name]
            if found.tape.parameters[name].kind != "parameter":
                continue
            free = [axis for axis in range(tensor.dim()) if not _varies(scale, axis)]
            exact = tensor.detach().to("cpu", torch.float64)
            sizes["sum"].append(exact.square().sum(free, keepdim=True) if free else exact.square())
            sizes["max"].append(exact.abs().amax(free, keepdim=True) if free else exact.abs())
            incidences += [Incidence(len(names), *entry) for entry in free_columns(scale, found, column)]
            names.append(name)
        groups = spans_of(found)
        ranks = [tensors[name].dim() for name in names]
        return cls(names, sizes, _measured(incidences, ranks, groups), groups, len(column))

    # --- Measures -------------------------------------------------------------------------------------

    def _scaled(self, weight: int, x: Tensor, measure: str) -> Tensor:
        """Return a weight's squares or absolute values under scales ``exp(x)``."""
        logs = _logs([i for i in self.incidences if i.weight == weight], x)
        return self.sizes[measure][weight] * torch.exp(logs * (2 if measure == "sum" else 1))

    def sides(self, group: int, x: Tensor, measure: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return by scale of a group the measures of what grows with it and what shrinks, and the slope."""
        span = self.groups[group]
        grown, shrunk = (torch.zeros(len(span), dtype=torch.float64) for _ in range(2))
        slope = torch.zeros(len(span), dtype=torch.float64)
        counted = [i for i in self._by_group[group] if measure in i.measures]
        for weight in dict.fromkeys(i.weight for i in counted):
            own = [i for i in counted if i.weight == weight]
            value = self._scaled(weight, x, measure)
            # Both ways in one weight, as of a residual stream: a step for one channel moves the others too.
            factor = sum(abs(i.coefficient) for i in own)
            for incidence in own:
                index, found = _by_scale(value, incidence.columns, span, measure)
                target = grown if incidence.coefficient > 0 else shrunk
                if measure == "sum":
                    target.index_add_(0, index, found)
                else:
                    target.scatter_reduce_(0, index, found, "amax")
                slope.scatter_reduce_(0, index, torch.full_like(found, factor), "amax")
        return grown, shrunk, slope

    def read(self, group: int, x: Tensor) -> Tensor:
        """Return for each scale of a group the largest activation that weights read, 0 if unknown."""
        span = self.groups[group]
        result = torch.zeros(len(span), dtype=torch.float64)
        for incidence in self._by_group[group]:
            seen = self.activations.get(self.names[incidence.weight])
            if seen is not None and incidence.coefficient < 0:
                reading = [i for i in self.incidences if i.weight == incidence.weight and i.coefficient < 0]
                value = seen * torch.exp(-_logs(reading, x))
                result.scatter_reduce_(0, *_by_scale(value, incidence.columns, span, "max"), "amax")
        return result

    # --- Balancing --------------------------------------------------------------------------------------

    def settle(self, measure: str, start: Tensor, *, sweeps: int = _SWEEPS) -> Tensor:
        """Return logarithms of the scales at which both sides of every channel are equal, ``(n,)``."""
        x = start.clone()
        for _ in range(sweeps):
            largest = 0.0
            for group, span in enumerate(self.groups):
                step = self._step(group, x, measure)
                x[span.start : span.stop] += step
                largest = max(largest, float(step.abs().max()) if len(span) else 0.0)
            x.clamp_(-_FARTHEST, _FARTHEST)
            if largest <= _SETTLED * max(1.0, float(x.abs().max()) if self.n else 0.0):
                break
        return x

    def _step(self, group: int, x: Tensor, measure: str) -> Tensor:
        grown, shrunk, slope = self.sides(group, x, measure)
        power = 2.0 if measure == "sum" else 1.0
        live = (grown > 0) & (shrunk > 0)
        step = torch.where(live, (shrunk / grown).log() / (2 * power * slope.clamp(min=1.0)), 0.0)
        # With weights on one side only any scale is as good; it is no larger than those of the others.
        both = (grown * shrunk)[live]
        level = both.min().sqrt() if len(both) else torch.ones((), dtype=torch.float64)
        step = torch.where((grown > 0) & (shrunk == 0), (level / grown).log() / power, step)
        step = torch.where((shrunk > 0) & (grown == 0), (shrunk / level).log() / power, step)
        if measure == "max" and self.activations:
            seen = self.read(group, x)
            known = live & (seen > 0)
            shift = (1 - self.strength) * shrunk.log() - self.strength * seen.log()
            step = torch.where(known, shift, step)
        return step.nan_to_num(0.0, 0.0, 0.0)

    def dead(self, x: Tensor) -> Tensor:
        """Return which scales have weights on one side only, ``(n,)``."""
        found = []
        for group in range(len(self.groups)):
            grown, shrunk, _ = self.sides(group, x, "max")
            found.append((grown == 0) | (shrunk == 0))
        return torch.cat([torch.zeros(0, dtype=torch.bool), *found])


def spans_of(found: Scales) -> list[range]:
    """Return the positions of the free unknowns that one parameter names, in the order of the parameters."""
    sizes = Counter(found.first_uses.values())
    ends = np.cumsum(list(sizes.values())).tolist()
    return [range(end - size, end) for end, size in zip(ends, sizes.values(), strict=True)]


def _varies(scale: ParameterScale, axis: int) -> bool:
    rank = len(scale.shape)
    return any(((1,) * (rank - ids.ndim) + ids.shape)[axis] > 1 for _, ids in scale.terms)


def free_columns(
    scale: ParameterScale, found: Scales, column: Mapping[int, int]
) -> list[tuple[float, Tensor]]:
    """Return which free unknowns the elements of a parameter take.

    Args:
        scale: Of the parameter.
        found: The scales it is among.
        column: A number for each free unknown.

    Returns:
        Powers, each with the numbers, -1 for none; the tensors broadcast against the parameter.
    """
    result = []
    rank = len(scale.shape)
    for coefficient, ids in scale.terms:
        padded = ids.reshape((1,) * (rank - ids.ndim) + ids.shape)
        present = np.unique(padded)
        lookup = np.array([column.get(unknown, -1) for unknown in present.tolist()], np.int64)
        by_power = {float(coefficient): [lookup[np.searchsorted(present, padded)]]}
        for unknown in (unknown for unknown in present.tolist() if unknown in found.derived):
            layers: dict[float, int] = {}
            for free, share in found.derived[unknown].items():
                total = float(coefficient * share)
                index = layers.get(total, 0)
                layers[total] = index + 1
                tables = by_power.setdefault(total, [])
                while len(tables) <= index:
                    tables.append(np.full(padded.shape, -1, np.int64))
                tables[index][padded == unknown] = column[free]
        for power, tables in by_power.items():
            result += [(power, torch.from_numpy(table)) for table in tables]
    return result


def _measured(incidences: list[Incidence], ranks: list[int], groups: list[range]) -> list[Incidence]:
    """Say in which measures biases and gains count."""
    counting: set[int] = set()
    for group in groups:
        own = [n for n, i in enumerate(incidences) if _touches(i.columns, group)]
        powers: dict[int, set[bool]] = {}
        for n in own:
            powers.setdefault(incidences[n].weight, set()).add(incidences[n].coefficient > 0)
        for grows in (True, False):
            # A weight that reads and makes the same channels says nothing of their common scale.
            if not any(signs == {grows} and ranks[weight] > 1 for weight, signs in powers.items()):
                counting.update(n for n in own if (incidences[n].coefficient > 0) == grows)
    return [
        i if ranks[i.weight] > 1 or n in counting else replace(i, measures=("sum",))
        for n, i in enumerate(incidences)
    ]


def _touches(columns: Tensor, span: range) -> bool:
    return bool(((columns >= span.start) & (columns < span.stop)).any())


def _logs(incidences: list[Incidence], x: Tensor) -> Tensor:
    logs = torch.zeros((), dtype=torch.float64)
    for incidence in incidences:
        value = torch.where(incidence.columns >= 0, x[incidence.columns.clamp(min=0)], 0.0)
        logs = logs + incidence.coefficient * value
    return logs


def _by_scale(value: Tensor, columns: Tensor, span: range, measure: str) -> tuple[Tensor, Tensor]:
    """Return scales of a group, by position in it, and what a weight contributes to each."""
    shared = [axis for axis in range(columns.dim()) if columns.shape[axis] == 1 < value.shape[axis]]
    if shared:
        value = value.sum(shared, keepdim=True) if measure == "sum" else value.amax(shared, keepdim=True)
    inside = (columns >= span.start) & (columns < span.stop)
    return columns[inside] - span.start, value.expand(columns.shape)[inside]
