"""Watches a model run, and writes every call down."""

import inspect
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..arguments import is_namedtuple, leaves, map_leaves
from ..errors import CaptureError
from ..functions import FACTORIES, canonical
from .aliases import Aliases, can_be_functional
from .cloning import Clone, Origin
from .nodes import Node, Recording, Scope
from .sizes import Decision, TracedInt, place_of_call
from .special import handler_for

__all__ = ["Recorder"]


class Recorder(TorchFunctionMode):
    """Records the calls of torch functions and of modules while it is the active mode.

    Args:
        clone: The copy of the model that runs; its tensors are known by where they come from.
        device: What a factory without a device makes: the meta device while the clone lives there.
        reported: The device that the model's code is told of, where it asks.
        functional: Turn writes into tensors into functions wherever nothing else sees the difference.
    """

    def __init__(
        self, clone: Clone, device: torch.device | None, reported: torch.device, functional: bool
    ) -> None:
        super().__init__()
        self.clone = clone
        self.thread = threading.get_ident()
        self.device = device
        self.reported = reported
        self.functional = functional
        self.nodes: list[Node] = []
        self.root = Scope("", clone.module, None)
        self.scope = self.root
        self.is_recording = False
        self.reads_sizes = False
        self.muted = 0
        self.aliases = Aliases()
        self._nodes_of: dict[int, tuple[weakref.ref[Tensor], Node]] = {}
        self._free: dict[tuple[int, int], Node] = {}
        self._sizes: dict[tuple[int, int], Node] = {}
        self._results: dict[int, tuple[Any, Node]] = {}
        self._reads: dict[tuple[str, Any], Tensor] = {}
        self._placed = {clone.origins[id(tensor)].path: tensor for tensor in reversed(clone.tensors)}

    @property
    def is_tracing(self) -> bool:
        """Whether sizes are followed at the moment: not inside a layer or a function of torch."""
        return self.is_recording and not self.muted

    # --- What torch calls -----------------------------------------------------------------------

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one call, and write it down unless it is inside a layer."""
        kwargs = kwargs or {}
        if self.muted or not self.is_recording:
            return func(*args, **kwargs)
        handler = handler_for(func)
        if handler is not None:
            return handler(self, func, args, kwargs)
        return self.record(func, args, kwargs)

    def record(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function and write it down as a node."""
        args, kwargs = self._plain(args), self._plain(kwargs)
        try:
            call = canonical(func, args, kwargs)
        except (CaptureError, TypeError, IndexError, KeyError) as error:
            raise CaptureError(f"{self.where()}: {error}") from None
        written = call.args[0] if call.writes else None
        before = self.translate([call.args, call.kwargs])
        in_place = written is not None and not (
            self.may_be_functional(written) and can_be_functional(call, written)
        )
        run_args, run_kwargs = self._on_device(func, call.operation, args, kwargs)
        with self.quiet():
            result = func(*run_args, **run_kwargs)
        if written is not None:
            # Such as x[0] = 1, which returns nothing: the value is the tensor written into.
            node = self.add("function", call.operation, before[0], before[1], operation=call.operation)
            node.in_place = in_place
            self.bind(written, node)
            return result
        result = self._distinct(result, args, kwargs)
        node = self.add("function", call.operation, before[0], before[1], operation=call.operation)
        return self.bind_result(result, node)

    def bind_result(self, result: Any, node: Node) -> Any:
        """Let the tensors in a result stand for the node, or for what is selected from it."""
        if isinstance(result, Tensor):
            if not torch.is_grad_enabled() and (result.is_floating_point() or result.is_complex()):
                # The model computes this without gradients, and so must the graph.
                node = self.add("function", "detach", (node,), {}, operation="detach")
            self.bind(result, node)
            return result
        if isinstance(result, bool) or result is None or isinstance(result, str):
            return result
        if isinstance(result, int):
            return TracedInt(result, self, "node", node)
        if isinstance(result, list | tuple):
            if type(result) not in (list, tuple):
                self._results[id(result)] = (result, node)
            for index, item in enumerate(result):
                if isinstance(item, Tensor | list | tuple | dict):
                    self.bind_result(item, self._selected(node, index))
        elif isinstance(result, dict):
            for key, item in result.items():
                if isinstance(item, Tensor | list | tuple | dict):
                    self.bind_result(item, self._selected(node, key))
        return result

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Record nothing inside."""
        self.muted += 1
        try:
            yield
        finally:
            self.muted -= 1

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on nothing but numbers in the model's code."""
        found = self._nodes_of.get(id(tensor))
        if found is None or found[0]() is not tensor:
            return False
        pending, seen = [found[1]], set()
        while pending:
            node = pending.pop()
            if node.kind != "function" or node.operation == "size":
                return False
            seen.add(node.index)
            pending += [source for source in node.sources if source.index not in seen]
        return True

    # --- Nodes ----------------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        name: str,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Node:
        """Write a node down in the present scope."""
        node = Node(len(self.nodes), kind, name, self.scope, tuple(args), dict(kwargs or {}), **more)
        self.nodes.append(node)
        self.scope.items.append(node)
        return node

    def bind(self, tensor: Tensor, node: Node) -> None:
        """Let ``tensor`` stand for ``node`` from now on."""
        self._nodes_of[id(tensor)] = (weakref.ref(tensor), node)
        self.aliases.add(tensor)

    def node_of(self, tensor: Tensor) -> Node:
        """Return the node that a tensor stands for.

        Raises:
            CaptureError: It comes from nowhere that the recorder could see.
        """
        found = self._nodes_of.get(id(tensor))
        if found is not None and found[0]() is tensor:
            return found[1]
        origin = self.clone.origins.get(id(tensor))
        if origin is None:
            raise CaptureError(
                f"{self.where()}: a tensor of shape {tuple(tensor.shape)} is used that is no input, "
                "parameter or buffer of the model, and that no captured call computed. If it is a constant, "
                "register it as a buffer; if an earlier call left it behind, compute it in each call."
            )
        return self._free_node(tensor, origin)

    def may_be_functional(self, written: Tensor) -> bool:
        """Whether nothing but the writing code itself can see a write into a tensor."""
        return self.functional and not self._is_free(written) and self.aliases.is_alone(written)

    def knows(self, tensor: Tensor) -> bool:
        """Whether a captured call computed the tensor, or it is an input."""
        found = self._nodes_of.get(id(tensor))
        return found is not None and found[0]() is tensor

    def depends_on_input(self, tensor: Tensor) -> bool:
        """Whether a tensor is computed from an input of the model, not only from its parameters."""
        pending, seen = [self.node_of(tensor)], set()
        while pending:
            node = pending.pop()
            if node.kind == "input":
                return True
            seen.add(node.index)
            if node.operation not in ("size", "attribute"):
                pending += [source for source in node.sources if source.index not in seen]
        return False

    def placed_at(self, path: str) -> Tensor | None:
        """Return the clone's tensor that stood at ``path`` before the run."""
        return self._placed.get(path)

    def _is_free(self, tensor: Tensor) -> bool:
        return id(tensor) in self.clone.origins

    def _free_node(self, tensor: Tensor, origin: Origin) -> Node:
        key = (id(tensor), id(self.scope))
        if key not in self._free:
            name = origin.path.removeprefix(f"{self.scope.path}.") if self.scope.path else origin.path
            node = self.add("tensor", name, tensor=origin.tensor, path=origin.path)
            node.persistent = origin.persistent
            self._free[key] = node
            self.aliases.add(tensor)
        return self._free[key]

    def _selected(self, node: Node, key: Any) -> Node:
        return self.add("function", f"{node.name}_{key}", (node, key), operation="getitem")

    # --- Arguments ------------------------------------------------------------------------------

    def translate(self, tree: Any) -> Any:
        """Return arguments with nodes for the tensors and traced sizes in them."""
        return map_leaves(self._translate, self._opened(tree))

    def _translate(self, leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return self.node_of(leaf)
        if isinstance(leaf, TracedInt):
            return self.size_node(leaf)
        if isinstance(leaf, torch.dtype):
            read = self._reads.get(("dtype", leaf))
            return leaf if read is None else self.attribute_node(read, "dtype")
        if isinstance(leaf, torch.device) or (isinstance(leaf, str) and leaf == str(self.reported)):
            read = self._reads.get(("device", torch.device(leaf)))
            return leaf if read is None else self.attribute_node(read, "device")
        return leaf

    def attribute_node(self, tensor: Tensor, name: str) -> Node:
        """Return the node of an attribute of a tensor."""
        return self.add("function", name, (self.node_of(tensor), name), operation="attribute")

    def note_read(self, name: str, value: Any, tensor: Tensor) -> None:
        """Remember that the model's code asked a tensor for its type or device."""
        known = self._nodes_of.get(id(tensor))
        if known is not None or self._is_free(tensor):
            self._reads[name, value] = tensor

    def size_node(self, size: TracedInt) -> Node | int:
        """Return the node of a traced size in the present scope."""
        if size.recorder is not self:
            return int(size)
        key = (id(size), id(self.scope))
        if key in self._sizes:
            return self._sizes[key]
        if size.function == "node":
            node = size.operands[0]
        elif size.function == "size":
            tensor_node, dim = size.operands
            node = self.add("function", "size", (tensor_node, dim), operation="size", value=int(size))
        else:
            operands = tuple(self._translate(operand) for operand in size.operands)
            node = self.add("function", size.function, (size.function, operands), operation="number")
            node.value = int(size)
        self._sizes[key] = node
        # The key is the size's id, so the size has to live on.
        self._reads["size", id(size)] = size  # type: ignore[assignment]
        return node

    def traced_shape(self, tensor: Tensor) -> torch.Size:
        """Return the shape of a tensor with sizes that know where they come from."""
        shape = tensor.shape
        found = self._nodes_of.get(id(tensor))
        if found is None or found[0]() is not tensor:
            return shape
        self.reads_sizes = True
        node = found[1]
        return torch.Size([TracedInt(size, self, "size", node, dim) for dim, size in enumerate(shape)])

    def note_decision(self, decision: Decision) -> None:
        """Write down that the model's code acted on a comparison of sizes."""
        self.reads_sizes = True
        function, operands = decision.operands
        nodes = tuple(self._translate(operand) for operand in operands)
        compared = self.add("function", function, (function, nodes), operation="number")
        compared.value = decision.value
        place = f"{self.scope.path or type(self.root.module).__name__} ({place_of_call()})"
        self.add("function", "control", (compared, decision.value, place), operation="control")

    def _plain(self, tree: Any) -> Any:
        """Return arguments with the outcome of decisions in place of the decisions."""
        return map_leaves(lambda leaf: bool(leaf) if isinstance(leaf, Decision) else leaf, tree)

    def _on_device(
        self, func: Any, operation: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Let calls that name a device, or make tensors out of nothing, stay where the clone is."""
        if self.device is None:
            return args, kwargs

        def move(leaf: Any) -> Any:
            return self.device if isinstance(leaf, torch.device) else leaf

        args, kwargs = map_leaves(move, self._opened(args)), map_leaves(move, self._opened(kwargs))
        if isinstance(kwargs.get("device"), str):
            kwargs["device"] = self.device
        if operation == "to":
            args = tuple(self.device if isinstance(leaf, str) else leaf for leaf in args)
        is_factory = operation in FACTORIES
        if is_factory and kwargs.get("device") is None:
            kwargs["device"] = self.device
        if operation == "to" and getattr(func, "__name__", "") in ("cpu", "cuda"):
            kwargs.pop("memory_format", None)
        return args, kwargs

    def _opened(self, tree: Any) -> Any:
        """Return arguments with plain containers in place of those of torch, such as ``torch.Size``."""
        if type(tree) in (list, tuple):
            return type(tree)(self._opened(item) for item in tree)
        if type(tree) in (dict, OrderedDict):
            return type(tree)((key, self._opened(value)) for key, value in tree.items())
        if isinstance(tree, tuple) and not is_namedtuple(tree):
            known = self._results.get(id(tree))
            return tuple(self._opened(item) for item in tree) if known is None else known[1]
        return tree

    def _distinct(self, result: Any, args: Any, kwargs: Any) -> Any:
        """Return the result as a tensor of its own where a function passes its argument on unchanged."""
        if isinstance(result, Tensor) and any(leaf is result for leaf in leaves([args, kwargs])):
            return result.view_as(result)
        return result

    # --- Modules --------------------------------------------------------------------------------

    def enter(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Begin the call of a module that is recorded inside."""
        scope = Scope(path, module, self.scope)
        self.scope.items.append(scope)
        for name, value in _argument_names(type(module), args, kwargs):
            if isinstance(value, Tensor):
                found = self._nodes_of.get(id(value))
                if found is not None:
                    scope.names.setdefault(found[1], name)
        self.scope = scope

    def leave(self) -> None:
        """End the call begun last."""
        assert self.scope.parent is not None
        self.scope = self.scope.parent

    def where(self) -> str:
        """Return the module path and the line of code at which the model is."""
        return f"{self.scope.path or type(self.root.module).__name__} ({place_of_call()})"

    def finish(self, inputs: dict[str, Node], output: Any) -> Recording:
        """Return the recording once the model has run."""
        return Recording(self.root, self.nodes, inputs, output, self.reads_sizes)


@cache
def _parameters(cls: Any) -> tuple[str, ...]:
    try:
        signature = inspect.signature(cls.forward)
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(name for name, parameter in signature.parameters.items() if parameter.kind in kinds)[1:]


def _argument_names(cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    return [*zip(_parameters(cls), args, strict=False), *kwargs.items()]
