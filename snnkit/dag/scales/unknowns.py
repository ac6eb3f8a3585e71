"""Unknown logarithms of factors: which are equal, which are zero, which others follow from.

Equalities and zeros, nearly all there is to know, are kept in a forest over arrays of numbers; what has
three terms or other coefficients than 1 and -1 waits as an equation until :meth:`Unknowns.solve`.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.scales.elimination import Row, eliminate

__all__ = ["Ids", "Kind", "Term", "Unknowns", "broadcast_shape"]

Ids = NDArray[np.int64]
Kind = Literal["positive", "sign"]
Term = tuple[Fraction, Ids]

_FREE = -1


def broadcast_shape(arrays: Iterable[Ids]) -> tuple[int, ...]:
    """Return the shape of the arrays side by side."""
    return np.broadcast_shapes(*(array.shape for array in arrays))


class Unknowns:
    """Numbers that stand for unknowns; 0 is the one that is known to be zero.

    Args:
        kind: "positive" for logarithms of positive factors, over the rational numbers; "sign" for signs, over
            the integers modulo 2.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.reasons: list[Reason] = [Reason("an input or a constant of the model")]
        self._reason_numbers: dict[Reason, int] = {self.reasons[0]: 0}
        self._count = 1
        self._parent = np.arange(1024, dtype=np.int64)
        self._fixed = np.full(1024, _FREE, np.int64)  # position in reasons, of roots
        self._fixed[0] = 0
        self._equations: list[tuple[tuple[tuple[Fraction, int], ...], Reason]] = []
        self._sums: dict[tuple[tuple[int, Fraction], ...], int] = {}
        self._expressions: dict[int, Row] | None = None

    # --- Numbers --------------------------------------------------------------------------------------

    def fresh(self, shape: Sequence[int]) -> Ids:
        """Return an array of new unknowns."""
        size = int(np.prod(shape, dtype=np.int64))
        first, self._count = self._count, self._count + size
        if self._count > len(self._parent):
            known = len(self._parent)
            room = np.arange(known, max(2 * known, self._count), dtype=np.int64)
            self._parent = np.concatenate([self._parent, room])
            self._fixed = np.concatenate([self._fixed, np.full(len(room), _FREE, np.int64)])
        return np.arange(first, first + size, dtype=np.int64).reshape(tuple(shape))

    def roots(self, ids: Ids) -> Ids:
        """Return the unknown that stands for all that are equal to each of ``ids``."""
        parent = self._parent
        found = parent[ids]
        while True:
            further = parent[found]
            if (further == found).all():
                break
            found = further
        parent[ids] = found
        return found

    def canonical(self, ids: Ids) -> Ids:
        """Return the same as :meth:`roots`, with 0 for all that are zero."""
        found = self.roots(ids)
        return np.where(self._fixed[found] == _FREE, found, 0)

    def why(self, ids: Ids) -> list[Reason]:
        """Return why some of ``ids`` are zero, each reason once."""
        numbers = self._fixed[self.roots(ids)]
        return [self.reasons[number] for number in np.unique(numbers[numbers != _FREE])]

    # --- What is found out ------------------------------------------------------------------------------

    def same(self, one: Ids, other: Ids) -> None:
        """Note that two arrays, broadcast against each other, are equal."""
        left, right = (array.ravel() for array in np.broadcast_arrays(one, other))
        while True:
            left, right = self.roots(left), self.roots(right)
            differ = left != right
            if not differ.any():
                return
            left, right = left[differ], right[differ]
            high, low = np.maximum(left, right), np.minimum(left, right)
            known, open_ = self._fixed[high], self._fixed[low] == _FREE
            gained = open_ & (known != _FREE)
            self._fixed[low[gained]] = known[gained]
            # Of several partners of one root the last stays; the others follow in the next round.
            self._parent[high] = low

    def fix(self, ids: Ids, reason: Reason) -> None:
        """Note that ``ids`` are zero."""
        roots = self.roots(ids)
        open_ = roots[self._fixed[roots] == _FREE]
        if open_.size:
            self._fixed[open_] = self._number(reason)

    def _number(self, reason: Reason) -> int:
        if reason not in self._reason_numbers:
            self._reason_numbers[reason] = len(self.reasons)
            self.reasons.append(reason)
        return self._reason_numbers[reason]

    def total(self, terms: Sequence[Term], reason: Reason) -> Ids:
        """Return unknowns that are equal to the sum of ``terms``, each a coefficient and an array."""
        if not terms:
            return np.zeros((), np.int64)
        if len(terms) == 1 and terms[0][0] == 1:
            return self.roots(terms[0][1])
        shape = broadcast_shape(ids for _, ids in terms)
        rows = np.stack([np.broadcast_to(self.canonical(ids), shape).ravel() for _, ids in terms], 1)
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        coefficients = [coefficient for coefficient, _ in terms]
        found = [
            self._sum_of(dict_of(zip(row, coefficients, strict=True)), reason) for row in unique.tolist()
        ]
        return np.array(found, np.int64)[inverse.reshape(-1)].reshape(shape)

    def _sum_of(self, row: Row, reason: Reason) -> int:
        row = self._reduced(row)
        if not row:
            return 0
        if len(row) == 1:
            ((unknown, coefficient),) = row.items()
            if coefficient == 1:
                return unknown
        key = tuple(sorted(row.items()))
        if key not in self._sums:
            new = int(self.fresh((1,))[0])
            self._sums[key] = new
            self._equations.append(((*((c, u) for u, c in key), (Fraction(-1), new)), reason))
        return self._sums[key]

    def _reduced(self, row: Mapping[int, Fraction]) -> Row:
        """Return a sum without what is zero."""
        if self.kind == "sign":
            return {u: Fraction(1) for u, c in row.items() if u and c % 2}
        return {u: c for u, c in row.items() if u and c}

    # --- The solution -----------------------------------------------------------------------------------

    def solve(self, wanted: Iterable[Ids] = ()) -> None:
        """Express every unknown in those that are free, which are of the arrays ``wanted`` if they can be."""
        rows = self._settled()
        arrays = [self.canonical(ids).ravel() for ids in wanted] if rows else []
        kept = frozenset(np.unique(np.concatenate(arrays)).tolist()) if arrays else frozenset()
        self._expressions = eliminate([row for row, _ in rows], kept, modulo_two=self.kind == "sign")
        for row, reason in rows:
            alone = [u for u in row if u in self._expressions and not self._expressions[u]]
            if alone:
                self.fix(np.array(alone, np.int64), reason)

    def _settled(self) -> list[tuple[Row, Reason]]:
        """Return the equations that are left when all that say one or two are equal are worked in."""
        rest = [(dict_of((u, c) for c, u in terms), reason) for terms, reason in self._equations]
        while True:
            known = np.array(sorted({u for row, _ in rest for u in row}), np.int64)
            now = dict(zip(known.tolist(), self.canonical(known).tolist(), strict=True))
            kept = []
            pairs: list[tuple[int, int]] = []
            for old, reason in rest:
                row = self._reduced(dict_of((now[u], c) for u, c in old.items()))
                if len(row) == 1:
                    self.fix(np.array(list(row), np.int64), reason)
                    pairs.append((0, 0))
                elif len(row) == 2 and self._are_equal(list(row.values())):
                    pairs.append((min(row), max(row)))
                elif row:
                    kept.append((row, reason))
            if not pairs:
                return kept
            one, other = np.array(pairs, np.int64).T
            self.same(one, other)
            rest = kept

    def _are_equal(self, coefficients: list[Fraction]) -> bool:
        return self.kind == "sign" or coefficients[0] == -coefficients[1]

    def expression(self, unknown: int) -> Row:
        """Return an unknown, as :meth:`canonical` gives it, as a sum of free ones."""
        if self._expressions is None:
            raise RuntimeError("solve() was not called yet.")
        if unknown == 0:
            return {}
        return self._expressions.get(unknown, {unknown: Fraction(1)})


def dict_of(pairs: Iterable[tuple[int, Fraction]]) -> Row:
    """Return a sum of unknowns, each once."""
    row: Row = {}
    for unknown, coefficient in pairs:
        row[unknown] = row.get(unknown, Fraction(0)) + coefficient
    return row
