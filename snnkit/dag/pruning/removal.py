"""Building the smaller graph: remaining slices of the weights, and every size derived anew."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snnkit.dag.analysis.copying import named_tensors
from snnkit.dag.analysis.module_rules import resize_of
from snnkit.dag.channels import Coupling, Group
from snnkit.dag.dag_module import DagModule
from snnkit.dag.errors import GraphError
from snnkit.dag.functions import Function
from snnkit.dag.pruning.arguments import resized_call
from snnkit.dag.pruning.numbers import Numbers
from snnkit.dag.pruning.sizes import NewSizes, Sizes
from snnkit.dag.vertex import InnerVertex

__all__ = ["PruningError", "removable", "remove_channels"]

Keep = Mapping[Group, NDArray[np.bool_]]


class PruningError(GraphError):
    """Channels cannot be removed, or the smaller model does not compute what it must."""


def removable(dag: DagModule, coupling: Coupling) -> dict[Group, str]:
    """Return the prunable groups that cannot be removed all the same, each with the reason.

    Those are groups with weights in a module of which nobody said how a smaller one is built.
    """
    owners: dict[str, InnerVertex] = {}
    names = _names(dag)
    for _, vertex in dag.traverse_paths():
        if isinstance(vertex, InnerVertex) and not isinstance(vertex.module, DagModule):
            for tensor in _held(vertex.module).values():
                if resize_of(vertex.module) is None:
                    owners[names[id(tensor)]] = vertex
    found = {}
    for group in coupling.prunable:
        for member in group.members:
            if member.name in owners:
                vertex = owners[member.name]
                cls = type(vertex.module).__name__
                found[group] = f"{vertex.name!r} is a {cls}, of which no smaller one can be built"
    return found


def _held(module: nn.Module) -> dict[str, Tensor]:
    named = dict(nn.Module.named_parameters(module, remove_duplicate=False))
    return {**named, **dict(nn.Module.named_buffers(module, remove_duplicate=False))}


def _names(dag: DagModule) -> dict[int, str]:
    """Return the first path of each parameter and buffer, by identity."""
    names: dict[int, str] = {}
    for name, tensor in named_tensors(dag).items():
        names.setdefault(id(tensor), name)
    return names


def remove_channels(dag: DagModule, coupling: Coupling, keep: Keep) -> DagModule:
    """Return a smaller graph without the channels that ``keep`` leaves out; ``dag`` is not changed.

    Args:
        dag: The graph that ``coupling`` was made from.
        coupling: Its coupling.
        keep: Which channels remain, ``(size,)``, of the groups that lose some.

    Raises:
        PruningError: no channel of a group would remain, or a group cannot be removed.
    """
    _check(dag, coupling, keep)
    sizes = Sizes(coupling, keep)
    smaller = dag.copy()
    slices = _Slices(dag, sizes)
    done: dict[int, nn.Module] = {}
    originals = dict(dag.traverse_paths())
    numbers = Numbers(dag, coupling.tape.calls, sizes.new_shape)
    visited: set[int] = set()
    for path, vertex in list(smaller.traverse_paths()):
        call = coupling.tape.calls.get(path)
        if not isinstance(vertex, InnerVertex) or call is None or id(vertex) in visited:
            continue
        visited.add(id(vertex))
        original = originals[path]
        if isinstance(vertex.module, Function):
            _resize_function(vertex, sizes.of_call(call, numbers))
        elif not isinstance(vertex.module, DagModule) and isinstance(original, InnerVertex):
            _resize_module(vertex, original.module, sizes.of_call(call, numbers), slices, done)
    _share_again(dag, smaller, slices)
    return smaller


def _check(dag: DagModule, coupling: Coupling, keep: Keep) -> None:
    stuck = removable(dag, coupling)
    problems = [f"{group}: {stuck[group]}." for group in keep if group in stuck]
    problems += [f"{group}: no channel would remain." for group, mask in keep.items() if not mask.any()]
    problems += [
        f"{group}: the mask has {len(mask)} entries."
        for group, mask in keep.items()
        if len(mask) != group.size
    ]
    if problems:
        raise PruningError("Channels cannot be removed.\n" + "\n".join(problems))


class _Slices:
    """The remaining slices of parameters and buffers, one tensor for each however often it is used."""

    def __init__(self, dag: DagModule, sizes: Sizes) -> None:
        self._names = _names(dag)
        self._sizes = sizes
        self.made: dict[int, Tensor] = {}

    def of(self, tensor: Tensor) -> Tensor:
        """Return the slice of a tensor of the original graph."""
        found = self.made.get(id(tensor))
        if found is None:
            found = self.made[id(tensor)] = self._cut(tensor)
        return found

    def _cut(self, tensor: Tensor) -> Tensor:
        value = self._sizes.coupling.value_named(self._names[id(tensor)])
        data = tensor.detach()
        for axis in range(data.ndim):
            kept = self._sizes.kept(value, axis)
            if not kept.all():
                index = torch.from_numpy(np.flatnonzero(kept)).to(data.device)
                data = data.index_select(axis, index)
        data = data.clone() if data.shape == tensor.shape else data
        if isinstance(tensor, nn.Parameter):
            return nn.Parameter(data, requires_grad=tensor.requires_grad)
        return data


def _resize_function(vertex: InnerVertex, sizes: NewSizes) -> None:
    call = resized_call(vertex, sizes)
    if call.operation != vertex.operation:
        vertex.module = Function(call.operation)
    vertex._owner().set_arguments(vertex, call.args, call.kwargs)


def _resize_module(
    vertex: InnerVertex, original: nn.Module, sizes: NewSizes, slices: _Slices, done: dict[int, nn.Module]
) -> None:
    held = _held(original)
    smaller = {name: slices.of(tensor) for name, tensor in held.items()}
    cut = any(smaller[name].shape != tensor.shape for name, tensor in held.items())
    if not cut and not sizes.changed:
        return
    resize = resize_of(original)
    if resize is None:
        return
    if id(original) not in done:
        done[id(original)] = resize(original, smaller, sizes)
    vertex.module = done[id(original)]


def _share_again(dag: DagModule, smaller: DagModule, slices: _Slices) -> None:
    """Let tied parameters be one again, also where a layer that was not cut holds one."""
    originals = dict(nn.Module.named_modules(dag, remove_duplicate=False))
    for path, module in nn.Module.named_modules(smaller, remove_duplicate=False):
        original = originals.get(path)
        if original is None:
            continue
        for table in ("_parameters", "_buffers"):
            held: dict[str, Any] = getattr(module, table)
            for name, tensor in getattr(original, table).items():
                if tensor is not None and held.get(name) is not None and id(tensor) in slices.made:
                    held[name] = slices.made[id(tensor)]
