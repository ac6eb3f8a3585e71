"""Finding the groups of a model."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from snnkit.dag.analysis.axes import Atom, leaves
from snnkit.dag.analysis.propagation import Propagation, propagate
from snnkit.dag.analysis.recording import record
from snnkit.dag.analysis.tape import Tape, Value
from snnkit.dag.analysis.zeros import mark_inexact_sums
from snnkit.dag.channels.groups import Coupling, Group, Member, occurrences

__all__ = ["coupling", "coupling_of_tape"]


def coupling(
    model: nn.Module, example_inputs: Any, example_kwargs: Mapping[str, Any] | None = None
) -> Coupling:
    """Find out which channels of which tensors must live, die, scale or move together.

    The model runs once, as a copy in evaluation mode and without memory for its tensors; it is not changed.
    Operations without a rule freeze the axes they touch: the answer stays correct, only less is free.

    Args:
        model: Any module, or a :class:`~snnkit.dag.DagModule`.
        example_inputs: A tensor, or the positional arguments, for spiking models ``(batch, time, channels)``.
        example_kwargs: Keyword arguments.

    Raises:
        TapeError: the model does not run on these inputs.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))
        >>> print(coupling(model, torch.randn(1, 3, 16, 16)))
        Group 0: 8 channels, exact
            0.weight axis 0 out
            0.bias axis 0 per-channel
            1.weight axis 0 per-channel
            1.bias axis 0 per-channel
            3.weight axis 1 in
            1.running_mean axis 0 state
            1.running_var axis 0 state
    """
    return coupling_of_tape(record(model, example_inputs, example_kwargs))


def coupling_of_tape(tape: Tape) -> Coupling:
    """Return the coupling of a model that was already recorded."""
    propagation = propagate(tape)
    mark_inexact_sums(propagation)
    summed = _summed_axes(propagation)
    members: dict[Atom, list[Member]] = {}
    for value in tape.parameters.values():
        for atom, member in _members_of(value, propagation, summed):
            members.setdefault(atom, []).append(member)
    kinds, bare = _kinds(propagation), _summed_without_weights(propagation)
    groups = tuple(
        Group(
            index=index,
            size=atom.size,
            members=tuple(found),
            frozen=(),
            soft=tuple(atom.soft),
            atom=atom,
            kind=kinds.get(atom, "channels"),
            only_read_by_weights=atom not in bare,
        )
        for index, (atom, found) in enumerate(members.items())
    )
    return Coupling(tape, propagation, groups)


def _members_of(value: Value, p: Propagation, summed: set[int]) -> Iterator[tuple[Atom, Member]]:
    axes = p.of(value)
    is_matrix = any(id(axis) in summed for axis in axes)
    for position, axis in enumerate(axes):
        if value.kind == "buffer":
            role = "state"
        elif id(axis) in summed:
            role = "in"
        else:
            role = "out" if is_matrix else "per-channel"
        for atom in dict.fromkeys(leaves(axis)):
            if not atom.frozen:
                found = list(occurrences(axis, atom))
                places = np.concatenate([positions for positions, _ in found], 1)
                pattern = ", ".join(words for _, words in found)
                yield atom, Member(value.name, position, role, places, axis.size, pattern)


def _summed_axes(p: Propagation) -> set[int]:
    """Return the axes of parameters that are summed over, by identity."""
    sources = _weights_behind(p)
    found: set[int] = set()
    for contraction in p.contractions:
        for value, axis in contraction.operands:
            atoms = set(leaves(axis))
            for parameter in sources.get(value.index, ()):
                axes = p.of(parameter)
                same = [own for own in axes if own is axis]
                # A view may have regrouped the axes; then the atoms tell which one it was.
                alike = [own for own in axes if atoms & set(leaves(own))]
                found.update(id(own) for own in same or alike)
    return found


def _kinds(p: Propagation) -> dict[Atom, str]:
    """Tell the parts of attention and of grouped convolutions from plain channels."""
    kinds: dict[Atom, str] = {}
    shapes = {op.index: op.inputs[0].shape for op in p.tape.operations if op.inputs}
    for (index, _), axis in p.notes.items():
        if axis.size not in shapes[index][:2]:  # in a depthwise convolution a group is a channel
            kinds |= dict.fromkeys(leaves(axis), "groups")
    behind = _weights_behind(p)
    for contraction in p.contractions:
        activations = [value for value, _ in contraction.operands if value.index not in behind]
        if len(activations) > 1:
            heads = {atom for axis in contraction.batch for atom in leaves(axis)}
            kinds |= dict.fromkeys(heads, "heads")
            if heads:
                kinds |= dict.fromkeys(leaves(contraction.axis), "head channels")
    return kinds


def _summed_without_weights(p: Propagation) -> set[Atom]:
    behind = _weights_behind(p)
    return {
        atom
        for contraction in p.contractions
        if all(value.index not in behind for value, _ in contraction.operands)
        for atom in leaves(contraction.axis)
    }


def _weights_behind(p: Propagation) -> dict[int, frozenset[Value]]:
    """Return, for values that depend on no input, the parameters they are made from."""
    sources = {v.index: frozenset([v]) for v in p.tape.parameters.values() if v.kind == "parameter"}
    free = {value.index for value in p.tape.values if value.kind in ("parameter", "buffer", "constant")}
    for op in p.tape.operations:
        if all(value.index in free for value in op.inputs):
            behind = frozenset().union(*(sources.get(value.index, frozenset()) for value in op.inputs))
            for value in op.outputs:
                free.add(value.index)
                sources[value.index] = behind
    return sources
