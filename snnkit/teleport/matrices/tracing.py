"""Following coordinates through every operation of a forward pass."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from snnkit.dag.analysis.copying import named_tensors, plain_path
from snnkit.dag.analysis.tape import Operation, Tape, Value
from snnkit.teleport.matrices.constraints import Constraints, Kind, Side
from snnkit.teleport.matrices.provenance import ZERO, Tracked, mixed, positions
from snnkit.teleport.matrices.views import Given, View

__all__ = ["Condition", "Trace", "rule", "trace"]

_ZEROS = ("zeros", "new_zeros", "zeros_like", "zero_", "zero")

Rule = Callable[[Operation, "Trace"], None]
_rules: dict[str, tuple[Rule, bool]] = {}


def rule(*kinds: str, of_parameters: bool = False) -> Callable[[Rule], Rule]:
    """Enter the decorated function for operations called ``kinds``, without the prefix ``aten.``.

    It is called if an input has coordinates; with ``of_parameters`` also if one is made of a parameter.
    """

    def enter(function: Rule) -> Rule:
        _rules.update(dict.fromkeys(kinds, (function, of_parameters)))
        return function

    return enter


@dataclass(frozen=True)
class Condition:
    """What must hold of a tensor for the symmetries to be symmetries.

    Args:
        name: Path of the parameter or buffer.
        is_zero: All elements must be zero; else they must all be equal.
    """

    name: str
    is_zero: bool = False


@dataclass(eq=False)
class Trace:
    """The state of following a tape.

    Attributes:
        constraints: What the operations seen so far ask for.
        conditions: What they rely on, each with the nodes of which it must be so (none: of all).
        gains_read: Whether gains that multiply coordinate by coordinate take scales from what they multiply;
            else they give them to what they make.
        gains: The nodes of these gains.
    """

    tape: Tape
    tensors: dict[str, Tensor]
    lasting: frozenset[str]
    constraints: Constraints = field(default_factory=Constraints)
    conditions: list[tuple[Condition, Tensor]] = field(default_factory=list)
    gains_read: bool = False
    gains: dict[str, Side] = field(default_factory=dict)
    _tracked: dict[int, Tracked] = field(default_factory=dict)
    _given: dict[int, Given] = field(default_factory=dict)
    _zeros: set[int] = field(default_factory=set)
    _fixed_parameters: dict[str, str] = field(default_factory=dict)

    # --- What is known of a value -------------------------------------------------------------------

    def tracked(self, value: object) -> Tracked | None:
        """Return what the elements of a hidden tensor are; None if it has no coordinates."""
        return self._tracked.get(value.index) if isinstance(value, Value) else None

    def given(self, value: object) -> Given | None:
        """Return how a tensor is made of a parameter; None if it is not."""
        return self._given.get(value.index) if isinstance(value, Value) else None

    def is_zero(self, value: object) -> bool:
        """Whether a tensor is zero whatever the inputs are."""
        return isinstance(value, Value) and value.index in self._zeros

    def knows(self, op: Operation) -> bool:
        """Whether an operation reads anything that has coordinates."""
        return any(value.index in self._tracked for value in op.inputs)

    def set(self, value: Value, found: Tracked | Given | None) -> None:
        """Note what a result is."""
        for table in (self._tracked, self._given):
            table.pop(value.index, None)
        self._zeros.discard(value.index)
        if isinstance(found, Tracked):
            self._tracked[value.index] = found
        elif isinstance(found, Given):
            self._given[value.index] = found

    def set_zero(self, value: Value) -> None:
        """Note that a result is zero."""
        self.set(value, None)
        self._zeros.add(value.index)

    # --- What rules use -----------------------------------------------------------------------------

    def fix(self, value: object, op: Operation) -> None:
        """Nothing of a tensor may be mixed, because of what ``op`` does with it."""
        found, source = self.tracked(value), self.given(value)
        if found is not None:
            self.constraints.fix(found.rows, f"{op!r}")
        if source is not None:
            self._fixed_parameters[source.source.name] = f"{op!r}"

    def of_axis(self, op: Operation, view: View, axis: int, shape: tuple[int, ...], where: int) -> Tracked:
        """Return a result whose axis ``where`` has the indices of a parameter's axis as coordinates."""
        side = self.constraints.side(view, axis)
        side.used[:] = True
        lead = (*shape[:where], 1, *shape[where + 1 :])
        column = [1] * len(shape)
        column[where] = -1
        rows = (side.first + torch.arange(side.size)).reshape(column).expand(shape)
        return Tracked(rows, mixed(op.index, positions(lead)).expand(shape))

    def absorb(self, op: Operation, view: View, axis: int, found: Tracked) -> None:
        """A parameter's axis is summed over with the last axis of ``found``."""
        side = self.constraints.side(view, axis)
        rows, functional = (t.reshape(-1, side.size) for t in (found.rows, found.functional))
        occupied = (rows != ZERO).any(1)
        rows, functional = rows[occupied], functional[occupied]
        nodes = (side.first + torch.arange(side.size)).expand(rows.shape)
        if found.power != 1:
            self.constraints.fix(found.rows, f"{op!r}")
        self.constraints.fix(nodes[rows < 0], f"{op!r}")
        self.constraints.tie(nodes, rows, -1)
        contexts = torch.arange(len(rows))[:, None]
        self.constraints.use(rows, mixed(op.index, contexts, functional))
        side.labels += mixed(op.index, contexts, functional).sum(0)
        side.used |= len(rows) > 0

    def fix_axis(self, op: Operation, view: View, axis: int) -> None:
        """A parameter's axis is read in a way that no matrix of it can be absorbed by."""
        if view.sizes[axis] > 1:
            side = self.constraints.side(view, axis)
            self.constraints.fix(side.first + torch.arange(side.size), f"{op!r}")

    def as_vector(self, found: Given, functional: Tensor | None = None) -> Tracked:
        """Return a parameter that is used as it is: its elements are coordinates of their own.

        Without ``functional``, elements that differ in the last index only are one vector.
        """
        source = found.source
        side = self.constraints.side(View(source.name, 0, (_numel(source),), (1,)), 0)
        elements = found.elements
        if functional is None:
            lead = elements.movedim(-1, 0)[:1].movedim(0, -1) if elements.dim() else elements
            functional = mixed(source.index, lead).expand(elements.shape)
        else:
            elements = elements.expand(functional.shape)
        contexts = mixed(source.index, functional).reshape(-1)
        side.labels.index_add_(0, elements.reshape(-1), contexts)
        side.used[elements.reshape(-1)] = True
        return Tracked(side.first + elements, functional)

    def group(self, op: Operation, found: Tracked, axes: list[int], kind: Kind) -> None:
        """Along ``axes`` only whole blocks occur, of matrices of at most ``kind``."""
        kept = [axis for axis in range(len(found.shape)) if axis not in axes]
        lines = [t.permute(*kept, *axes).flatten(len(kept)) for t in (found.rows, found.functional)]
        rows, functional = (t.reshape(-1, t.shape[-1]) for t in lines)
        self.constraints.use(rows, mixed(op.index, torch.arange(len(rows))[:, None], functional))
        self.constraints.group(rows, functional, kind)

    def all_equal(self, value: Value, rows: Tensor) -> bool:
        """Whether all elements of a parameter are equal now; for ``rows`` this is then a condition."""
        found = self.given(value)
        if found is None:
            return False
        tensor = self.tensors[found.source.name]
        if tensor.device.type == "meta" or tensor.numel() == 0:
            return False
        equal = bool((tensor == tensor.reshape(-1)[0]).all())
        if equal:
            self.conditions.append((Condition(found.source.name), rows.unique()))
            self._fixed_parameters[found.source.name] = "all its elements are equal, and must remain so"
        return equal

    # --- Running ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Follow the whole tape."""
        last_use = {value.index: op.index for op in self.tape.operations for value in op.inputs}
        for value in self.tape.parameters.values():
            self._begin(value)
        for op in self.tape.operations:
            self._step(op)
            for value in (*op.inputs, *op.outputs):
                if last_use.get(value.index, -1) <= op.index and value not in self.tape.outputs:
                    self._tracked.pop(value.index, None)
        for value in self.tape.outputs:
            found = self.tracked(value)
            if found is not None:
                self.constraints.fix(found.rows, "the model returns it")
            source = self.given(value)
            if source is not None:
                self._fixed_parameters[source.source.name] = "the model returns it"
        for side in self.constraints.sides:
            if side.view.name in self._fixed_parameters:
                nodes = side.first + torch.arange(side.size)
                self.constraints.fix(nodes, self._fixed_parameters[side.view.name])

    def _begin(self, value: Value) -> None:
        tensor = self.tensors.get(value.name)
        if tensor is None or not value.dtype.is_floating_point:
            return
        if value.name in self.lasting:
            self._given[value.index] = Given(value, value.shape, lambda whole: whole)
        elif tensor.device.type != "meta" and not tensor.any():
            # A buffer that no file keeps may be relied on only as long as it is zero.
            self._zeros.add(value.index)
            if any(value in op.inputs for op in self.tape.operations):
                self.conditions.append((Condition(value.name, is_zero=True), torch.zeros(0)))

    def _step(self, op: Operation) -> None:
        entered = _rules.get(op.kind.removeprefix("aten.").rstrip("_"))
        known = entered is not None and (
            self.knows(op)
            or (entered[1] and any(v.index in self._given or v.index in self._zeros for v in op.inputs))
        )
        if entered is None or not known or (op.mutates and not self._may_write(op)):
            self.barrier(op)
        else:
            entered[0](op, self)

    def _may_write(self, op: Operation) -> bool:
        """Whether an operation overwrites a whole result that nothing else shows a part of."""
        written = op.outputs[0] if op.outputs else None
        whole = self.tape.values[written.root] if written is not None else None
        if written is None or whole is None or whole.kind != "result" or _numel(whole) != _numel(written):
            return False
        if self.is_zero(written):
            return False
        alike = [v for v in self.tape.values if v.root == written.root and v is not written]
        return not any(v.index in self._tracked for v in alike)

    def barrier(self, op: Operation) -> None:
        """Nothing that an operation reads may be mixed, and nothing is known of what it returns."""
        touched = {value.root for value in op.inputs} if op.mutates else set()
        for value in op.inputs:
            self.fix(value, op)
        for index in [i for i in self._tracked if self.tape.values[i].root in touched]:
            self.constraints.fix(self._tracked.pop(index).rows, f"{op!r}")
        self._zeros -= {index for index in self._zeros if self.tape.values[index].root in touched}
        for value in op.outputs:
            self.set(value, None)
        if op.kind.removeprefix("aten.") in _ZEROS:
            self._zeros.update(value.index for value in op.outputs)


def _numel(value: Value) -> int:
    n = 1
    for size in value.shape:
        n *= size
    return n


def trace(model: nn.Module, tape: Tape, *, gains_read: bool = False) -> Trace:
    """Follow the coordinates of ``model`` along its tape."""
    from snnkit.teleport.matrices import rules  # noqa: F401 - fills the table of rules

    tensors = named_tensors(model)
    kept = {plain_path(name) for name in nn.Module.state_dict(model)}
    found = Trace(tape, tensors, frozenset(kept & set(tensors)), gains_read=gains_read)
    found.run()
    return found
