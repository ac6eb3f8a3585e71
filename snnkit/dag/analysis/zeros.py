"""Where activations are zero once the weights of an index are; what this says about exactness."""

from functools import partial

from snnkit.dag.analysis.axes import Atom, Reason, leaves
from snnkit.dag.analysis.flow import Flow, never
from snnkit.dag.analysis.module_rules import module_rule_of
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules import entry_of
from snnkit.dag.analysis.tape import Operation, Value
from snnkit.dag.analysis.unification import soften

__all__ = ["mark_inexact_sums", "zero_atoms"]


def mark_inexact_sums(p: Propagation) -> None:
    """Soften atoms that something sums over although neither factor is zero where their weights are."""
    zeros = zero_atoms(p)
    for contraction in p.contractions:
        operands = [zeros.get(value.index, frozenset()) for value, _ in contraction.operands]
        for atom in leaves(contraction.axis):
            if not atom.frozen and not any(atom in found for found in operands):
                op = contraction.operation
                text = f"{op.kind} sums over activations that are not zero where the weights are"
                soften(atom, Reason(text, op.index))


def zero_atoms(p: Propagation) -> dict[int, frozenset[Atom]]:
    """Return, by value, the atoms for which the value is zero at indices whose weights are zero."""
    zeros: dict[int, frozenset[Atom]] = {}
    unmasked = {(value.index, atom) for value, axis in p.unmasked for atom in leaves(axis)}
    by_root: dict[int, list[Value]] = {}
    for value in p.tape.values:
        by_root.setdefault(value.root, []).append(value)
        if value.kind == "parameter" and value.dtype.is_floating_point:
            found = (atom for atom in p.unfrozen(value) if (value.index, atom) not in unmasked)
            zeros[value.index] = frozenset(found)
    open_atoms = {index: frozenset(_open(p, index)) for index in p.axes}
    for op in p.tape.operations:
        _step(p, op, open_atoms, zeros, by_root)
    return zeros


def _open(p: Propagation, index: int) -> list[Atom]:
    return [atom for axis in p.axes[index] for atom in leaves(axis) if not atom.frozen]


def _step(
    p: Propagation,
    op: Operation,
    open_atoms: dict[int, frozenset[Atom]],
    zeros: dict[int, frozenset[Atom]],
    by_root: dict[int, list[Value]],
) -> None:
    flow = _flow_of(op)
    for out in op.outputs:
        found = frozenset(
            atom
            for atom in open_atoms[out.index]
            if flow(op, partial(_answer, atom=atom, open_atoms=open_atoms, zeros=zeros))
        )
        if op.mutates:
            # Whatever shares the memory that was written is zero only where it was and what was written is.
            for value in by_root[out.root]:
                before = zeros.get(value.index, frozenset())
                zeros[value.index] = found if value is out and _whole(op, out) else before & found
        else:
            zeros[out.index] = found


def _whole(op: Operation, out: Value) -> bool:
    """Whether every element of a tensor is overwritten, not a view of a larger one."""
    return out.root == out.index


def _answer(
    value: Value, atom: Atom, open_atoms: dict[int, frozenset[Atom]], zeros: dict[int, frozenset[Atom]]
) -> bool | None:
    if atom not in open_atoms[value.index]:
        return None
    return atom in zeros.get(value.index, ())


def _flow_of(op: Operation) -> Flow:
    if not hasattr(op.target, "_schema"):
        rule = module_rule_of(op.target)
        return rule.flow if rule else never
    entry = entry_of(op)
    return entry.flow if entry else never
