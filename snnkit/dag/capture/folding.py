"""Making constants of the sizes that do not depend on the batch, and dropping what nothing needs."""

from typing import Any

from torch import nn

from ..arguments import in_mode, leaves, map_leaves
from ..errors import GraphError
from ..functions import FACTORIES, RANDOM, Function
from ..registry import call_module
from .cloning import Clone
from .nodes import Node, Recording, Scope

__all__ = ["drop_unused", "fold_sizes"]

_NUMBERS = frozenset({"size", "number", "control"})


def fold_sizes(recording: Recording, clone: Clone, inputs: dict[str, Any] | None) -> str:
    """Put the values of sizes in place of their nodes, but for those that ``inputs`` change.

    Args:
        recording: Changed in place.
        clone: The copy of the model that was recorded.
        inputs: Other inputs, as a rule of another batch size; None makes all sizes constant.

    Returns:
        Why no size could be left open: empty if all went well.
    """
    mode = "training" if clone.module.training else "evaluation"
    # What only the other mode computes is not known here: it stays as it is.
    numbers = [node for node in recording.nodes if node.operation in _NUMBERS and node.when in ("", mode)]
    if not numbers:
        return ""
    problem, values = "", None
    if inputs is not None:
        try:
            values = _replay(recording, clone, inputs, numbers)
        except (GraphError, RuntimeError, ValueError, IndexError, TypeError, NotImplementedError) as error:
            problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    fixed: dict[int, Any] = {}
    for node in numbers:
        if node.operation != "control" and (values is None or _is_fixed(node, values, fixed)):
            fixed[node.index] = node.value

    def constant(leaf: Any) -> Any:
        return fixed[leaf.index] if isinstance(leaf, Node) and leaf.index in fixed else leaf

    for node in recording.nodes:
        node.args, node.kwargs = map_leaves(constant, node.args), map_leaves(constant, node.kwargs)
    recording.output = map_leaves(constant, recording.output)
    dropped = {
        node.index
        for node in numbers
        if node.index in fixed or (node.operation == "control" and not isinstance(node.args[0], Node))
    }
    _drop(recording, dropped)
    return problem


def _is_fixed(node: Node, values: dict[int, Any], fixed: dict[int, Any]) -> bool:
    """Whether a number is the same for any batch: a size that did not change, or arithmetic with such.

    That a result did not change says nothing: ``batch // 8`` is 0 for many a batch.
    """
    if node.operation == "number":
        return all(source.index in fixed for source in node.sources)
    return values[node.index] == node.value


def _replay(recording: Recording, clone: Clone, inputs: dict[str, Any], wanted: list[Node]) -> dict[int, Any]:
    """Compute the nodes wanted, and what they need, on other inputs."""
    needed = _with_sources(wanted)
    training = clone.module.training
    modules = dict(nn.Module.named_modules(clone.module))
    tensors = {id(origin.tensor): tensor for tensor, origin in
               ((tensor, clone.origins[id(tensor)]) for tensor in clone.tensors)}  # fmt: skip
    values: dict[int, Any] = {node.index: inputs[name] for name, node in recording.inputs.items()}

    def value_of(leaf: Any) -> Any:
        return values[leaf.index] if isinstance(leaf, Node) else leaf

    for node in recording.nodes:
        if node.index not in needed or node.kind == "input":
            continue
        if node.kind == "tensor":
            values[node.index] = tensors[id(node.tensor)]
            continue
        args = map_leaves(value_of, in_mode(node.args, training))
        kwargs = map_leaves(value_of, in_mode(node.kwargs, training))
        if node.kind == "module":
            values[node.index] = call_module(modules[node.path], *args, **kwargs)
        elif node.when and training != (node.when == "training"):
            values[node.index] = args[0] if args else None
        else:
            values[node.index] = _compute(node, args, kwargs, clone)
    return values


def _compute(node: Node, args: Any, kwargs: Any, clone: Clone) -> Any:
    device = clone.tensors[0].device if clone.tensors else None
    if device is not None and device.type == "meta":
        if "device" in kwargs or node.operation in FACTORIES:
            kwargs = {**kwargs, "device": device}
        if node.operation == "attribute" and node.args[1] == "device":
            return device
    return Function(node.operation, node.in_place)(*args, **kwargs)


def _with_sources(nodes: list[Node]) -> set[int]:
    pending, needed = list(nodes), set()
    while pending:
        node = pending.pop()
        if node.index not in needed:
            needed.add(node.index)
            pending += node.sources
    return needed


def drop_unused(recording: Recording) -> None:
    """Drop functions whose value nothing reads; layers, writes and random numbers stay."""
    keep = [leaf for leaf in leaves(recording.output) if isinstance(leaf, Node)]
    keep += [
        node
        for node in recording.nodes
        if node.kind in ("module", "input") or node.in_place
        or node.operation in RANDOM | {"control", "check"}
    ]  # fmt: skip
    needed = _with_sources(keep)
    _drop(recording, {node.index for node in recording.nodes} - needed)


def _drop(recording: Recording, indices: set[int]) -> None:
    recording.nodes = [node for node in recording.nodes if node.index not in indices]
    pending: list[Scope] = [recording.root]
    while pending:
        scope = pending.pop()
        scope.items = [item for item in scope.items if isinstance(item, Scope) or item.index not in indices]
        pending += [item for item in scope.items if isinstance(item, Scope)]
