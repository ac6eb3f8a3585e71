"""Uniting axes that an operation reads index by index, and taking axes apart."""

from collections.abc import Iterator, Sequence

from .axes import (
    UNIT,
    Atom,
    Axis,
    Concat,
    Product,
    Reason,
    concat,
    factors,
    fresh,
    fresh_frozen,
    is_frozen,
    leaves,
    parts,
    product,
    resolved,
)

__all__ = ["freeze", "pair_off", "soften", "split_ahead", "split_inner", "unify"]

_ENOUGH_REASONS = 4  # of each atom; a frozen batch axis would otherwise collect one per operation
_DEEPEST = 80


def freeze(axis: Axis, *reasons: Reason) -> None:
    """Forbid any change of the indices of ``axis``."""
    for atom in leaves(axis):
        _note(atom.frozen, reasons)


def soften(axis: Axis, *reasons: Reason) -> None:
    """Note that dropping indices of ``axis`` is possible, but is not the same as setting them to zero."""
    for atom in leaves(axis):
        _note(atom.soft, reasons)


def _note(notes: list[Reason], reasons: tuple[Reason, ...]) -> None:
    for reason in reasons:
        if len(notes) < _ENOUGH_REASONS and reason not in notes:
            notes.append(reason)


def unify(one: Axis, other: Axis, reason: Reason, depth: int = 0) -> None:
    """Make two axes of the same size the same: index i of one lives, dies and moves with i of the other.

    Where their structures cannot be brought together (sizes that do not divide), both are frozen.
    """
    one, other = resolved(one), resolved(other)
    if one is other or one.size == 1:
        return
    if one.size != other.size:
        raise ValueError(f"axes of {one.size} and {other.size} indices cannot be one ({reason.text})")
    if is_frozen(one) or is_frozen(other):
        _freeze_alike(one, other)
    elif isinstance(one, Atom):
        _bind(one, other)
    elif isinstance(other, Atom):
        _bind(other, one)
    elif depth > _DEEPEST:
        freeze(one, Reason("the axis is joined with a shifted copy of itself", reason.operation))
        freeze(other, *_reasons(one))
    elif isinstance(one, Product) and isinstance(other, Product):
        _unify_products(one, other, reason, depth + 1)
    elif isinstance(one, Concat) and isinstance(other, Concat):
        _unify_concats(parts(one), parts(other), reason, depth + 1)
    elif isinstance(one, Concat):
        _unify_mixed(one, other, reason, depth + 1)
    else:
        _unify_mixed(other, one, reason, depth + 1)


def _reasons(axis: Axis) -> tuple[Reason, ...]:
    return tuple(dict.fromkeys(reason for atom in leaves(axis) for reason in atom.frozen))


def _freeze_alike(one: Axis, other: Axis) -> None:
    # No binding is needed: whatever these axes consist of, nothing of it may change.
    for source, target in ((one, other), (other, one)):
        if is_frozen(source):
            for atom in leaves(target):
                if not atom.frozen:
                    freeze(atom, *_reasons(source))


def _bind(atom: Atom, axis: Axis) -> None:
    if atom.frozen:
        freeze(axis, *atom.frozen)
    if atom.soft:
        soften(axis, *atom.soft)
    atom.binding = axis


def _barrier(axes: list[Axis], reason: Reason) -> None:
    sizes = ", ".join(str(axis.size) for axis in axes)
    note = Reason(f"axes are taken apart in ways that do not fit together (sizes {sizes})", reason.operation)
    for axis in axes:
        freeze(axis, note)


def _unify_products(one: Axis, other: Axis, reason: Reason, depth: int) -> None:
    left, right = factors(one), factors(other)
    while left and right:
        small, large = left.pop(), right.pop()
        if small.size > large.size:
            small, large, left, right = large, small, right, left
        if small.size < large.size:
            halves = split_inner(large, small.size, reason)
            if halves is None:
                _barrier([*left, small, *right, large], reason)
                return
            right.extend(factors(halves[0]))
            large = halves[1]
        unify(small, large, reason, depth)
        # What is left may have been bound to products meanwhile.
        left, right = factors(product(left)), factors(product(right))


def _unify_concats(left: list[Axis], right: list[Axis], reason: Reason, depth: int) -> None:
    left, right = left[::-1], right[::-1]
    while left and right:
        small, large = left.pop(), right.pop()
        if small.size > large.size:
            small, large, left, right = large, small, right, left
        if small.size < large.size:
            halves = split_ahead(large, small.size, reason)
            if halves is None:
                _barrier([*left, small, *right, large], reason)
                return
            right.append(halves[1])
            large = halves[0]
        unify(small, large, reason, depth)


def _unify_mixed(joined: Axis, flattened: Axis, reason: Reason, depth: int) -> None:
    first, *others = factors(flattened)
    rest = product(others)
    if all(part.size % rest.size == 0 for part in parts(joined)):
        outer = []
        for part in parts(joined):
            halves = split_inner(part, rest.size, reason)
            if halves is None:
                _barrier([joined, flattened], reason)
                return
            unify(halves[1], rest, reason, depth)
            outer.append(halves[0])
        unify(first, concat(outer, reason), reason, depth)
    elif is_frozen(first):
        _unify_concats(
            parts(joined), [part for _ in range(first.size) for part in parts(rest)], reason, depth
        )
    else:
        _barrier([joined, flattened], reason)


def split_inner(axis: Axis, inner: int, reason: Reason) -> tuple[Axis, Axis] | None:
    """Return ``axis`` as ``outer * inner``, the second of size ``inner``; None if it cannot be had."""
    axis = resolved(axis)
    if axis.size % inner:
        return None
    if inner == 1:
        return axis, UNIT
    if inner == axis.size:
        return UNIT, axis
    if isinstance(axis, Atom):
        return _split_atom(axis, axis.size // inner, inner)
    if isinstance(axis, Concat):
        return _split_each_part(axis, inner, reason)
    return _split_product(axis, inner, reason)


def _split_atom(atom: Atom, outer: int, inner: int) -> tuple[Axis, Axis]:
    if atom.frozen:
        return fresh_frozen(outer, atom.frozen), fresh_frozen(inner, atom.frozen)
    halves = fresh(outer), fresh(inner)
    _bind(atom, product(halves))
    return halves


def _split_product(axis: Axis, inner: int, reason: Reason) -> tuple[Axis, Axis] | None:
    left, taken, need = factors(axis), [], inner
    while need > 1:
        last = left.pop()
        if need % last.size == 0:
            taken.append(last)
            need //= last.size
            continue
        halves = split_inner(last, need, reason) if last.size > need else None
        if halves is None:
            return None
        left.append(halves[0])
        taken.append(halves[1])
        need = 1
    return product(left), product(taken[::-1])


def _split_each_part(axis: Axis, inner: int, reason: Reason) -> tuple[Axis, Axis] | None:
    pieces = parts(axis)
    if any(piece.size % inner for piece in pieces):
        return None
    halves = [split_inner(piece, inner, reason) for piece in pieces]
    if any(half is None for half in halves):
        return None
    found = [half for half in halves if half is not None]
    for _, other in found[1:]:
        unify(found[0][1], other, reason)
    return concat([outer for outer, _ in found], reason), found[0][1]


def split_ahead(axis: Axis, ahead: int, reason: Reason) -> tuple[Axis, Axis] | None:
    """Return ``axis`` as a concatenation of ``ahead`` indices and the rest; None if it cannot be had."""
    axis = resolved(axis)
    if ahead == 0:
        return Concat(()), axis
    if ahead == axis.size:
        return axis, Concat(())
    if isinstance(axis, Atom):
        behind = axis.size - ahead
        if axis.frozen:
            return fresh_frozen(ahead, axis.frozen), fresh_frozen(behind, axis.frozen)
        halves = fresh(ahead), fresh(behind)
        # Two single indices are no atoms; nothing of such an axis can be dropped.
        _bind(axis, Concat(halves))
        return halves
    if isinstance(axis, Concat):
        return _split_parts(parts(axis), ahead, reason)
    return _split_leading_factor(axis, ahead, reason)


def _split_parts(pieces: list[Axis], ahead: int, reason: Reason) -> tuple[Axis, Axis] | None:
    taken: list[Axis] = []
    for position, piece in enumerate(pieces):
        if piece.size > ahead:
            halves = split_ahead(piece, ahead, reason)
            if halves is None:
                return None
            front, back = halves
            return _join([*taken, front]), _join([back, *pieces[position + 1 :]])
        taken.append(piece)
        ahead -= piece.size
        if not ahead:
            return _join(taken), _join(pieces[position + 1 :])
    return None


def _join(pieces: list[Axis]) -> Axis:
    found = [piece for piece in pieces if piece.size]
    return found[0] if len(found) == 1 else Concat(tuple(found))


def _split_leading_factor(axis: Axis, ahead: int, reason: Reason) -> tuple[Axis, Axis] | None:
    first, *others = factors(axis)
    rest = product(others)
    whole, remainder = divmod(ahead, rest.size)
    if remainder == 0:
        halves = split_ahead(first, whole, reason)
        if halves is None:
            return None
        return product([halves[0], rest]), product([halves[1], rest])
    if not is_frozen(first):
        return None
    halves = split_ahead(rest, remainder, reason)
    if halves is None:
        return None
    return (
        _join([*[rest] * whole, halves[0]]),
        _join([halves[1], *[rest] * (first.size - whole - 1)]),
    )


def pair_off(axes: Sequence[Axis], sizes: Sequence[int], reason: Reason) -> list[Axis]:
    """Return the axes of a tensor of ``sizes`` that has the same elements in the same order as ``axes``.

    Axes of which a part cannot be expressed are frozen, only where input and output do not fit together.
    """
    result: list[Axis] = []
    for block, wanted in _blocks([axis for axis in axes if axis.size > 1], [n for n in sizes if n > 1]):
        result.extend(_regroup(block, wanted, reason))
    found = iter(result)
    return [UNIT if n == 1 else next(found) for n in sizes]


def _blocks(axes: list[Axis], sizes: list[int]) -> Iterator[tuple[list[Axis], list[int]]]:
    """Cut both sides where equally many elements lie on the left."""
    block: list[Axis] = []
    wanted: list[int] = []
    have = need = 1
    while axes or sizes:
        if axes and (have <= need or not sizes):
            have *= axes[0].size
            block.append(axes.pop(0))
        else:
            need *= sizes[0]
            wanted.append(sizes.pop(0))
        if have == need:
            yield block, wanted
            block, wanted, have, need = [], [], 1, 1


def _regroup(block: list[Axis], sizes: list[int], reason: Reason) -> list[Axis]:
    if len(block) == len(sizes) == 1:
        return block
    pool = [factor for axis in block for factor in factors(axis)]
    result: list[Axis] = []
    for n in reversed(sizes):
        found = _take(pool, n, reason)
        if found is None:
            note = Reason(f"{reason.text}: sizes do not divide", reason.operation)
            for axis in block:
                freeze(axis, note)
            return [fresh_frozen(m, [note]) for m in sizes]
        result.insert(0, found)
    return result


def _take(pool: list[Axis], n: int, reason: Reason) -> Axis | None:
    """Take the last factors of ``pool`` of together ``n`` indices."""
    whole = product(pool)
    halves = split_inner(whole, n, reason)
    if halves is None:
        return None
    pool[:] = factors(halves[0])
    return halves[1]
