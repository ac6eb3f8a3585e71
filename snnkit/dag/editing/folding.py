"""Weights that are computed in every call become parameters."""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import leaves
from ..capture.verification import in_other_mode
from ..copying import share_graph
from ..dag_module import DagModule
from ..errors import VerificationError
from ..functions import FreeTensor, Function, function_named
from ..vertex import InnerVertex, Vertex
from .constants import VARIES, Constant, Constants
from .patterns import Rewriting, largest_difference

__all__ = ["fold_weights"]

_TOLERANCE = 1e-5


def fold_weights(
    graph: DagModule,
    inputs: tuple[Any, ...] = (),
    *,
    only: Collection[str] | None = None,
    tolerance: float | None = _TOLERANCE,
) -> Rewriting:
    """Make parameters of what the graph computes from its parameters and buffers alone.

    Standardised weights, weight norm, spectral norm, scaled gains and other parametrisations are computed
    once, as in evaluation mode, and what computed them is dropped. The outputs stay the same, as a rule to
    the bit. Training does not: gradients go to the folded weight, which is no longer held to what the
    computation made of it (unit variance, norm), and parameters that several computations share become one
    for each. A computation that two layers make in the same way from the same parameters becomes one
    parameter of both.

    A result with more elements than the parameters behind it stays computed: relative position biases, and
    weights that are products of smaller ones. Mere views of parameters stay as well.

    Args:
        graph: Left as it is; what is not folded shares its tensors with the new graph.
        inputs: What to compare on; by default random numbers in the captured shapes.
        only: Paths of vertices; then only what one of them takes part in is folded.
        tolerance: How far outputs may move, relative to the largest; None for no comparison, as there is
            none on the meta device.

    Returns:
        The new graph; the paths of the folded weights in it; and how far the outputs are from the old ones.

    Raises:
        VerificationError: The outputs move further than allowed.
    """
    folded = share_graph(graph)
    with in_other_mode(folded, False):
        constants = Constants(folded)
    places = _Folding(folded, constants, None if only is None else frozenset(only)).run()
    on_meta = any(tensor.is_meta for tensor in nn.Module.parameters(folded))
    if tolerance is None or not places or on_meta:
        return Rewriting(folded, places, None)
    difference = largest_difference(graph, folded, inputs)
    if not difference <= tolerance:
        raise VerificationError(
            f"Folding the weights of {graph.title} ({', '.join(places)}) moves its outputs by "
            f"{difference:.3g} of the largest, where {tolerance:g} is allowed."
        )
    return Rewriting(folded, places, difference)


class _Folding:
    """Puts parameters in the place of computed constants, and drops what nothing reads any more."""

    def __init__(self, graph: DagModule, constants: Constants, only: frozenset[str] | None) -> None:
        self._graph, self._constants, self._only = graph, constants, only
        self._modules: dict[int, FreeTensor] = {}
        self._made: list[tuple[str, InnerVertex, str]] = []

    def run(self) -> tuple[str, ...]:
        """Fold, and return the paths of the new parameters."""
        self._level(self._graph, "")
        for _, vertex, name in self._made:
            level = vertex.dag_module
            assert level is not None
            if all(entry.name != name for entry in level.vertices):
                level.rename(vertex, name)
        return tuple(prefix + vertex.name for prefix, vertex, _ in self._made)

    def _level(self, graph: DagModule, prefix: str) -> None:
        here: dict[int, InnerVertex] = {}
        orphans: list[Vertex] = []
        for vertex in graph.inner_vertices:
            if not _varies(self._constants.of(vertex)):
                continue
            nested = vertex.module
            if isinstance(nested, DagModule) and self._constants.takes(nested):
                read = _read_inputs(nested)
                self._level(nested, f"{prefix}{vertex.name}.")
                unread = [name for name in read if name not in _read_inputs(nested)]
                orphans += _drop_inputs(graph, vertex, nested, unread)
                continue
            for source in dict.fromkeys(vertex.predecessors):
                constant = self._constants.of(source)
                if not self._is_folded(constant):
                    continue
                if constant.key not in here:
                    here[constant.key] = self._add(graph, prefix, source, vertex, constant)
                graph.replace_uses(source, here[constant.key], [vertex])
                orphans.append(source)
        _drop_orphans(graph, orphans)

    def _is_folded(self, constant: Any) -> bool:
        if not isinstance(constant, Constant) or not constant.is_computed:
            return False
        value = constant.value
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return False
        parameters = [tensor for tensor in constant.tensors if isinstance(tensor, nn.Parameter)]
        behind = sum(tensor.numel() for tensor in parameters or constant.tensors)
        return value.numel() <= behind and (self._only is None or bool(self._only & constant.paths))

    def _add(
        self, graph: DagModule, prefix: str, source: Vertex, reader: InnerVertex, constant: Constant
    ) -> InnerVertex:
        if constant.key not in self._modules:
            self._modules[constant.key] = FreeTensor(_parameter(constant))
        scope, name = reader.name.rpartition(".")[0], _name_in(reader, source)
        wanted = f"{scope}.{name}" if scope else name
        made = graph.add_call(graph.free_name(wanted), self._modules[constant.key], before=reader)
        self._made.append((prefix, made, wanted))
        return made


def _varies(value: Any) -> bool:
    return any(leaf is VARIES for leaf in leaves([value]))


def _parameter(constant: Constant) -> Tensor:
    """Return a constant as a parameter, or as a buffer if no parameter is behind it."""
    value = constant.value.detach()
    if value.is_meta:
        value = torch.empty_like(value)
    elif value.untyped_storage().nbytes() != value.numel() * value.element_size():
        value = value.clone()
    parameters = [tensor for tensor in constant.tensors if isinstance(tensor, nn.Parameter)]
    if not parameters:
        return value
    return nn.Parameter(value, requires_grad=any(parameter.requires_grad for parameter in parameters))


def _name_in(reader: InnerVertex, source: Vertex) -> str:
    """Return what a vertex calls an argument, such as ``weight``."""
    for key, argument in reader.kwargs.items():
        if argument is source:
            return key
    if isinstance(reader.module, Function):
        parameters = function_named(reader.module.operation).parameters
        position = next((i for i, argument in enumerate(reader.args) if argument is source), None)
        if position is not None and parameters[position] not in ("input", "other"):
            return parameters[position]
    return source.name.rpartition(".")[2]


def _read_inputs(graph: DagModule) -> list[str]:
    outputs = {id(vertex) for vertex in graph.output_vertices}
    return [vertex.name for vertex in graph.input_vertices if vertex.successors or id(vertex) in outputs]


def _drop_inputs(graph: DagModule, vertex: InnerVertex, nested: DagModule, names: list[str]) -> list[Vertex]:
    """Drop inputs of a nested graph; return the vertices that were given for them."""
    if not names:
        return []
    order = [entry.name for entry in nested.input_vertices]
    given = {**dict(zip(order, vertex.args, strict=False)), **vertex.kwargs}
    for name in names:
        nested.remove_vertex(nested.get_vertex_by_name(name))
    graph.set_arguments(vertex, [given[name] for name in order if name not in names], {})
    return [leaf for name in names for leaf in leaves([given[name]]) if isinstance(leaf, Vertex)]


def _drop_orphans(graph: DagModule, orphans: list[Vertex]) -> None:
    """Remove vertices that lost their last reader, and then what only they read; writes stay."""
    outputs = {id(vertex) for vertex in graph.output_vertices}
    while orphans:
        vertex = orphans.pop()
        if not isinstance(vertex, InnerVertex) or vertex not in graph or vertex.successors:
            continue
        if id(vertex) not in outputs and not _holds_write(vertex.module):
            orphans += vertex.predecessors
            graph.remove_vertex(vertex)


def _holds_write(module: nn.Module) -> bool:
    return any(isinstance(part, Function) and part.in_place for part in nn.Module.modules(module))
