"""How factors run through the operations of a tape."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from snnkit.dag.analysis.axes import Reason
from snnkit.dag.analysis.tape import Operation, Tape, Value
from snnkit.dag.scales.elimination import Number, whole
from snnkit.dag.scales.plans import Plan, plans_of
from snnkit.dag.scales.registry import rule_of
from snnkit.dag.scales.unknowns import Ids, Kind, Term, Unknowns

__all__ = ["BATCH_NORMS", "ScaleFlow"]

BATCH_NORMS = ("statistics", "gain", "fixed")

_MOST_SINGLE = 1 << 18
"""Elements of a parameter that may each have a factor of its own."""

_ONE: tuple[Term, ...] = ()


class ScaleFlow:
    """The factors of all tensors on a tape, found operation by operation.

    The logarithm of the factor of every element of a tensor is a sum of *terms*: a coefficient and an array
    of unknowns that broadcasts against the tensor. No terms mean factor 1. With ``kind`` "sign" the same
    holds for signs, and sums are modulo 2.

    Args:
        tape: The operations.
        kind: "positive" or "sign".
        batch_norm: What takes the factor of the input of a batch normalisation: "statistics", "gain" or
            nothing ("fixed").

    Attributes:
        unknowns: The factors, and what is known of them.
        epsilons: What is added to a variance before it takes its factor, by path.
        barriers: Operations without a rule, by kind, with how often they occur.
    """

    def __init__(self, tape: Tape, kind: Kind, batch_norm: str = "statistics") -> None:
        self.tape = tape
        self.kind = kind
        self.batch_norm = batch_norm
        self.unknowns = Unknowns(kind)
        self.epsilons: dict[str, float] = {}
        self.barriers: Counter[str] = Counter()
        self._terms: dict[int, tuple[Term, ...]] = {}
        self._read: set[int] = set()  # buffers that something took as they are
        self._untouched: set[int] = set()  # unknowns of columns that nothing has multiplied yet
        self._plans: dict[int, Plan] = plans_of(tape)
        self._running: Operation | None = None
        self._relatives: dict[int, int] = {}
        for value in tape.values:
            self._relatives[value.root] = self._relatives.get(value.root, 0) + 1

    # --- What rules read --------------------------------------------------------------------------------

    def terms(self, value: Value) -> tuple[Term, ...]:
        """Return the terms of a value; no terms mean factor 1."""
        if value.index not in self._terms:
            if value.kind == "parameter" and value.dtype.is_floating_point and 0 not in value.shape:
                self._terms[value.index] = self._new_terms(value)
            else:
                self._read.add(value.index)
                return _ONE
        elif value.name in self.epsilons:
            self._fix_terms(value, Reason("a variance is read by something else than a batch normalisation"))
        return self._terms[value.index]

    def _new_terms(self, value: Value) -> tuple[Term, ...]:
        plan = self._plans.get(value.index)
        if plan is not None:
            made, read = plan.made(self.unknowns.fresh), plan.read(self.unknowns.fresh)
            if read is None:
                return ((1, made),)
            self._untouched.update(read.ravel().tolist())
            return (1, made), (-1, read)
        if int(np.prod(value.shape, dtype=np.int64)) <= _MOST_SINGLE:
            return ((1, self.unknowns.fresh(value.shape)),)
        axes = [axis for axis, n in enumerate(value.shape) if n > 1]
        return tuple((1, self.unknowns.fresh(_only(value.shape, axis))) for axis in axes)

    def ids(self, value: Value) -> Ids:
        """Return one unknown for each element of a value, in an array that broadcasts against it."""
        terms = self.terms(value)
        if len(terms) == 1 and terms[0][0] == 1:
            return self.unknowns.roots(terms[0][1]).reshape(_padded(terms[0][1].shape, len(value.shape)))
        ids = self.total(terms, self._reason("factors that are multiplied"))
        ids = ids.reshape(_padded(ids.shape, len(value.shape)))
        if terms:
            self._terms[value.index] = ((1, ids),)
        return ids

    def total(self, terms: Sequence[Term], reason: Reason) -> Ids:
        """Return one unknown for each element of a sum of terms."""
        sizes = int(np.prod(np.broadcast_shapes(*(ids.shape for _, ids in terms)), dtype=np.int64))
        if len(terms) > 1 and sizes > _MOST_SINGLE:
            # Too many to keep apart: all that varies in more than one term is held at 1.
            for _, ids in terms[1:]:
                self.unknowns.fix(ids, reason)
            terms = terms[:1]
        return self.unknowns.total(terms, reason)

    def is_untouched(self, ids: Ids) -> bool:
        """Whether the unknowns are of columns that nothing has multiplied yet; asked once."""
        found = ids.ravel().tolist()
        if not self._untouched.issuperset(found):
            return False
        self._untouched.difference_update(found)
        return True

    # --- What rules say ---------------------------------------------------------------------------------

    def fresh(self, shape: Sequence[int]) -> Ids:
        """Return an array of new unknowns."""
        return self.unknowns.fresh(shape)

    def same(self, one: Ids, other: Ids) -> None:
        """Tie the factors of two arrays, broadcast against each other."""
        self.unknowns.same(one, other)

    def tie(self, one: Ids, other: Ids, reason: Reason) -> None:
        """Tie factors as :meth:`same` does; where one is the constant 1, ``reason`` holds the other there."""
        for constant, ids in ((one, other), (other, one)):
            if not constant.any():
                self.unknowns.fix(ids, reason)
                return
        self.unknowns.same(one, other)

    def has_terms(self, value: Value) -> bool:
        """Whether something has read or set the factors of a parameter or buffer."""
        return value.index in self._terms

    def fix(self, what: Ids | Value, op: Operation, text: str = "") -> None:
        """Hold factors at 1, because of what ``text`` says of the operation."""
        reason = Reason(text or f"{op.kind} lets no factor pass", op.index)
        if isinstance(what, Value):
            self._fix_terms(what, reason)
        else:
            self.unknowns.fix(what, reason)

    def _fix_terms(self, value: Value, reason: Reason) -> None:
        if value.index in self._terms or value.kind == "parameter":
            found = self._terms.get(value.index)
            for _, ids in self.terms(value) if found is None else found:
                self.unknowns.fix(ids, reason)
        else:
            self._read.add(value.index)

    def constant_along(self, ids: Ids, axes: Iterable[int]) -> Ids:
        """Tie the factors along axes; return the array with one index on each of them."""
        for axis in axes:
            if ids.ndim and ids.shape[axis] > 1:
                first = np.take(ids, [0], axis)
                self.unknowns.same(ids, first)
                ids = first
        return ids

    def _reason(self, text: str) -> Reason:
        """Return a reason that names the operation whose rule is running."""
        op = self._running
        return Reason(text) if op is None else Reason(f"{op.kind} reads {text}", op.index)

    def ones(self, op: Operation) -> list[tuple[Term, ...]]:
        """Return factor 1 for all results of an operation."""
        return [_ONE for _ in op.outputs]

    def barrier(self, op: Operation, text: str) -> list[tuple[Term, ...]]:
        """Hold everything that an operation reads and returns at 1."""
        for value in op.inputs:
            self.fix(value, op, text)
        return self.ones(op)

    def set(self, value: Value, *terms: tuple[Number, Ids], epsilon: float = 0.0) -> None:
        """Let a parameter or buffer take factors, of which the logarithm is the sum of ``terms``.

        If it has terms already, both are tied. With ``epsilon`` the value plus it takes the factor.
        """
        new = tuple((whole(coefficient), ids) for coefficient, ids in terms)
        if epsilon:
            self.epsilons[value.name] = epsilon
        if value.index not in self._terms:
            self._terms[value.index] = new
            if value.index in self._read:
                self._fix_terms(value, Reason("a buffer that is read as it is"))
        else:
            reason = Reason(f"{value.name} is used in more than one place")
            self.tie(self.total(self._terms[value.index], reason), self.total(new, reason), reason)

    # --- Running ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """Apply the rules in the tape's order, hold the outputs at 1, and solve."""
        for op in self.tape.operations:
            self._running = op
            rule = rule_of(op)
            if op.outputs and all(0 in value.shape for value in op.outputs):
                # Nothing is computed here, but would be for other inputs.
                results = self.barrier(op, f"{op.kind} has no numbers to compute")
            elif rule is None:
                self.barriers[op.kind] += 1
                results = self.barrier(op, f"no rule for {op.kind}")
            else:
                results = [_as_terms(result) for result in rule(op, self)]
            for value, terms in zip(op.outputs, results, strict=True):
                self._store(op, value, terms)
        for position, value in enumerate(self.tape.outputs):
            self._fix_terms(value, Reason(f"output {position} of the model"))
        self.unknowns.solve(ids for terms in self.parameter_terms().values() for _, ids in terms)

    def _store(self, op: Operation, value: Value, terms: tuple[Term, ...]) -> None:
        if not value.dtype.is_floating_point:
            for _, ids in terms:
                self.fix(ids, op, f"{op.kind} makes numbers of another type")
            terms = _ONE
        if op.mutates and (value.kind != "result" or self._relatives[value.root] > 1):
            # Others see the memory that is written: what they hold and what is written must agree.
            reason = Reason(f"{op.kind} writes into memory that others read", op.index)
            before = self.terms(value)
            self.tie(self.total(before, reason), self.total(terms, reason), reason)
        else:
            self._terms[value.index] = terms

    def parameter_terms(self) -> dict[str, tuple[Term, ...]]:
        """Return the terms of all parameters and buffers that have some, by path."""
        found = {name: self._terms.get(value.index, _ONE) for name, value in self.tape.parameters.items()}
        return {name: terms for name, terms in found.items() if terms}


def _as_terms(result: Ids | tuple[Term, ...]) -> tuple[Term, ...]:
    """Return what a rule gave, an array of unknowns or terms, as terms."""
    if isinstance(result, np.ndarray):
        return ((1, result),)
    return result


def _only(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(n if position == axis else 1 for position, n in enumerate(shape))


def _padded(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(shape)) + shape
