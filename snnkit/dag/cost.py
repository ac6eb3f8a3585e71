"""What a graph costs: multiply-accumulates, parameters, activations, and events where there are some."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .arguments import leaves
from .capture.cloning import share_module
from .capture.verification import preserved
from .dag_module import DagModule
from .registry import call_module
from .running import watching
from .shapes import layer_rule_of, meta_inputs, run_on_meta
from .vertex import InnerVertex

__all__ = ["GraphCost", "VertexCost", "cost_of", "pixels_of"]

_LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass
class VertexCost:
    """The cost of one vertex for the inputs given.

    Attributes:
        path: The vertex's name, behind those of the graphs around it.
        kind: Class of the layer, or name of the function.
        macs: Multiply-accumulates.
        parameters: Parameters that no earlier vertex has.
        activations: Elements of the value.
        spikes: Events that leave the vertex; None where nothing spikes or no numbers were given.
        synaptic_operations: Additions of weights that events cause here; None likewise.
    """

    path: str
    kind: str
    macs: int = 0
    parameters: int = 0
    activations: int = 0
    spikes: float | None = None
    synaptic_operations: float | None = None


@dataclass(frozen=True)
class GraphCost:
    """The cost of a graph: totals, and each vertex in ``vertices``.

    Attributes:
        vertices: By path, nested graphs' vertices in place of the graphs.
        pixels: Positions of the first input, see :func:`pixels_of`; None if it holds no images.
    """

    vertices: dict[str, VertexCost] = field(repr=False)
    pixels: int | None

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(cost.macs for cost in self.vertices.values())

    @property
    def parameters(self) -> int:
        """Parameters, shared ones once."""
        return sum(cost.parameters for cost in self.vertices.values())

    @property
    def activations(self) -> int:
        """Elements of all values."""
        return sum(cost.activations for cost in self.vertices.values())

    @property
    def kmapp(self) -> float | None:
        """Thousands of multiply-accumulates per pixel of the images given; None for other inputs."""
        return None if self.pixels is None else self.macs / self.pixels / 1000

    @property
    def spikes(self) -> float | None:
        """Events of all neurons."""
        return _total([cost.spikes for cost in self.vertices.values()])

    @property
    def synaptic_operations(self) -> float | None:
        """Additions of weights that events cause."""
        return _total([cost.synaptic_operations for cost in self.vertices.values()])

    def __str__(self) -> str:
        parts = [
            f"{self.macs:,} MACs",
            f"{self.parameters:,} parameters",
            f"{self.activations:,} activations",
        ]
        if self.kmapp is not None:
            parts.append(f"{self.kmapp:,.4g} kmapp")
        if self.spikes is not None:
            parts.append(f"{self.spikes:,.0f} spikes")
        if self.synaptic_operations is not None:
            parts.append(f"{self.synaptic_operations:,.0f} synaptic operations")
        return ", ".join(parts)


def _total(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _elements_of(position: int) -> Callable[..., int]:
    return lambda *args, **_: args[position].numel()


def _trilinear_products(*args: Any, **_: Any) -> int:
    """Return the elements of a product of three tensors, each of which has axes of one index added."""
    sizes = []
    for value, added in zip(args[:3], args[3:6], strict=True):
        shape = list(value.shape)
        for position in added:
            shape.insert(position, 1)
        sizes.append(shape)
    return math.prod(map(max, *sizes))


_PRODUCTS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mv: _elements_of(0),
    torch.ops.aten.addmv: _elements_of(1),
    torch.ops.aten.dot: _elements_of(0),
    torch.ops.aten.vdot: _elements_of(0),
    torch.ops.aten.addbmm: lambda total, one, other, **_: one.numel() * other.shape[-1],
    torch.ops.aten._trilinear: _trilinear_products,
}
"""Products that torch has no rule for -> the multiply-accumulates of a call."""


class _Counter(TorchDispatchMode):
    """Adds up the multiply-accumulates of matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        out = func(*args, **(kwargs or {}))
        rule = flop_registry.get(func._overloadpacket)
        product = _PRODUCTS.get(func._overloadpacket)
        if product is not None:
            self.macs += product(*args, **(kwargs or {}))
        elif rule is not None:
            # torch counts a multiplication and an addition as two.
            self.macs += rule(*args, **(kwargs or {}), out_val=out) // 2
        return out


def cost_of(graph: DagModule, inputs: tuple[Any, ...] = ()) -> GraphCost:
    """Return the cost of running a graph.

    Args:
        graph: Left as it is, its state too.
        inputs: What to run it on. With numbers in them, events and synaptic operations of spiking vertices
            are counted; on the meta device, or without inputs (a batch of one in the captured shapes), only
            what follows from shapes.
    """
    costs: dict[str, VertexCost] = {}
    counter = _Counter()
    seen: set[int] = set()

    def around(path: str, vertex: InnerVertex, call: Callable[[], Any]) -> Any:
        before = counter.macs
        value = call()
        costs[path] = VertexCost(path, kind_of(vertex), counter.macs - before)
        return value

    def note(path: str, vertex: InnerVertex, args: Any, value: Any) -> None:
        if isinstance(vertex.module, DagModule):
            costs.pop(path, None)
            return
        rule = layer_rule_of(vertex.module)
        if rule is not None:
            macs = rule.macs(vertex.module, tuple(args[0].shape))
            costs[path] = VertexCost(path, kind_of(vertex), macs)
        found = [p for p in nn.Module.parameters(vertex.module) if id(p) not in seen]
        seen.update(id(parameter) for parameter in found)
        costs[path].parameters = sum(parameter.numel() for parameter in found)
        costs[path].activations = sum(leaf.numel() for leaf in leaves(value) if isinstance(leaf, Tensor))

    with counter:
        run_on_meta(graph, inputs, note, around)
    if any(isinstance(leaf, Tensor) and not leaf.is_meta for leaf in leaves(inputs)):
        _count_events(graph, inputs, costs)
    return GraphCost(costs, _pixels(meta_inputs(graph, inputs)))


def kind_of(vertex: InnerVertex) -> str:
    """Return the name of the function, or the class of the layer."""
    return vertex.operation or type(vertex.module).__name__


def pixels_of(shape: Sequence[int]) -> int | None:
    """Return the pixels of all images of a batch ``(batch, channels, height, width)``; also of volumes.

    None for other shapes: ``(batch, time, channels)`` and ``(batch, channels, time)`` look the same.
    """
    return shape[0] * math.prod(shape[2:]) if len(shape) in (4, 5) else None


def _pixels(inputs: tuple[Any, ...]) -> int | None:
    first = next((leaf for leaf in leaves(inputs) if isinstance(leaf, Tensor)), None)
    return None if first is None else pixels_of(first.shape)


def _count_events(graph: DagModule, inputs: tuple[Any, ...], costs: dict[str, VertexCost]) -> None:
    """Run the graph with numbers and count events, if anything in it spikes."""
    inner = [vertex for _, vertex in graph.traverse_paths() if isinstance(vertex, InnerVertex)]
    rules = [(layer_rule_of(vertex.module), vertex) for vertex in inner]
    if not any(rule is not None and rule.is_spiking(vertex.module) for rule, vertex in rules):
        return

    def watch(path: str, vertex: InnerVertex, args: Any, kwargs: Any, call: Callable[[], Any]) -> Any:
        value = call()
        rule = layer_rule_of(vertex.module)
        if rule is not None and rule.is_spiking(vertex.module):
            costs[path].spikes = float(value.sum(dtype=torch.float64))
        elif _has_weights(vertex.module) and _are_events(args[0]):
            costs[path].synaptic_operations = _synaptic_operations(vertex.module, args[0])
        return value

    with torch.no_grad(), preserved(graph), watching(watch):
        graph(*inputs)


def _has_weights(module: nn.Module) -> bool:
    return isinstance(module, _LINEAR) or (layer_rule_of(module) is not None and hasattr(module, "weight"))


def _are_events(value: Any) -> bool:
    """Whether a tensor holds numbers of events."""
    return isinstance(value, Tensor) and bool(((value >= 0) & (value == value.round())).all())


def _synaptic_operations(module: nn.Module, events: Tensor) -> float:
    """Return how often events meet a weight: the layer's own sum, with ones for weights."""
    ones = share_module(module)
    name = "weight" if "weight" in module._parameters else "values"
    ones._parameters[name] = nn.Parameter(torch.ones_like(module.get_parameter(name)).double())
    if getattr(module, "bias", None) is not None:
        ones._parameters["bias"] = nn.Parameter(torch.zeros_like(module.get_parameter("bias")).double())
    return float(call_module(ones, events.double()).sum())
