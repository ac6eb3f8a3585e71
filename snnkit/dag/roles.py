"""Graphs with a role in training: teacher, student, and blocks with alternatives to choose from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .copying import copy_graph, share_graph
from .dag_module import DagModule
from .errors import GraphError
from .functions import FreeTensor, Function
from .running import watching
from .vertex import InnerVertex

__all__ = ["SearchBlock", "StudentModule", "TeacherModule", "choose", "retyped"]


def retyped(graph: DagModule, cls: type[DagModule], copy: bool) -> DagModule:
    """Return the graph as one of another class: with tensors of its own, or with the very same."""
    new = copy_graph(graph) if copy else share_graph(graph)
    new.__class__ = cls
    return new


class TeacherModule(DagModule):
    """A graph that does not learn: always in evaluation mode, and without gradients."""

    @classmethod
    def from_graph(cls, graph: DagModule) -> Self:
        """Return a frozen copy of a graph."""
        teacher = cast(Self, retyped(graph, cls, copy=True))
        for parameter in nn.Module.parameters(teacher):
            parameter.requires_grad_(False)
        return nn.Module.eval(teacher)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the outputs, without gradients."""
        with torch.no_grad():
            return super().forward(*inputs, **named)


class StudentModule(DagModule):
    """A graph that learns from a teacher, at its output and at vertices of the same paths."""

    @classmethod
    def from_graph(cls, graph: DagModule) -> Self:
        """Return a copy of a graph to train."""
        return cast(Self, retyped(graph, cls, copy=True))

    def distil(
        self,
        teacher: DagModule,
        *inputs: Any,
        paths: Sequence[str] = (),
        loss: Callable[[Tensor, Tensor], Tensor] = functional.mse_loss,
    ) -> tuple[Any, Tensor]:
        """Return the student's outputs, and how far its values are from the teacher's.

        Args:
            teacher: A graph with vertices of the same paths; see :class:`TeacherModule`.
            inputs: Of both.
            paths: Vertices to compare, each of which gives one tensor; without them the outputs.
            loss: Of a value of the student and one of the teacher; summed over the paths.

        Raises:
            GraphError: A path is missing on either side.
        """
        output, values = _values_at(self, inputs, paths)
        with torch.no_grad():
            expected_output, expected = _values_at(teacher, inputs, paths)
        pairs = [(values[path], expected[path]) for path in paths] or [(output, expected_output)]
        return output, torch.stack([loss(value, target) for value, target in pairs]).sum()


def _values_at(graph: DagModule, inputs: Sequence[Any], paths: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    values: dict[str, Any] = {}

    def keep(path: str, vertex: InnerVertex, args: Any, kwargs: Any, call: Callable[[], Any]) -> Any:
        value = call()
        if path in paths:
            values[path] = value
        return value

    with watching(keep):
        output = graph(*inputs)
    missing = [path for path in paths if path not in values]
    if missing:
        raise GraphError(f"{graph.title} has no vertices {', '.join(missing)}.")
    return output, values


class SearchBlock(DagModule):
    """Alternatives for one place of a network, mixed by weights that are learnt.

    The value is ``sum_i softmax(logits)_i alternative_i(x)``; :func:`choose` puts the best one in its place.
    """

    @classmethod
    def of(cls, name: str, alternatives: Mapping[str, nn.Module]) -> Self:
        """Return a block of alternatives, which take one value each and give values of one shape.

        Raises:
            GraphError: There are fewer than two.
        """
        if len(alternatives) < 2:
            raise GraphError(f"{name!r} needs two alternatives or more to choose from.")
        block = cls(name)
        x = block.add_input_vertex("input")
        values = [block.add_call(key, module, (x,)) for key, module in alternatives.items()]
        logits = block.add_call("logits", FreeTensor(nn.Parameter(torch.zeros(len(values)))))
        shares = block.add_call("shares", Function("softmax"), (logits,), {"dim": 0})
        stacked = block.add_call("stack", Function("stack"), (list(values),))
        block.mark_as_output(block.add_call("mix", Function("tensordot"), (shares, stacked), {"dims": 1}))
        return block

    @property
    def logits(self) -> nn.Parameter:
        """What the shares are the softmax of; in the order of :attr:`alternatives`."""
        vertex = cast(InnerVertex, self.get_vertex_by_name("logits"))
        return cast(nn.Parameter, vertex.module.value)

    @property
    def alternatives(self) -> dict[str, nn.Module]:
        """The alternatives by name."""
        (x,) = self.input_vertices
        return {reader.name: reader.module for reader in x.successors}

    @property
    def best(self) -> str:
        """The name of the alternative with the largest share."""
        return list(self.alternatives)[int(self.logits.argmax())]


def choose(graph: DagModule) -> DagModule:
    """Return the graph with the best alternative in the place of each :class:`SearchBlock`."""
    chosen = share_graph(graph)
    for level in list(chosen.graphs()):
        for vertex in level.inner_vertices:
            if isinstance(vertex.module, SearchBlock):
                level.replace(vertex, vertex.module.alternatives[vertex.module.best])
    return chosen
