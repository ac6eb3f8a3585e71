"""Exact elimination of sparse linear equations, over the rational numbers or modulo 2."""

from collections.abc import Collection, Iterable, Mapping
from fractions import Fraction

__all__ = ["Number", "Row", "eliminate", "whole", "without_zeros"]

Number = int | Fraction
Row = dict[int, Number]
"""A sum: coefficients by unknown. As an equation it is equal to zero."""


def whole(number: Number) -> Number:
    """Return an integer where a fraction is one: they are added much faster."""
    return number.numerator if number.denominator == 1 else number


def without_zeros(row: Mapping[int, Number], *, modulo_two: bool) -> Row:
    """Return a sum without what cancelled."""
    if modulo_two:
        return {unknown: 1 for unknown, coefficient in row.items() if coefficient % 2}
    return {unknown: coefficient for unknown, coefficient in row.items() if coefficient}


def eliminate(
    rows: Iterable[Row], kept: Collection[int] = frozenset(), *, modulo_two: bool = False
) -> dict[int, Row]:
    """Return, for unknowns that follow from others, their sums of free unknowns.

    Unknowns that are not in the result are free. Of the unknowns of an equation one with a coefficient of 1
    or -1 is expressed by the others, if there is one, so that coefficients stay integers where they can;
    rather one that is not in ``kept``, and of those the one with the largest number.
    """
    solved: dict[int, Row] = {}
    for row in rows:
        reduced = _substituted(row, solved, modulo_two)
        if reduced:
            pivot = max(reduced, key=lambda u: (abs(reduced[u]) == 1, u not in kept, u))
            divisor = -reduced.pop(pivot)
            expressed = {u: whole(Fraction(c) / divisor) for u, c in reduced.items()}
            solved[pivot] = without_zeros(expressed, modulo_two=modulo_two)
    final: dict[int, Row] = {}
    for pivot in reversed(solved):  # a later one was never put in terms of an earlier one
        final[pivot] = _substituted(solved[pivot], final, modulo_two)
    return final


def _substituted(row: Row, solved: dict[int, Row], modulo_two: bool) -> Row:
    found = without_zeros(row, modulo_two=modulo_two)
    pending = [unknown for unknown in found if unknown in solved]
    while pending:
        unknown = pending.pop()
        coefficient = found.pop(unknown, None)
        if not coefficient:
            continue
        for other, factor in solved[unknown].items():
            found[other] = whole(found.get(other, 0) + coefficient * factor)
            if other in solved:
                pending.append(other)
        found = without_zeros(found, modulo_two=modulo_two)
    return found
