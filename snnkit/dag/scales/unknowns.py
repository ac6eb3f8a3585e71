"""Unknown logarithms of factors: which are equal, which are zero, which others follow from.

Equalities and zeros, nearly all there is to know, are kept in a forest over arrays of numbers; what has
three terms or other coefficients than 1 and -1 waits as an equation until :meth:`Unknowns.solve`.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.scales.elimination import Number, Row, eliminate
from snnkit.dag.scales.equations import Batch, settled, sum_of

__all__ = ["Ids", "Kind", "Term", "Unknowns", "broadcast_shape"]

Ids = NDArray[np.int64]
Kind = Literal["positive", "sign"]
Term = tuple[Number, Ids]

_FREE = -1


def broadcast_shape(arrays: Iterable[Ids]) -> tuple[int, ...]:
    """Return the shape of the arrays side by side."""
    return np.broadcast_shapes(*(array.shape for array in arrays))


class Unknowns:
    """Numbers that stand for unknowns; 0 is the one that is known to be zero.

    Args:
        kind: "positive" for logarithms of positive factors, over the rational numbers; "sign" for signs, over
            the integers modulo 2.

    Attributes:
        batches: Equations that are more than equalities.
        derived: What :meth:`solve` found: unknowns that follow from others, each as a sum of free ones.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.reasons: list[Reason] = [Reason("an input or a constant of the model")]
        self._reason_numbers: dict[Reason, int] = {self.reasons[0]: 0}
        self._count = 1
        self._parent = np.arange(1024, dtype=np.int64)
        self._fixed = np.full(1024, _FREE, np.int64)  # position in reasons, of roots
        self._fixed[0] = 0
        self.batches: list[Batch] = []
        self.derived: dict[int, Row] = {}

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
        if len(terms) == 1 and terms[0][0] == 1:
            return self.roots(terms[0][1])
        # Even numbers of signs are none, and must not be taken for odd ones below.
        counting = [(c, ids) for c, ids in terms if (c % 2 if self.kind == "sign" else c)]
        there = [(coefficient, self.canonical(ids)) for coefficient, ids in counting]
        there = [(coefficient, ids) for coefficient, ids in there if ids.any()]
        if not there:
            return np.zeros((), np.int64)
        if len(there) == 1 and there[0][0] == 1:
            return there[0][1]
        shape = broadcast_shape(ids for _, ids in there)
        rows = np.stack([np.broadcast_to(ids, shape).ravel() for _, ids in there], 1)
        unique, inverse = np.unique(rows, axis=0, return_inverse=True)
        found = sum_of(self, [coefficient for coefficient, _ in there], unique, reason)
        return found[inverse.reshape(-1)].reshape(shape)

    # --- The solution -----------------------------------------------------------------------------------

    def solve(self, wanted: Iterable[Ids] = ()) -> None:
        """Express every unknown in those that are free, which are of the arrays ``wanted`` if they can be."""
        rows = settled(self)
        arrays = [self.canonical(ids).ravel() for ids in wanted] if rows else []
        kept = frozenset(np.unique(np.concatenate(arrays)).tolist()) if arrays else frozenset()
        found = eliminate([row for row, _ in rows], kept, modulo_two=self.kind == "sign")
        for row, reason in rows:
            zero = [unknown for unknown in row if unknown in found and not found[unknown]]
            if zero:
                self.fix(np.array(zero, np.int64), reason)
        self.derived = {unknown: row for unknown, row in found.items() if row}

    def expression(self, unknown: int) -> Row:
        """Return an unknown, as :meth:`canonical` gives it, as a sum of free ones."""
        return self.derived.get(unknown, {unknown: 1}) if unknown else {}
