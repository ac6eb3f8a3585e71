"""Which factors a weight has room for: one per row and one per column of the product that reads it.

A weight of ``n`` rows and ``m`` columns may take ``n + m`` factors, not ``n * m``. Which of its axes are rows
and which are columns is known where it is multiplied, often behind a few views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from snnkit.dag.analysis.tape import Operation, Tape, Value
from snnkit.dag.scales.movement import MOVES, moved
from snnkit.dag.scales.unknowns import Ids

__all__ = ["Plan", "plans_of"]

Fresh = Callable[[Sequence[int]], Ids]

_MOST = 1 << 20

_OPERANDS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "matmul": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "mv": ("self", "vec"),
    "addmv": ("mat", "vec"),
    "dot": ("self", "tensor"),
    "vdot": ("self", "other"),
}


@dataclass(frozen=True)
class Plan:
    """The factors of one weight.

    Args:
        shape: Of the weight.
        rows: Axes that share the factors of what is made.
        columns: Axes that share the inverse factors of what is read; None if nothing is summed over.
        groups: Of a convolution: its first axis is this many groups.
        transposed: Whether the convolution is a transposed one: its first axis is read.
    """

    shape: tuple[int, ...]
    rows: frozenset[int]
    columns: frozenset[int] | None
    groups: int = 1
    transposed: bool = False

    def made(self, fresh: Fresh) -> Ids:
        """Return unknowns for the factors of what is made."""
        if self.groups > 1 and self.transposed:
            return self._by_group(fresh)
        return fresh(self._kept(self.rows))

    def read(self, fresh: Fresh) -> Ids | None:
        """Return unknowns for the factors of what is read."""
        if self.columns is None:
            return None
        if self.groups > 1 and not self.transposed:
            return self._by_group(fresh)
        return fresh(self._kept(self.columns))

    def _by_group(self, fresh: Fresh) -> Ids:
        """Return unknowns for the second axis, of which each group on the first has its own."""
        first, second, *taps = self.shape
        ids = np.repeat(fresh((self.groups, second)), first // self.groups, 0)
        return ids.reshape(first, second, *(1 for _ in taps))

    def _kept(self, axes: frozenset[int]) -> tuple[int, ...]:
        return tuple(n if axis in axes else 1 for axis, n in enumerate(self.shape))


def plans_of(tape: Tape) -> dict[int, Plan]:
    """Return plans for the parameters that are multiplied, by their positions on the tape."""
    makers = {out.index: op for op in tape.operations if _kind(op) in MOVES for out in op.outputs}
    plans: dict[int, Plan] = {}
    for op in tape.operations:
        for value, plan in _plans_in(op, makers):
            plans.setdefault(value.index, plan)
    return plans


def _kind(op: Operation) -> str:
    return op.kind.removeprefix("aten.").rstrip("_")


def _plans_in(op: Operation, makers: dict[int, Operation]) -> list[tuple[Value, Plan]]:
    kind = _kind(op)
    if "convolution" in kind or kind in ("thnn_conv2d", "_slow_conv2d_forward"):
        weight = op.argument("weight")
        return [(weight, _of_convolution(op, weight))] if weight.kind == "parameter" else []
    if kind == "embedding":
        weight = op.argument("weight")
        plan = Plan(weight.shape, frozenset(range(1, len(weight.shape))), None)
        return [(weight, plan)] if weight.kind == "parameter" else []
    if kind == "linear":
        weight = op.argument("weight")
        sides = [(weight, len(weight.shape) - 1, [0] if len(weight.shape) > 1 else [])]
    elif kind in _OPERANDS:
        one, other = (op.argument(name) for name in _OPERANDS[kind])
        rank, depth = len(one.shape), len(other.shape)
        sides = [(one, rank - 1, [rank - 2] if rank > 1 else [])]
        sides.append((other, max(depth - 2, 0), [depth - 1] if depth > 1 else []))
    else:
        return []
    found = [_of_operand(value, summed, out, makers) for value, summed, out in sides]
    return [entry for entry in found if entry is not None]


def _of_convolution(op: Operation, weight: Value) -> Plan:
    transposed, groups = bool(op.argument("transposed")), int(op.argument("groups") or 1)
    made, read = (1, 0) if transposed else (0, 1)
    return Plan(weight.shape, frozenset([made]), frozenset([read]), groups, transposed)


def _of_operand(
    value: Value, summed: int, out: list[int], makers: dict[int, Operation]
) -> tuple[Value, Plan] | None:
    """Follow an operand back through views to a parameter, and its axes forward again."""
    chain: list[tuple[Operation, int]] = []
    while value.kind == "result":
        op = makers.get(value.index)
        if op is None or len(op.inputs) != 1:
            return None
        chain.append((op, [o.index for o in op.outputs].index(value.index)))
        value = op.inputs[0]
    if value.kind != "parameter" or not value.dtype.is_floating_point:
        return None
    rows, columns = set(), set()
    for axis, n in enumerate(value.shape):
        if n > 1:
            varies = _axes_behind(value, axis, chain)
            others = varies - {summed} - set(out)  # of batches: each has rows and columns of its own
            rows |= {axis} if others or varies & set(out) else set()
            columns |= {axis} if others or summed in varies else set()
    plan = Plan(value.shape, frozenset(rows), frozenset(columns))
    sizes = [np.prod([value.shape[axis] for axis in axes], dtype=np.int64) for axes in (rows, columns)]
    return (value, plan) if max(sizes) <= _MOST else None


def _axes_behind(value: Value, axis: int, chain: list[tuple[Operation, int]]) -> set[int]:
    """Return on which axes behind a chain of views an axis of a tensor lies."""
    shape = [1] * len(value.shape)
    shape[axis] = value.shape[axis]
    ids: Ids = np.arange(value.shape[axis], dtype=np.int64).reshape(shape)
    for op, position in reversed(chain):
        ids = moved(op, ids)[position]
    return {position for position, n in enumerate(ids.shape) if n > 1}
