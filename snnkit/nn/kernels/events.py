"""Products with rows of numbers that are mostly zero, as events are: what is zero is not read."""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from numba import njit

from snnkit.nn.kernels.loops import OPTIONS
from snnkit.nn.kernels.simd import (
    all_lanes,
    first_lanes,
    lanes_of,
    lowest_bit,
    mask_bits,
    multiply_add,
    splat,
)
from snnkit.nn.kernels.vectors_in_memory import get, load, load_all, put, store, store_all

__all__ = ["add_outer", "deliver", "list_events"]

inlined = njit(forceinline=True, **OPTIONS)


@inlined
def _bits(events, at, mask):
    return mask_bits(load(events, at, mask) != splat(events.dtype.type(0)))


@inlined
def _list_bits(bits, first, events, at, length, found, numbers):
    while bits:
        m = first + lowest_bit(bits)
        bits &= bits - 1
        put(found, length, m)
        put(numbers, length, get(events, at + m))
        length += 1
    return length


@inlined
def list_events(events, at, count, found, numbers):
    """Write places and numbers of all events among ``count`` numbers, ascending; return how many.

    Four vectors are looked at together: the processor guesses wrong how many events come, once for each look.
    """
    lanes, length = lanes_of(events), 0
    whole = all_lanes(events)
    wide = count - count % (4 * lanes)
    for n in range(0, wide, 4 * lanes):
        place = at + n
        bits = _bits(events, place, whole) | (_bits(events, place + lanes, whole) << lanes)
        bits |= _bits(events, place + 2 * lanes, whole) << (2 * lanes)
        bits |= _bits(events, place + 3 * lanes, whole) << (3 * lanes)
        length = _list_bits(bits, n, events, at, length, found, numbers)
    for n in range(wide, count, lanes):
        bits = _bits(events, at + n, first_lanes(events, count - n))
        length = _list_bits(bits, n, events, at, length, found, numbers)
    return length


@inlined
def _deliver_vector(found, numbers, length, weight, columns, j, mask, target, at):
    total = splat(weight.dtype.type(0))
    for k in range(length):
        row = load(weight, get(found, k) * columns + j, mask)
        total = total + splat(get(numbers, k)) * row
    store(target, at + j, total, mask)


@inlined
def deliver(events, events_at, count, weight, columns, found, numbers, target, at):
    """Write ``events @ weight``, ascending over the events, from zero; four vectors at once where there are.

    Args:
        events: array with a row of ``count`` numbers.
        events_at: where the row begins.
        count: rows of ``weight``.
        weight: (count, columns).
        columns: of ``weight``.
        found: for working, ``count`` whole numbers.
        numbers: for working, ``count`` numbers.
        target: written from ``at`` on.
        at: see ``target``.
    """
    length = list_events(events, events_at, count, found, numbers)
    lanes = lanes_of(weight)
    wide = columns - columns % (4 * lanes)
    zero = splat(weight.dtype.type(0))
    for j in range(0, wide, 4 * lanes):
        a, b, c, d = zero, zero, zero, zero
        for k in range(length):
            row, number = get(found, k) * columns + j, splat(get(numbers, k))
            a = a + number * load_all(weight, row)
            b = b + number * load_all(weight, row + lanes)
            c = c + number * load_all(weight, row + 2 * lanes)
            d = d + number * load_all(weight, row + 3 * lanes)
        store_all(target, at + j, a)
        store_all(target, at + j + lanes, b)
        store_all(target, at + j + 2 * lanes, c)
        store_all(target, at + j + 3 * lanes, d)
    whole = columns - columns % lanes
    for j in range(wide, whole, lanes):
        _deliver_vector(found, numbers, length, weight, columns, j, all_lanes(weight), target, at)
    if whole < columns:
        mask = first_lanes(weight, columns - whole)
        _deliver_vector(found, numbers, length, weight, columns, whole, mask, target, at)


@inlined
def _add_vector(found, numbers, length, row, row_at, columns, j, mask, target, at):
    values = load(row, row_at + j, mask)
    for k in range(length):
        place = at + get(found, k) * columns + j
        total = multiply_add(splat(get(numbers, k)), values, load(target, place, mask))
        store(target, place, total, mask)


@inlined
def add_outer(found, numbers, length, row, row_at, columns, target, at):
    """Add the outer product of listed events and a row of ``columns`` numbers to ``target``."""
    lanes = lanes_of(row)
    wide, whole = columns - columns % (4 * lanes), columns - columns % lanes
    for j in range(0, wide, 4 * lanes):
        a, b = load_all(row, row_at + j), load_all(row, row_at + j + lanes)
        c, d = load_all(row, row_at + j + 2 * lanes), load_all(row, row_at + j + 3 * lanes)
        for k in range(length):
            place, number = at + get(found, k) * columns + j, splat(get(numbers, k))
            store_all(target, place, multiply_add(number, a, load_all(target, place)))
            place += lanes
            store_all(target, place, multiply_add(number, b, load_all(target, place)))
            place += lanes
            store_all(target, place, multiply_add(number, c, load_all(target, place)))
            place += lanes
            store_all(target, place, multiply_add(number, d, load_all(target, place)))
    for j in range(wide, whole, lanes):
        _add_vector(found, numbers, length, row, row_at, columns, j, all_lanes(row), target, at)
    if whole < columns:
        mask = first_lanes(row, columns - whole)
        _add_vector(found, numbers, length, row, row_at, columns, whole, mask, target, at)
