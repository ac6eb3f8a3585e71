"""Equations between unknowns that are more than equalities: kept in batches, worked off together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.scales.elimination import Number, Row, without_zeros

if TYPE_CHECKING:
    from snnkit.dag.scales.unknowns import Ids, Unknowns

__all__ = ["Batch", "settled", "sum_of"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Equations with the same coefficients: for each row of ``ids``, the sum of products is zero.

    Args:
        coefficients: One for each column, ``(k,)``.
        ids: Unknowns, ``(n, k)``.
        reason: Where they come from.
    """

    coefficients: tuple[Number, ...]
    ids: "Ids"
    reason: Reason


def sum_of(unknowns: "Unknowns", coefficients: Sequence[Number], rows: "Ids", reason: Reason) -> "Ids":
    """Return unknowns that are equal to the sums of rows ``(n, k)``: known ones where there are.

    What is zero in ``rows`` must be the unknown 0.
    """
    modulo_two = unknowns.kind == "sign"
    passed = np.array([c == 1 or (modulo_two and c % 2 == 1) for c in coefficients])
    present = rows != 0
    count = present.sum(1)
    first = present.argmax(1)
    result = np.take_along_axis(rows, first[:, None], 1)[:, 0]
    known = (count == 0) | ((count == 1) & passed[first])
    if len(coefficients) == 2 and (modulo_two or coefficients[0] == -coefficients[1]):
        cancelled = (rows[:, 0] == rows[:, 1]) & ~known
        result = np.where(cancelled, 0, result)
        known |= cancelled
    open_ = np.flatnonzero(~known)
    if open_.size:
        new = unknowns.fresh((open_.size,))
        ids = np.concatenate([rows[open_], new[:, None]], 1)
        unknowns.batches.append(Batch((*coefficients, -1), ids, reason))
        result = result.copy()
        result[open_] = new
    return result


def settled(unknowns: "Unknowns") -> list[tuple[Row, Reason]]:
    """Work in all equations that say that one unknown is zero or two are equal; return the others."""
    batches, loose = unknowns.batches, list[tuple[Row, Reason]]()
    changed = True
    while changed:
        changed = False
        kept: list[Batch] = []
        for batch in batches:
            rest, repeated, found = _worked_in(unknowns, batch)
            changed |= found
            loose += repeated
            if len(rest.ids):
                kept.append(rest)
        batches = kept
        loose, found = _loose_worked_in(unknowns, loose)
        changed |= found
    rows = [
        (row_of(ids, batch.coefficients), batch.reason) for batch in batches for ids in batch.ids.tolist()
    ]
    return [*((without_zeros(row, modulo_two=unknowns.kind == "sign"), why) for row, why in rows), *loose]


def _worked_in(unknowns: "Unknowns", batch: Batch) -> tuple[Batch, list[tuple[Row, Reason]], bool]:
    """Work in what a batch says at once; return what is left of it, and rows that name an unknown twice."""
    coefficients = np.array([float(c) for c in batch.coefficients])
    modulo_two = unknowns.kind == "sign"
    weights = coefficients % 2 if modulo_two else coefficients
    ids = np.where(weights != 0, unknowns.canonical(batch.ids), 0)
    present = ids != 0
    count = present.sum(1)
    single = ids[count == 1]
    if len(single):
        unknowns.fix(single[single != 0], batch.reason)
    ordered = np.sort(ids, 1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)).any(1)
    total = np.where(present, weights, 0.0).sum(1)
    pairs = (count == 2) & ~twice & ((total == 0) | modulo_two)
    if pairs.any():
        both = ordered[pairs][:, -2:]
        unknowns.same(both[:, 0], both[:, 1])
    rest = (count >= 2) & ~pairs
    repeated = [
        (without_zeros(row_of(row, batch.coefficients), modulo_two=modulo_two), batch.reason)
        for row in ids[rest & twice].tolist()
    ]
    left = Batch(batch.coefficients, ids[rest & ~twice], batch.reason)
    return left, repeated, bool(len(single) or pairs.any())


def _loose_worked_in(
    unknowns: "Unknowns", rows: list[tuple[Row, Reason]]
) -> tuple[list[tuple[Row, Reason]], bool]:
    if not rows:
        return [], False
    modulo_two = unknowns.kind == "sign"
    known = np.array(sorted({u for row, _ in rows for u in row} | {0}), np.int64)
    now = dict(zip(known.tolist(), unknowns.canonical(known).tolist(), strict=True))
    kept, changed = [], False
    for old, reason in rows:
        row = without_zeros(row_of((now[u] for u in old), old.values()), modulo_two=modulo_two)
        if len(row) == 1:
            unknowns.fix(np.array(list(row), np.int64), reason)
            changed = True
        elif len(row) == 2 and (modulo_two or sum(row.values()) == 0):
            unknowns.same(np.array([min(row)], np.int64), np.array([max(row)], np.int64))
            changed = True
        elif row:
            kept.append((row, reason))
    return kept, changed


def row_of(ids: Iterable[int], coefficients: Iterable[Number]) -> Row:
    """Return a sum of unknowns, each once and without 0."""
    row: Row = {}
    for unknown, coefficient in zip(ids, coefficients, strict=True):
        if unknown:
            row[unknown] = row.get(unknown, 0) + coefficient
    return row
