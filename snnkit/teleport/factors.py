"""From chosen values to the factor of each parameter, without any rounding where powers of two are chosen."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snnkit.dag.scales import Scales
from snnkit.dag.scales.elimination import Number

__all__ = ["FactorTable", "ParameterFactor"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ParameterFactor:
    """How the factor of a parameter is made from the entries of a table.

    Args:
        shape: Of the parameter.
        terms: Powers and positions in the table, which broadcast against the parameter; position 0 is 1.
        epsilon: What is added before the factor is taken.
    """

    shape: tuple[int, ...]
    terms: tuple[tuple[Number, NDArray[np.int64]], ...]
    epsilon: float


class FactorTable:
    """Products of powers of the chosen values: all that occur in the factors of parameters.

    Args:
        found: The factors that a model may take.
        unknowns: Those that are chosen, in the order of the chosen values.
    """

    def __init__(self, found: Scales, unknowns: Sequence[int]) -> None:
        self.is_sign = found.kind == "sign"
        self.size = len(unknowns)
        chosen = np.array(unknowns, np.int64)
        keys = np.union1d(found.used, chosen)
        self._rows = len(keys)
        self.own = np.searchsorted(keys, chosen)
        column = {unknown: position for position, unknown in enumerate(unknowns)}
        derived = [
            (position, column[free], power)
            for position, key in enumerate(keys.tolist())
            for free, power in found.derived.get(key, {}).items()
        ]
        entries, columns, powers = zip(*derived, strict=True) if derived else ((), (), ())
        self._entry = np.concatenate([self.own, np.array(entries, np.int64)])
        self._column = np.concatenate([np.arange(self.size), np.array(columns, np.int64)])
        self._power = np.concatenate([np.ones(self.size), np.array([float(power) for power in powers])])
        fractions: list[Number] = list(powers)
        self.parameters: dict[str, ParameterFactor] = {}
        for name, scale in found.parameters.items():
            terms = tuple((power, np.searchsorted(keys, ids)) for power, ids in scale.terms)
            self.parameters[name] = ParameterFactor(scale.shape, terms, scale.epsilon)
            fractions += [power for power, _ in terms]
        self.denominator = lcm(1, *(power.denominator for power in fractions)) ** 2
        """Powers of two of multiples of this stay powers of two in every parameter."""

    def entries(self, chosen: Floats) -> Floats:
        """Return all products for chosen values ``(size,)``."""
        if self.is_sign:
            odd = np.zeros(self._rows, np.int64)
            np.add.at(odd, self._entry, (chosen[self._column] < 0) & (self._power % 2 == 1))
            return np.where(odd % 2 == 1, -1.0, 1.0)
        mantissas, exponents = np.frexp(chosen)
        powers = self._power
        # Mantissas of powers of two are 1, and whole exponents are added without rounding.
        product = np.ones(self._rows)
        np.multiply.at(product, self._entry, _power_of((2 * mantissas)[self._column], powers))
        whole = np.zeros(self._rows)
        np.add.at(whole, self._entry, powers * (exponents - 1.0)[self._column])
        floor = np.floor(whole)
        result: Floats = np.ldexp(product * np.exp2(whole - floor), floor.astype(np.int64))
        return result

    def factor(self, name: str, entries: Floats) -> Floats:
        """Return the factor of a parameter, broadcastable against it."""
        factor = np.ones(())
        for power, positions in self.parameters[name].terms:
            value = entries[positions]
            factor = factor / value if power == -1 else factor * _power_of(value, np.array(float(power)))
        return factor

    def digest(self) -> str:
        """Return a checksum of which entry of each parameter takes which powers of the chosen values."""
        rows: list[list[tuple[int, float]]] = [[] for _ in range(self._rows)]
        for entry, column, power in zip(
            self._entry.tolist(), self._column.tolist(), self._power.tolist(), strict=True
        ):
            rows[entry].append((column, power))
        spelled = [tuple(sorted(row)) for row in rows]
        rank = {row: position for position, row in enumerate(sorted(set(spelled)))}
        ranks = np.array([rank[row] for row in spelled], np.int64)
        digest = hashlib.sha256(repr(sorted(rank)).encode())
        for name, parameter in self.parameters.items():
            for power, positions in parameter.terms:
                digest.update(f"{name} {power} {positions.shape} {parameter.epsilon!r}".encode())
                digest.update(ranks[positions].astype("<i8").tobytes())
        return digest.hexdigest()

    def log_factors(self, logs: Tensor) -> dict[str, Tensor]:
        """Return logarithms of the factors for those of the chosen values; gradients run through."""
        device = logs.device
        entry, column = (torch.from_numpy(array).to(device) for array in (self._entry, self._column))
        powers = torch.from_numpy(self._power).to(device, logs.dtype)
        table = torch.zeros(self._rows, dtype=logs.dtype, device=device)
        table = table.index_add(0, entry, powers * logs[column])
        found = {}
        for name, parameter in self.parameters.items():
            if not parameter.epsilon:
                total = torch.zeros((), dtype=logs.dtype, device=device)
                for power, positions in parameter.terms:
                    total = total + float(power) * table[torch.from_numpy(positions).to(device)]
                found[name] = total
        return found

    def moved(self, entries: Floats, orders: Mapping[str, Mapping[int, NDArray[np.int64]]]) -> Floats | None:
        """Return the chosen values that give an element the factor that its place after moving has.

        Args:
            entries: Products of the values chosen for the places after moving.
            orders: By parameter and axis, which index comes to each place.

        Returns:
            None if the order is no symmetry of the factors.
        """
        result = np.full(self._rows, np.nan)
        result[0] = 1.0
        for name, parameter in self.parameters.items():
            for _, positions in parameter.terms:
                padded = positions.reshape((1,) * (len(parameter.shape) - positions.ndim) + positions.shape)
                result[_reordered(padded, orders.get(name, {}))] = entries[padded]
        chosen: Floats = result[self.own]
        if np.isnan(chosen).any():
            return None
        again = self.entries(chosen)
        known = ~np.isnan(result)
        return chosen if np.allclose(again[known], result[known], rtol=1e-9, atol=0.0) else None


def _reordered(positions: NDArray[np.int64], order: Mapping[int, NDArray[np.int64]]) -> NDArray[np.int64]:
    for axis, index in order.items():
        if positions.shape[axis] > 1:
            positions = np.take(positions, index, axis)
    return positions


def _power_of(values: Floats, powers: Floats) -> Floats:
    """Return powers, without rounding of 1, -1 and 2 beyond that of one operation."""
    with np.errstate(over="ignore"):
        general: Floats = np.power(values, powers)
        return np.select(
            [powers == 1, powers == -1, powers == 2], [values, 1 / values, values * values], general
        )
