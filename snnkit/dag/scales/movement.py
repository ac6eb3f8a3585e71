"""Operations that only arrange elements, carried out on arrays of unknowns.

An array has one index on each axis along which nothing varies, and is kept that way: a view of a batch of
images moves as many numbers as there are channels.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from snnkit.dag.analysis.tape import Operation
from snnkit.dag.scales.unknowns import Ids

__all__ = ["MOVES", "moved", "regrouped", "trimmed"]

Move = Callable[[Operation, Ids], list[Ids]]

MOVES: dict[str, Move] = {}
"""Operations of one tensor that arrange its elements, by name."""


def moved(op: Operation, ids: Ids) -> list[Ids]:
    """Return the unknowns of the results of an operation in :data:`MOVES`, for those of its tensor."""
    rank = len(op.inputs[0].shape)
    padded = ids.reshape((1,) * (rank - ids.ndim) + ids.shape)
    return MOVES[op.kind.removeprefix("aten.").rstrip("_")](op, padded)


def _move(*kinds: str) -> Callable[[Move], Move]:
    def enter(move: Move) -> Move:
        for kind in kinds:
            MOVES[kind] = move
        return move

    return enter


def trimmed(ids: Ids) -> Ids:
    """Return the array with one index on each axis along which nothing varies."""
    for axis in range(ids.ndim):
        if ids.shape[axis] > 1:
            first = np.take(ids, [0], axis)
            if (ids == first).all():
                ids = first
    return ids


def regrouped(ids: Ids, old: tuple[int, ...], new: tuple[int, ...]) -> Ids:
    """Return the unknowns of a view of shape ``new`` of a tensor of shape ``old``."""
    shape = [1] * len(new)
    expanded: list[int] = list(ids.shape)
    for before, after in _blocks(old, new):
        if any(ids.shape[axis] > 1 for axis in before):
            for axis in before:
                expanded[axis] = old[axis]
            for axis in after:
                shape[axis] = new[axis]
    result = np.broadcast_to(ids, expanded).reshape(shape)
    return trimmed(result) if result.size > ids.size else result


def _blocks(old: tuple[int, ...], new: tuple[int, ...]) -> Iterator[tuple[list[int], list[int]]]:
    """Cut the axes on both sides wherever equally many elements lie on the left."""
    i = j = 0
    while i < len(old) or j < len(new):
        before: list[int] = []
        after: list[int] = []
        have = need = 1
        while not before or not after or have != need:
            if i < len(old) and (have <= need or j == len(new)):
                have *= old[i]
                before.append(i)
                i += 1
            elif j < len(new):
                need *= new[j]
                after.append(j)
                j += 1
            else:
                break
        yield before, after


def _dim(op: Operation, name: str = "dim", extra: int = 0) -> int:
    rank = len(op.inputs[0].shape) + extra
    return int(op.argument(name) or 0) % max(rank, 1)


def _cut(ids: Ids, axis: int, which: Any) -> Ids:
    """Return the indices ``which`` of an axis."""
    if ids.shape[axis] == 1:
        return ids
    return ids[(slice(None),) * axis + (which,)]


@_move("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy", "squeeze", "unsqueeze")
def _view(op: Operation, ids: Ids) -> list[Ids]:
    return [regrouped(ids, op.inputs[0].shape, op.outputs[0].shape)]


@_move("t", "numpy_T", "adjoint")
def _transposed(op: Operation, ids: Ids) -> list[Ids]:
    return [ids.transpose()]


@_move("transpose", "swapaxes")
def _swapped(op: Operation, ids: Ids) -> list[Ids]:
    return [ids.swapaxes(_dim(op, "dim0"), _dim(op, "dim1")) if ids.ndim else ids]


@_move("permute")
def _permuted(op: Operation, ids: Ids) -> list[Ids]:
    return [ids.transpose([dim % ids.ndim for dim in op.argument("dims")])]


@_move("expand", "expand_copy", "broadcast_to")
def _expanded(op: Operation, ids: Ids) -> list[Ids]:
    return [ids.reshape((1,) * (len(op.outputs[0].shape) - ids.ndim) + ids.shape)]


@_move("repeat", "tile")
def _repeated(op: Operation, ids: Ids) -> list[Ids]:
    old, new = op.inputs[0].shape, op.outputs[0].shape
    added = len(new) - len(old)
    padded = ids.reshape((1,) * added + ids.shape)
    sizes = (1,) * added + old
    times = [new[axis] // sizes[axis] if padded.shape[axis] > 1 else 1 for axis in range(len(new))]
    return [np.tile(padded, times)]


@_move("slice", "slice_copy")
def _sliced(op: Operation, ids: Ids) -> list[Ids]:
    axis = _dim(op)
    start, end, step = op.argument("start"), op.argument("end"), op.argument("step")
    return [_cut(ids, axis, slice(start, end, step or 1))]


@_move("split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk", "unsafe_chunk",
       "tensor_split", "split_copy", "split_with_sizes_copy", "narrow")  # fmt: skip
def _split(op: Operation, ids: Ids) -> list[Ids]:
    axis, results = _dim(op), []
    start = int(op.argument("start") or 0) % max(op.inputs[0].shape[axis], 1)
    for out in op.outputs:
        results.append(_cut(ids, axis, slice(start, start + out.shape[axis])))
        start += out.shape[axis]
    return results


@_move("select", "select_copy")
def _selected(op: Operation, ids: Ids) -> list[Ids]:
    axis, index = _dim(op), int(op.argument("index"))
    return [np.take(ids, index if ids.shape[axis] > 1 else 0, axis)]


@_move("unbind", "unbind_copy")
def _unbound(op: Operation, ids: Ids) -> list[Ids]:
    axis = _dim(op)
    last = ids.shape[axis] - 1
    return [np.take(ids, min(position, last), axis) for position in range(len(op.outputs))]


@_move("flip")
def _flipped(op: Operation, ids: Ids) -> list[Ids]:
    return [np.flip(ids, [dim % ids.ndim for dim in op.argument("dims")])]


@_move("roll")
def _rolled(op: Operation, ids: Ids) -> list[Ids]:
    shifts, dims = op.argument("shifts"), op.argument("dims")
    if not dims:
        whole = np.broadcast_to(ids, op.inputs[0].shape)
        return [trimmed(np.roll(whole.ravel(), shifts[0]).reshape(whole.shape))]
    return [np.roll(ids, tuple(shifts), tuple(dim % ids.ndim for dim in dims))]


@_move("clone", "detach", "alias", "contiguous", "lift_fresh", "lift_fresh_copy", "tril", "triu")
def _as_it_is(op: Operation, ids: Ids) -> list[Ids]:
    return [ids]


@_move("pixel_shuffle")
def _to_space(op: Operation, ids: Ids) -> list[Ids]:
    factor = int(op.argument("upscale_factor"))
    *lead, channels, height, width = op.inputs[0].shape
    split = (*lead, channels // factor**2, factor, factor, height, width)
    n = len(lead)
    parts = regrouped(ids, op.inputs[0].shape, split)
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    arranged = tuple(split[axis] for axis in order)
    return [regrouped(parts.transpose(order), arranged, op.outputs[0].shape)]


@_move("pixel_unshuffle")
def _to_depth(op: Operation, ids: Ids) -> list[Ids]:
    factor = int(op.argument("downscale_factor"))
    *lead, channels, height, width = op.inputs[0].shape
    split = (*lead, channels, height // factor, factor, width // factor, factor)
    n = len(lead)
    parts = regrouped(ids, op.inputs[0].shape, split)
    order = [*range(n), n, n + 2, n + 4, n + 1, n + 3]
    arranged = tuple(split[axis] for axis in order)
    return [regrouped(parts.transpose(order), arranged, op.outputs[0].shape)]


@_move("channel_shuffle", "native_channel_shuffle")
def _shuffled(op: Operation, ids: Ids) -> list[Ids]:
    groups, shape = int(op.argument("groups")), op.inputs[0].shape
    split = (shape[0], groups, shape[1] // groups, *shape[2:])
    parts = regrouped(ids, shape, split).swapaxes(1, 2)
    return [regrouped(parts, (split[0], split[2], split[1], *split[3:]), shape)]
