"""Which modules are vertices as they stand, and the hooks that tell the recorder of their calls."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..arguments import leaves
from ..dag_module import DagModule
from ..errors import CaptureError
from ..registry import has_call, reading_of
from .cloning import share_module
from .nodes import Node

if TYPE_CHECKING:
    from .recorder import Recorder

__all__ = ["Layers", "is_layer"]

_WITH_CHILDREN = (nn.MultiheadAttention,)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict, nn.Module)
_HARMLESS = frozenset(
    {"__init__", "__module__", "__doc__", "__qualname__", "__annotations__", "__constants__",
     "__static_attributes__", "__firstlineno__",
     "__parameters__", "extra_repr", "reset_parameters", "__repr__"}
)  # fmt: skip


def layer_class(module: nn.Module) -> type[nn.Module] | None:
    """Return the class of ``torch.nn`` that the module is in effect; None if its code is not torch's.

    A subclass that changes nothing but the constructor is its base.
    """
    for cls in type(module).__mro__:
        if cls.__module__.startswith("torch.nn.modules.") and getattr(nn, cls.__name__, None) is cls:
            return None if cls in _CONTAINERS else cls
        if set(vars(cls)) - _HARMLESS:
            return None
    return None


def is_layer(module: nn.Module) -> bool:
    """Whether capture makes one vertex of the module: a layer of ``torch.nn`` with nothing hooked on."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    if any(hooks) or layer_class(module) is None:
        return False
    return isinstance(module, _WITH_CHILDREN) or not any(True for _ in module.children())


class Layers:
    """The modules of a model by path, and what becomes of each.

    Args:
        model: The model itself, of which the vertices share the tensors.

    Raises:
        CaptureError: A lazy layer has no sizes yet.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._modules = dict(nn.Module.named_modules(model))
        self._shared: dict[tuple[str, bool], nn.Module] = {}
        lazy = [path for path, module in self._modules.items()
                if any(is_lazy(p) for p in module._parameters.values() if p is not None)]  # fmt: skip
        if lazy:
            raise CaptureError(f"{lazy[0]} has no sizes yet: run the model once before it is captured.")

    def attach(self, recorder: "Recorder") -> None:
        """Hook the recorder onto its clone of the model."""
        inside: set[str] = set()
        for path, clone in nn.Module.named_modules(recorder.clone.module):
            module = self._modules[path]
            if _is_within(path, inside):
                continue
            reading = self.reading(module)
            if reading is False:
                if path:
                    _hook_scope(recorder, path, clone)
            else:
                inside.add(path)
                _hook_leaf(recorder, self, path, clone, reading)

    def reading(self, module: nn.Module) -> DagModule | bool:
        """Return True for a layer, False for a module that is recorded inside, or the graph of the module."""
        if isinstance(module, DagModule):
            return module
        rule = reading_of(module)
        return is_layer(module) if rule is None else rule

    def recorded(self) -> Iterator[nn.Module]:
        """Yield the modules that are recorded inside."""
        inside: set[str] = set()
        for path, module in self._modules.items():
            if _is_within(path, inside):
                continue
            if self.reading(module) is False:
                yield module
            else:
                inside.add(path)

    def vertex_module(self, path: str, functional: bool) -> nn.Module:
        """Return the module for a vertex: it shares the tensors of the one at ``path``."""
        key = (path, functional)
        if key not in self._shared:
            shared = share_module(self._modules[path])
            if functional and getattr(shared, "inplace", False):
                shared.inplace = False  # type: ignore[assignment]
            self._shared[key] = shared
        return self._shared[key]


def _is_within(path: str, outer: set[str]) -> bool:
    """Whether a module lies in one of those at the paths."""
    while path:
        path = path.rpartition(".")[0]
        if path in outer:
            return True
    return False


def _hook_scope(recorder: "Recorder", path: str, clone: nn.Module) -> None:
    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if recorder.is_tracing:
            with recorder.quiet():
                recorder.enter(path, module, args, kwargs)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        if recorder.is_tracing:
            recorder.leave()

    clone.register_forward_pre_hook(before, prepend=True, with_kwargs=True)
    clone.register_forward_hook(after)


def _hook_leaf(
    recorder: "Recorder", layers: Layers, path: str, clone: nn.Module, reading: DagModule | bool
) -> None:
    pending: list[tuple[Any, Any, bool]] = []

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        recorder.muted += 1
        if recorder.muted == 1 and recorder.is_recording:
            written = args[0] if args and getattr(module, "inplace", False) is True else None
            functional = written is None or recorder.may_be_functional(written)
            pending.append((*recorder.translate([args, kwargs]), functional))

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        try:
            if recorder.muted != 1 or not recorder.is_recording:
                return None
            node_args, node_kwargs, functional = pending.pop()
            target = reading if isinstance(reading, DagModule) else layers.vertex_module(path, functional)
            node = recorder.add("module", path, node_args, node_kwargs, module=target, path=path)
            node.in_place = not functional
            return _bind_output(recorder, module, node, [args, kwargs], output)
        finally:
            recorder.muted -= 1

    clone.register_forward_pre_hook(before, prepend=True, with_kwargs=True)
    clone.register_forward_hook(after, with_kwargs=True)


def _bind_output(recorder: "Recorder", module: nn.Module, node: Node, given: list[Any], output: Any) -> Any:
    if has_call(module):
        # Inside a graph only the output counts, not the state that the call returns with it.
        output_tensor = next(leaf for leaf in leaves(output) if isinstance(leaf, Tensor))
        recorder.bind_result(output_tensor, node)
        return None
    if getattr(module, "inplace", False) is True and isinstance(output, Tensor):
        recorder.bind(output, node)
        return None
    if isinstance(output, Tensor) and any(leaf is output for leaf in leaves(given)):
        # Passed on as it came: what reads the output must not be taken to read the input.
        output = output.view_as(output)
    recorder.bind_result(output, node)
    return output


def devices_of(model: nn.Module) -> set[torch.device]:
    """Return the devices on which a model's parameters and buffers live."""
    tensors = (*nn.Module.parameters(model), *model.buffers())
    return {tensor.device for tensor in tensors}
