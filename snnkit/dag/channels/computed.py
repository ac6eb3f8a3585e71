"""Channels that may not change freely only because weights are computed from parameters."""

from snnkit.dag.analysis.axes import Reason, leaves
from snnkit.dag.analysis.tape import Operation
from snnkit.dag.channels.groups import Coupling, Group

__all__ = ["softened_by_weights", "weight_computations"]


def weight_computations(found: Coupling) -> frozenset[int]:
    """Return the operations that compute weights from parameters alone and thereby make channels inexact.

    A standardised weight has statistics that run over its input channels: without some of them it is
    another one. The indices are those of the tape; of weights that stand as they are, there are none.
    """
    behind = _Behind(found)
    reasons = {
        reason
        for value in found.tape.parameters.values()
        for axis in found.propagation.of(value)
        for atom in leaves(axis)
        for reason in (*atom.soft, *atom.frozen)
    }
    return frozenset(index for reason in reasons for index in behind.of(reason))


def softened_by_weights(found: Coupling) -> tuple[Group, ...]:
    """Return the soft groups that are soft for no other reason than that weights are computed."""
    behind = _Behind(found)
    return tuple(
        group for group in found.groups if group.soft and all(behind.of(reason) for reason in group.soft)
    )


class _Behind:
    """Looks up which computations of weights are behind a reason."""

    def __init__(self, found: Coupling) -> None:
        tape = found.tape
        free = {value.index for value in tape.values if value.kind in ("parameter", "buffer", "constant")}
        self._made: dict[int, Operation] = {}
        for op in tape.operations:
            if all(value.index in free for value in op.inputs):
                free.update(value.index for value in op.outputs)
                self._made |= {value.index: op for value in op.outputs}
        self._computing = {op.index for op in self._made.values()}
        self._contractions = {c.operation.index: c for c in found.propagation.contractions}

    def of(self, reason: Reason) -> tuple[int, ...]:
        if reason.operation in self._computing:
            return (reason.operation,)
        contraction = self._contractions.get(reason.operation)
        if contraction is None:
            return ()
        # A sum over activations is exact where the weights are zero, which computed ones need not be.
        made = [self._made[value.index] for value, _ in contraction.operands if value.index in self._made]
        return tuple(op.index for op in made)
