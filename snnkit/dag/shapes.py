"""The shape of every value of a graph, found by running it without numbers."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.fx.experimental._config
from torch import Tensor, nn

from .arguments import map_leaves
from .dag_module import DagModule
from .registry import find_rule
from .running import watching
from .vertex import InnerVertex

__all__ = [
    "LayerRule",
    "layer_rule_of",
    "masks_select_all",
    "meta_inputs",
    "register_layer_rule",
    "run_on_meta",
    "value_shapes",
]


@dataclass(frozen=True)
class LayerRule:
    """What a library says of layers that cannot run without numbers, such as neurons in compiled kernels.

    Attributes:
        output_shape: Called with the module and the shape of its input.
        macs: Multiply-accumulates, called likewise.
        is_spiking: Whether the output consists of events.
    """

    output_shape: Callable[[Any, tuple[int, ...]], tuple[int, ...]]
    macs: Callable[[Any, tuple[int, ...]], int]
    is_spiking: Callable[[Any], bool]


_rules: dict[type[nn.Module] | str, LayerRule] = {}


def register_layer_rule(cls: type[nn.Module], rule: LayerRule) -> None:
    """Use ``rule`` for modules of ``cls`` and its subclasses."""
    _rules[cls] = rule


def layer_rule_of(module: nn.Module) -> LayerRule | None:
    """Return the rule for the module's class, or None."""
    return find_rule(module, _rules)


def meta_inputs(graph: DagModule, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return inputs on the meta device: like those given, or of the captured shapes with a batch of one."""
    if inputs:
        return tuple(
            map_leaves(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, value)
            for value in inputs
        )
    examples = graph.example_inputs()
    assert graph.signature is not None
    free = iter([0 in spec.free for spec in graph.signature.tensors()])

    def single(leaf: Any) -> Any:
        return leaf[:1] if isinstance(leaf, Tensor) and next(free) and leaf.dim() else leaf

    return tuple(map_leaves(single, value) for value in examples)


def masks_select_all() -> AbstractContextManager[None]:
    """Let what depends on numbers, such as ``x[mask]``, have its largest size on the meta device."""
    settings: Any = torch.fx.experimental._config
    return cast("AbstractContextManager[None]", settings.patch(meta_nonzero_assume_all_nonzero=True))


def run_on_meta(
    graph: DagModule,
    inputs: tuple[Any, ...],
    observe: Callable[[str, InnerVertex, tuple[Any, ...], Any], None],
    around: Callable[[str, InnerVertex, Callable[[], Any]], Any] = lambda path, vertex, call: call(),
) -> None:
    """Run a copy of the graph on the meta device.

    Args:
        graph: Left as it is.
        inputs: As :func:`meta_inputs` takes them.
        observe: Called with path, vertex, positional arguments and value of each vertex, nested ones first.
        around: Called in place of each vertex, with its call.
    """

    def watch(path: str, vertex: InnerVertex, args: Any, kwargs: Any, call: Callable[[], Any]) -> Any:
        rule = layer_rule_of(vertex.module)
        if rule is None:
            value = around(path, vertex, call)
        else:
            shape = rule.output_shape(vertex.module, tuple(args[0].shape))
            value = torch.empty(shape, dtype=args[0].dtype, device="meta")
        observe(path, vertex, args, value)
        return value

    copied = graph.meta_copy()
    with torch.no_grad(), torch.device("meta"), masks_select_all(), watching(watch):
        copied(*meta_inputs(graph, inputs))


def value_shapes(graph: DagModule, inputs: tuple[Any, ...]) -> dict[str, Any]:
    """Return the shapes of the values of all vertices by path: tuples, in containers where values are.

    Inputs of nested graphs are in it as well.
    """
    found: dict[str, Any] = {}

    def note(path: str, vertex: InnerVertex, args: Any, value: Any) -> None:
        found[path] = _shapes(value)
        if isinstance(vertex.module, DagModule):
            for inner, argument in zip(vertex.module.input_vertices, args, strict=False):
                found[f"{path}.{inner.name}"] = _shapes(argument)

    run_on_meta(graph, inputs, note)
    for vertex, value in zip(graph.input_vertices, meta_inputs(graph, inputs), strict=True):
        found[vertex.name] = _shapes(value)
    return found


def _shapes(value: Any) -> Any:
    return map_leaves(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf, value)
