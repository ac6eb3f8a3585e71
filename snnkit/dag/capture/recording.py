"""One run of a model under the recorder."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import map_leaves
from ..dag_module import DagModule
from ..errors import CaptureError
from .assertions import decisions_in_checks
from .cloning import Clone
from .inputs import call_with, on_device
from .layers import Layers
from .nodes import Node, Recording
from .recorder import Recorder

__all__ = ["record"]


def record(
    clone: Clone, layers: Layers, named: dict[str, Any], device: torch.device | None, functional: bool
) -> Recording:
    """Run a clone of a model and return what it did.

    Args:
        clone: Is run, and hooked for that.
        layers: The modules of the model itself, to which the recording refers.
        named: Example inputs by name.
        device: Where the clone lives; None for where the model does.
        functional: Turn writes into tensors into functions wherever nothing else sees the difference.

    Raises:
        CaptureError: The model does what no graph can hold.
    """
    model = layers.model
    reported = next((t.device for t in nn.Module.parameters(model)), torch.device("cpu"))
    reported = torch.device("cpu") if reported.type == "meta" else reported
    recorder = Recorder(clone, device, reported, functional)
    layers.attach(recorder)
    examples = on_device(named, device)
    inputs = {name: recorder.add("input", name) for name in named}
    with (
        _no_custom_gradients(recorder), _traced_len(recorder, clone.module), decisions_in_checks(),
        torch.enable_grad(), torch.random.fork_rng(devices=[]), recorder,
    ):  # fmt: skip
        for name, value in examples.items():
            _bind_input(recorder, value, inputs[name])
        recorder.is_recording = True
        reading = layers.reading(model)
        output = _call_root(recorder, layers, clone, reading, examples)
        recorder.is_recording = False
        result = map_leaves(_checked_output(recorder), recorder.translate(output))
        _keep_rebound_buffers(recorder)
    return recorder.finish(inputs, result)


def _call_root(
    recorder: Recorder, layers: Layers, clone: Clone, reading: DagModule | bool, examples: dict[str, Any]
) -> Any:
    output = call_with(clone.module, examples)
    if reading is False:
        return output
    # A layer, or a network that knows its graph: its value, not the state that the call returns with it.
    return next(node for node in recorder.nodes if node.kind == "module")


def _bind_input(recorder: Recorder, value: Any, node: Any) -> None:
    if isinstance(value, Tensor):
        recorder.bind(value, node)
    elif isinstance(value, list | tuple | dict):
        recorder.bind_result(value, node)


def _checked_output(recorder: Recorder) -> Any:
    def check(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, Node | int | float | complex | str | torch.dtype):
            return leaf
        raise CaptureError(
            f"{type(recorder.root.module).__name__} returns an object of class {type(leaf).__name__}: return "
            "tensors, or tuples, lists and dictionaries of them."
        )

    return check


def _keep_rebound_buffers(recorder: Recorder) -> None:
    """Write assignments to buffers down: state that the model keeps for its next call."""
    for path, module in nn.Module.named_modules(recorder.clone.module):
        for name, buffer in module._buffers.items():
            _keep_rebound(recorder, f"{path}.{name}" if path else name, buffer)


def _keep_rebound(recorder: Recorder, path: str, buffer: Tensor | None) -> None:
    placed = recorder.placed_at(path)
    if buffer is placed or buffer is None or not recorder.knows(buffer):
        return
    if not recorder.depends_on_input(buffer):
        return  # a cache of what the graph computes in each call
    if placed is None or placed.shape != buffer.shape or placed.dtype != buffer.dtype:
        raise CaptureError(
            f"The model assigns a tensor of shape {tuple(buffer.shape)} to its buffer {path!r}, which has "
            "another shape or type: a graph keeps the shapes of buffers. Initialise it in its later shape."
        )
    target = recorder.node_of(placed)
    node = recorder.add("function", "assign", (target, recorder.node_of(buffer)), operation="assign")
    node.in_place = True


@contextmanager
def _traced_len(recorder: Recorder, model: nn.Module) -> Iterator[None]:
    """Give the files with the model's code a ``len`` that returns traced sizes of tensors.

    Python turns whatever a tensor's ``__len__`` returns into a plain number. Only these files see the other
    ``len``, and only for as long as the model runs.
    """

    def traced(value: Any) -> int:
        if isinstance(value, Tensor) and recorder.is_tracing and recorder.thread == threading.get_ident():
            return recorder.traced_shape(value)[0]
        return len(value)

    functions = [
        function
        for module in nn.Module.modules(model)
        for function in (type(module).forward, *vars(module).values())
    ]
    spaces = {
        id(names): names
        for names in (getattr(function, "__globals__", {}) for function in map(_unbound, functions))
        if not names.get("__name__", "torch").startswith(("torch.", "snnkit.")) and "len" not in names
    }
    try:
        for names in spaces.values():
            names["len"] = traced
        yield
    finally:
        for names in spaces.values():
            names.pop("len", None)


def _unbound(value: Any) -> Any:
    return (
        value.__func__
        if isinstance(value, MethodType)
        else value
        if isinstance(value, FunctionType)
        else None
    )


@contextmanager
def _no_custom_gradients(recorder: Recorder) -> Iterator[None]:
    """Refuse functions with a backward of their own: a graph would lose it."""
    function = torch.autograd.Function
    original = function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if recorder.is_tracing and recorder.thread == threading.get_ident():
            raise CaptureError(
                f"{recorder.where()}: {cls.__name__} is a torch.autograd.Function, whose backward a graph "
                "cannot hold. Register the module that calls it with register_reading(), as one vertex."
            )
        return original.__get__(None, cls)(*args, **kwargs)

    function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        function.apply = original  # type: ignore[method-assign]
