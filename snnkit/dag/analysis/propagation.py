"""Finding what every axis of every tensor on a tape consists of."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snnkit.dag.analysis.axes import Atom, Axis, Reason, fresh, fresh_frozen, leaves
from snnkit.dag.analysis.module_rules import module_rule_of
from snnkit.dag.analysis.tape import Operation, Tape, Value
from snnkit.dag.analysis.unification import freeze, soften, unify

__all__ = ["Contraction", "Propagation", "propagate"]

Axes = tuple[Axis, ...]


@dataclass(frozen=True, eq=False)
class Contraction:
    """A sum over an axis of products of ``operands``.

    Args:
        operation: What sums.
        operands: The tensors multiplied, each with the axis summed over; one, if the tensor itself is summed.
        batch: Axes for each index of which there is a product of its own, such as heads.
    """

    operation: Operation
    operands: tuple[tuple[Value, Axis], ...]
    batch: tuple[Axis, ...] = ()

    @property
    def axis(self) -> Axis:
        """The axis summed over, which is the same for all operands."""
        return self.operands[0][1]


@dataclass(frozen=True, eq=False)
class Cost:
    """Multiply-accumulates of an operation: the product of the sizes of ``axes``."""

    operation: Operation
    axes: Axes


class Propagation:
    """Axes of all values, filled by the rules, which run once per operation in the tape's order.

    Attributes:
        axes: The axes of each value, by its index on the tape.
        contractions: Every sum over an axis.
        costs: Multiply-accumulates.
        unmasked: Axes of parameters that a zero mask leaves as they are: they divide.
        notes: Numbers given to operations that are sizes of axes, by position of the operation and name.
        barriers: Operations without a rule, by kind, with how often they occur.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.axes: dict[int, Axes] = {}
        self.contractions: list[Contraction] = []
        self.costs: list[Cost] = []
        self.unmasked: list[tuple[Value, Axis]] = []
        self.notes: dict[tuple[int, str], Axis] = {}
        self.barriers: Counter[str] = Counter()
        for value in tape.values:
            if value.kind != "result":
                self.axes[value.index] = _axes_of_given(value)

    # --- What rules use -----------------------------------------------------------------------------

    def of(self, value: Value) -> Axes:
        """Return the axes of ``value``."""
        return self.axes[value.index]

    def same(self, one: Axis, other: Axis, op: Operation) -> None:
        """Index i of one axis is index i of the other. An axis of one index broadcasts: nothing is tied."""
        if one.size == other.size:
            unify(one, other, Reason(f"{op.kind} reads two axes index by index", op.index))
        elif one.size != 1 and other.size != 1:
            text = f"{op.kind} puts axes of {one.size} and {other.size} indices side by side"
            self.freeze([one, other], text, op)

    def freeze(self, axes: Iterable[Axis], text: str, op: Operation) -> None:
        """No index of ``axes`` may change, because of what ``text`` says of the operation."""
        reason = Reason(text, op.index)
        for axis in axes:
            freeze(axis, reason)

    def soften(self, axes: Iterable[Axis], text: str, op: Operation) -> None:
        """Dropping an index of ``axes`` is not the same as setting it to zero."""
        for axis in axes:
            soften(axis, Reason(text, op.index))

    def contract(self, op: Operation, *operands: tuple[Value, Axis], batch: Axes = ()) -> None:
        """Note a sum over an axis of the product of ``operands``; exact where one of them is zero."""
        self.contractions.append(Contraction(op, operands, batch))

    def note(self, op: Operation, name: str, axis: Axis) -> None:
        """Note that the number ``name`` of an operation, such as its groups, is the size of ``axis``."""
        self.notes[op.index, name] = axis

    def cost(self, op: Operation, axes: Sequence[Axis]) -> None:
        """Note multiply-accumulates."""
        self.costs.append(Cost(op, tuple(axes)))

    def frozen(self, n: int, text: str, op: Operation) -> Axis:
        """Return a new axis that may not change."""
        return fresh_frozen(n, [Reason(text, op.index)])

    # --- Running --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Apply the rules, then freeze what leaves the model."""
        from snnkit.dag.analysis.rules import find

        for op in self.tape.operations:
            if op.outputs and all(0 in value.shape for value in op.outputs):
                # Nothing to tie but what it is joined with later.
                results = [tuple(fresh(n) for n in value.shape) for value in op.outputs]
            else:
                module_rule = None if hasattr(op.target, "_schema") else module_rule_of(op.target)
                rule = module_rule.axes if module_rule else find(op)
                if rule is None:
                    self.barriers[op.kind] += 1
                    results = self._barrier(op, f"no rule for {op.kind}")
                else:
                    results = rule(op, self)
            self._store(op, results)
        for position, value in enumerate(self.tape.outputs):
            for axis in self.of(value):
                freeze(axis, Reason(f"output {position} of the model"))

    def _barrier(self, op: Operation, text: str) -> list[Axes]:
        for value in op.inputs:
            self.freeze(self.of(value), text, op)
        return [tuple(self.frozen(n, text, op) for n in value.shape) for value in op.outputs]

    def _store(self, op: Operation, results: list[Axes]) -> None:
        for value, axes in zip(op.outputs, results, strict=True):
            sizes = tuple(axis.size for axis in axes)
            if sizes != value.shape:
                raise AssertionError(f"rule for {op.kind}: {sizes} instead of {value.shape}")
            known = self.axes.get(value.index)
            if known is None:
                self.axes[value.index] = axes
            else:
                for one, other in zip(known, axes, strict=True):
                    self.same(one, other, op)

    def unfrozen(self, value: Value) -> list[Atom]:
        """Return the atoms of ``value`` that may change."""
        return [atom for axis in self.of(value) for atom in leaves(axis) if not atom.frozen]


def _axes_of_given(value: Value) -> Axes:
    if value.kind == "input":
        return tuple(fresh_frozen(n, [Reason(f"{value.name} of the model")]) for n in value.shape)
    if value.kind == "constant":
        text = "a tensor that is neither parameter nor buffer"
        return tuple(fresh_frozen(n, [Reason(text)]) for n in value.shape)
    return tuple(fresh(n) for n in value.shape)


def propagate(tape: Tape) -> Propagation:
    """Return the axes of every value on ``tape``."""
    propagation = Propagation(tape)
    propagation.run()
    return propagation
