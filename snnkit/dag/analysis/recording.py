"""Running a model once and writing down its operations."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from snnkit.dag.analysis.copying import copy_for_recording, named_tensors, plain_path, to_meta
from snnkit.dag.analysis.module_rules import module_rule_of
from snnkit.dag.analysis.tape import Operation, Tape, TapeError, Value, VertexCall
from snnkit.dag.registry import call_module
from snnkit.dag.running import watching
from snnkit.dag.shapes import masks_select_all

__all__ = ["record"]

# Code in these folders does what its caller asked for; the caller is the line a user wants to see.
_LIBRARY = (str(next(iter(torch.__path__))), __file__.rsplit("/", 3)[0] + "/dag/")

# Operations that give Python a number, and methods that do so without one.
_READS_NUMBERS = ("aten._local_scalar_dense", "aten.equal", "aten.allclose")
_READERS = (Tensor.tolist, Tensor.numpy, Tensor.__array__)


def record(
    model: nn.Module,
    example_inputs: Any,
    example_kwargs: Mapping[str, Any] | None = None,
) -> Tape:
    """Run a copy of ``model`` in evaluation mode on ``example_inputs`` and return the tape.

    No memory is needed for weights and activations: the copy runs on the meta device. Only where a model
    looks at values (``item()``, a condition on a tensor) it runs on the inputs as given.

    Args:
        model: Any module; it is not changed.
        example_inputs: A tensor, or the positional arguments.
        example_kwargs: Keyword arguments.

    Raises:
        TapeError: the model is no module, or raises on these inputs.
    """
    if not isinstance(model, nn.Module):
        raise TapeError(f"a {type(model).__name__} is no torch.nn.Module.")
    arguments = tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)
    kwargs = dict(example_kwargs or {})
    try:
        return _record(model, arguments, kwargs, meta=True)
    except Exception as failure:
        if _on_meta(model, arguments):
            raise _refusal(model, failure) from failure
    try:
        return _record(model, arguments, kwargs, meta=False)
    except Exception as failure:
        raise _refusal(model, failure) from failure


def _on_meta(model: nn.Module, arguments: Any) -> bool:
    tensors = [leaf for leaf in tree_flatten(arguments)[0] if isinstance(leaf, Tensor)]
    tensors += list(nn.Module.parameters(model)) + list(nn.Module.buffers(model))
    return any(tensor.device.type == "meta" for tensor in tensors)


def _refusal(model: nn.Module, failure: Exception) -> TapeError:
    return TapeError(
        f"{type(model).__name__} does not run on the example inputs: {type(failure).__name__}: {failure}"
    )


def _record(model: nn.Module, arguments: Any, kwargs: dict[str, Any], *, meta: bool) -> Tape:
    duplicate = copy_for_recording(model, meta=meta)
    if meta:
        arguments, kwargs = tree_map(to_meta, (arguments, kwargs))
    recorder = _Recorder()
    recorder.hold(duplicate, (arguments, kwargs))
    recorder.watch(duplicate)
    had_fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        device = "meta" if meta else "cpu"
        hooks = masks_select_all(), watching(recorder.vertex), _NumbersRead(recorder)
        with torch.no_grad(), torch.device(device), hooks[0], hooks[1], hooks[2], recorder:
            outputs = duplicate(*arguments, **kwargs) if kwargs else call_module(duplicate, *arguments)
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fast_path)
    return recorder.tape(outputs)


class _NumbersRead(TorchFunctionMode):
    """Tells a recorder of numbers that are taken out of tensors where no operation is called."""

    def __init__(self, recorder: "_Recorder") -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _READERS:
            self._recorder.read(args[0])
        return result


class _Recorder(TorchDispatchMode):
    """Sees every ATen call below autograd."""

    def __init__(self) -> None:
        super().__init__()
        self._values: list[Value] = []
        self._by_tensor: dict[int, Value] = {}
        self._alive: list[Any] = []  # ids are unique only as long as the tensors live
        self._operations: list[Operation] = []
        self._parameters: dict[str, Value] = {}
        self._aliases: dict[str, str] = {}
        self._paths: list[str] = [""]
        self._held: list[dict[str, Value]] = []  # of the modules running that have rules of their own
        self._calls: dict[str, VertexCall] = {}
        self._results: dict[str, Value] = {}

    # --- Tensors ----------------------------------------------------------------------------------

    def hold(self, model: nn.Module, given: Any) -> None:
        """Give values to the tensors that exist before the run."""
        for name, tensor in named_tensors(model).items():
            kind = "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
            known = self._by_tensor.get(id(tensor))
            if known is None:
                self._parameters[name] = self._new(tensor, kind, name)
            else:
                self._aliases[name] = known.name
        for position, leaf in enumerate(tree_flatten(given)[0]):
            if isinstance(leaf, Tensor) and id(leaf) not in self._by_tensor:
                self._new(leaf, "input", f"input {position}")

    def _new(self, tensor: Tensor, kind: str, name: str = "", root: int | None = None) -> Value:
        index = len(self._values)
        value = Value(index, kind, tuple(tensor.shape), tensor.dtype, name, index if root is None else root)
        self._values.append(value)
        self._by_tensor[id(tensor)] = value
        self._alive.append(tensor)
        return value

    def _value(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        known = self._by_tensor.get(id(leaf))
        return self._new(leaf, "constant") if known is None else known

    # --- Modules ----------------------------------------------------------------------------------

    def watch(self, model: nn.Module) -> None:
        """Follow which module is running. The hooks stay on the copy, which is thrown away."""
        for full_path, module in nn.Module.named_modules(model):
            path = plain_path(full_path)
            if module_rule_of(module) is None:
                module.register_forward_pre_hook(self._entering(path))
                module.register_forward_hook(self._leaving(path), always_call=True)
            else:
                module.register_forward_pre_hook(self._entering(path, ruled=True), with_kwargs=True)
                module.register_forward_hook(self._leaving_ruled(path), with_kwargs=True, always_call=True)

    def _entering(self, path: str, ruled: bool = False) -> Callable[..., None]:
        def hook(module: nn.Module, *_: Any) -> None:
            self._paths.append(path)
            if ruled:
                # Noted before it runs: states are other tensors afterwards.
                held = [*nn.Module.named_parameters(module), *nn.Module.named_buffers(module)]
                self._held.append({name: self._value(tensor) for name, tensor in held})

        return hook

    def _leaving(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, outputs: Any) -> None:
            self._paths.pop()
            self._note_result(path, outputs)

        return hook

    def _note_result(self, path: str, outputs: Any) -> None:
        tensors = [leaf for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor)]
        if tensors and id(tensors[0]) in self._by_tensor:
            self._results.pop(path, None)
            self._results[path] = self._by_tensor[id(tensors[0])]

    def _leaving_ruled(self, path: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
            self._paths.pop()
            held = self._held.pop()
            if self._held:
                return
            arguments = {"inputs": tree_map(self._value, (args, kwargs)), "held": held}
            self._append(type(module).__name__, module, arguments, outputs, path=path)
            self._note_result(path, outputs)

        return hook

    def vertex(self, path: str, vertex: Any, args: Any, kwargs: Any, call: Callable[[], Any]) -> Any:
        """Note what a vertex reads and returns; see :func:`snnkit.dag.running.watching`."""
        first = len(self._operations)
        given = tree_map(self._value, (args, kwargs))
        result = call()
        inside = range(first, len(self._operations))
        self._calls[path] = VertexCall(path, given, tree_map(self._value, result), inside)
        return result

    # --- Operations -------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self._held:
            schema = func._schema
            arguments: dict[str, Any] = {}
            for position, declared in enumerate(schema.arguments):
                if position < len(args):
                    given = args[position]
                else:
                    given = (kwargs or {}).get(declared.name, declared.default_value)
                arguments[declared.name] = tree_map(self._value, given)
            kind = f"{func.namespace}.{schema.name.split('::')[-1]}"
            self._append(kind, func, arguments, result)
        return result

    def read(self, tensor: Tensor) -> None:
        """Note that numbers are taken out of a tensor."""
        if not self._held:
            target = torch.ops.aten._local_scalar_dense.default
            self._append("aten._local_scalar_dense", target, {"self": self._value(tensor)}, None)

    def _append(
        self, kind: str, target: Any, arguments: dict[str, Any], result: Any, path: str | None = None
    ) -> None:
        root, mutates = _aliasing(target, arguments)
        outputs = []
        for leaf in tree_flatten(result)[0]:
            if isinstance(leaf, Tensor):
                known = self._by_tensor.get(id(leaf))
                outputs.append(self._new(leaf, "result", root=root) if known is None else known)
        where = self._paths[-1] if path is None else path
        index = len(self._operations)
        self._operations.append(
            Operation(index, kind, target, arguments, tuple(outputs), where, _calling_line(), mutates)
        )

    def tape(self, outputs: Any) -> Tape:
        """Return what was recorded, without operations on which no output depends."""
        results = [
            self._by_tensor.get(id(leaf)) for leaf in tree_flatten(outputs)[0] if isinstance(leaf, Tensor)
        ]
        found = tuple(value for value in results if value is not None)
        if not found:
            raise TapeError("the model returned no tensor.")
        operations = _needed(self._operations, found)
        known = (self._parameters, self._aliases, self._calls, self._results)
        return Tape(tuple(self._values), operations, found, *known)


def _aliasing(target: Any, arguments: dict[str, Any]) -> tuple[int | None, bool]:
    """Return the memory that results share with an argument, if any, and whether an argument is written."""
    schema = getattr(target, "_schema", None)
    if schema is None:
        return None, False
    mutates = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
    for declared in schema.arguments:
        given = arguments.get(declared.name)
        if declared.alias_info is not None and isinstance(given, Value):
            shares = any(r.alias_info is not None for r in schema.returns)
            return (given.root if shares else None), mutates
    return None, mutates


def _calling_line() -> str:
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_LIBRARY) and not name.startswith("<"):
            return f"{name.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _needed(operations: list[Operation], outputs: tuple[Value, ...]) -> tuple[Operation, ...]:
    """Return what the outputs depend on, and what numbers were read by: they may have decided anything."""
    live = {value.root for value in outputs}
    kept: list[Operation] = []
    for op in reversed(operations):
        written = (*op.inputs, *op.outputs) if op.mutates else op.outputs
        if op.kind in _READS_NUMBERS or any(value.root in live for value in written):
            kept.append(op)
            live.update(value.root for value in op.inputs)
    return tuple(kept[::-1])
