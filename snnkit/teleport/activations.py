"""Activations that are not homogeneous, made so on request: ``tau * f(x / tau)`` with ``tau`` in a buffer.

Before GELU, tanh or sigmoid a channel may take no factor. Where factors are wanted all the same, the
activation itself must know them. That changes the architecture, so it is never done unasked.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag import DagModule, Function, InnerVertex, build_from_unstructured_module, register_reading
from snnkit.dag.analysis.axes import Axis
from snnkit.dag.analysis.flow import never
from snnkit.dag.analysis.module_rules import ModuleRule, register_module_rule
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.recording import record
from snnkit.dag.analysis.tape import Operation, Tape, Value, values_in
from snnkit.dag.files import Format, register_format
from snnkit.dag.functions.library import FUNCTIONS
from snnkit.dag.scales import ScaleFlow, register_scale_rule
from snnkit.dag.scales.unknowns import Ids
from snnkit.teleport.errors import TeleportError
from snnkit.utilities.errors import FileFormatError, unknown_key_message

__all__ = ["ScaledActivation", "with_scaled_activations"]

Option = float | int | str | bool

_OPTIONS: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    nn.CELU: ("celu", ("alpha",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.Hardshrink: ("hardshrink", ("lambd",)),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.LogSigmoid: ("logsigmoid", ()),
    nn.Mish: ("mish", ()),
    nn.ReLU6: ("relu6", ()),
    nn.SELU: ("selu", ()),
    nn.SiLU: ("silu", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softshrink: ("softshrink", ("lambd",)),
    nn.Softsign: ("softsign", ()),
    nn.Tanh: ("tanh", ()),
    nn.Tanhshrink: ("tanhshrink", ()),
}
_OPERATIONS = dict(_OPTIONS.values())


class ScaledActivation(nn.Module):
    """``tau * f(x / tau)``: with ``tau`` 1, as at first, the activation as it was.

    Args:
        operation: Name of the function, such as "gelu".
        options: Its other arguments.
        tau: Factors, broadcastable against the input, such as ``(1, channels, 1, 1)``; kept in a buffer.

    Raises:
        TeleportError: There is no such activation, or it takes no such option.
    """

    tau: Tensor

    def __init__(self, operation: str, options: Mapping[str, Option], tau: Tensor) -> None:
        super().__init__()
        if operation not in _OPERATIONS:
            raise TeleportError(unknown_key_message("activation", operation, _OPERATIONS))
        for name in options:
            if name not in _OPERATIONS[operation]:
                raise TeleportError(
                    unknown_key_message(f"option of {operation}", name, _OPERATIONS[operation])
                )
        self.operation = operation
        self.options = dict(options)
        self.register_buffer("tau", tau)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``tau * f(x / tau)``."""
        result: Tensor = self.tau * FUNCTIONS[self.operation].compute(x / self.tau, **self.options)
        return result

    def extra_repr(self) -> str:
        """Show the function."""
        return ", ".join([self.operation, *(f"{name}={value!r}" for name, value in self.options.items())])


def with_scaled_activations(model: nn.Module, example_inputs: Any) -> DagModule:
    """Return the graph of a model in which every activation that is not homogeneous is a scaled one.

    The graph computes what the model does, has parameters of its own, and is saved and loaded with its
    factors. :func:`~snnkit.teleport.symmetries` of it finds the channels before these activations free.

    Args:
        model: Any module that can be captured, or its graph; it is not changed.
        example_inputs: A tensor, or the positional arguments.

    Raises:
        CaptureError: The model does what no graph can hold.
    """
    inputs = tuple(example_inputs) if isinstance(example_inputs, list | tuple) else (example_inputs,)
    graph = model.copy() if isinstance(model, DagModule) else None
    graph = graph or build_from_unstructured_module(model, inputs, copy=True)
    while _scaled(graph, inputs):
        pass  # what comes after the activations just scaled is free now
    return graph


def _scaled(graph: DagModule, inputs: tuple[Any, ...]) -> int:
    """Scale the activations that read channels with factors; return how many."""
    tape = record(graph, inputs)
    flow = ScaleFlow(tape, "positive")
    flow.run()
    like = next((p for p in nn.Module.parameters(graph) if p.is_floating_point()), torch.empty(0))
    count = 0
    for path, vertex in list(graph.traverse_paths()):
        if not isinstance(vertex, InnerVertex):
            continue
        found = _activation(vertex)
        shape = _channels_read(path, tape, flow) if found is not None else None
        if found is not None and shape is not None:
            source = vertex.args[0]
            tau = torch.ones(shape, dtype=like.dtype, device=like.device)
            vertex.module = ScaledActivation(*found, tau).train(graph.training)
            vertex.args, vertex.kwargs = (source,), {}
            count += 1
    return count


def _activation(vertex: InnerVertex) -> tuple[str, dict[str, Option]] | None:
    """Return the function that a vertex applies, and its options, if it is an activation in the list."""
    module = vertex.module
    if len(vertex.predecessors) != 1 or not vertex.args or vertex.args[0] is not vertex.predecessors[0]:
        return None
    if isinstance(module, Function):
        plain = module.operation in _OPERATIONS and not module.in_place and not module.when
        known = plain and all(name in _OPERATIONS[module.operation] for name in vertex.kwargs)
        return (module.operation, dict(vertex.kwargs)) if known and len(vertex.args) == 1 else None
    for cls, (operation, names) in _OPTIONS.items():
        if type(module) is cls:
            return operation, {name: getattr(module, name) for name in names}
    return None


def _channels_read(path: str, tape: Tape, flow: ScaleFlow) -> tuple[int, ...] | None:
    """Return the shape of factors for what a vertex reads: the axes along which they may vary."""
    call = tape.calls.get(path)
    values = list(values_in(call.arguments)) if call is not None else []
    if len(values) != 1 or not flow.terms(values[0]):
        return None
    shape = flow.ids(values[0]).shape
    return (1, *shape[1:]) if len(shape) > 1 and max(shape[1:]) > 1 else None


# --- What the analyses and files must know ----------------------------------------------------------------


def _axes(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    axes = p.of(next(values_in(op.argument("inputs"))))
    held: dict[str, Value] = op.argument("held")
    for one, other in zip(reversed(axes), reversed(p.of(held["tau"])), strict=False):
        p.same(one, other, op)
    return [axes]


def _factors(op: Operation, flow: ScaleFlow) -> list[Ids]:
    x = next(values_in(op.argument("inputs")))
    tau: Value = op.argument("held")["tau"]
    added = len(x.shape) - len(tau.shape)
    shared = [axis for axis in range(len(x.shape)) if axis < added or tau.shape[axis - added] == 1]
    ids = flow.constant_along(flow.ids(x), shared)
    flow.set(tau, (1, ids.reshape(ids.shape[added:])))
    return [ids]


def _write(module: ScaledActivation) -> tuple[Any, dict[str, Tensor]]:
    return {"operation": module.operation, "options": module.options}, {"tau": module.tau}


def _read(content: Any, tensors: Mapping[str, Tensor]) -> ScaledActivation:
    if not isinstance(content, dict) or set(content) != {"operation", "options"} or set(tensors) != {"tau"}:
        raise FileFormatError(f"This is no ScaledActivation: {str(content)[:80]}.")
    operation, options = content["operation"], content["options"]
    good = isinstance(operation, str) and isinstance(options, dict)
    if not good or not all(isinstance(value, Option) for value in options.values()):
        raise FileFormatError(f"This is no ScaledActivation: {str(content)[:80]}.")
    try:
        return ScaledActivation(operation, options, tensors["tau"])
    except TeleportError as error:
        raise FileFormatError(str(error)) from error


register_reading(ScaledActivation, lambda module: True)
register_module_rule(ScaledActivation, ModuleRule(_axes, never))
register_scale_rule(ScaledActivation, _factors)
register_format(Format("snnkit.teleport.ScaledActivation", ScaledActivation, _write, _read))
