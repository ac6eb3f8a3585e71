"""FFwdStack: modules with dense weights between them."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from snnkit.nn.combinators.containers import add_child_vertex, evolve_child, keep_record, named_modules, sizes
from snnkit.nn.modules.module import TorchModule
from snnkit.parameters import Parameter
from snnkit.utilities.errors import ShapeError

if TYPE_CHECKING:
    from snnkit.dag import DagModule

__all__ = ["FFwdStack", "FFwdStackMixin", "TorchFFwdStack", "uniform_by_fan_in"]


def uniform_by_fan_in(shape: tuple[int, ...]) -> Tensor:
    """Draw weights ``(source, target)`` from U(-a, a), a = sqrt(6 / source): He et al. 2015."""
    bound = math.sqrt(6 / max(shape[0], 1))
    return torch.empty(shape).uniform_(-bound, bound)


class FFwdStackMixin:
    """Mark of all stacks of modules with weights between them; see :class:`TorchFFwdStack`."""


class TorchFFwdStack(FFwdStackMixin, TorchModule):
    """Modules one after the other with dense weights between: ``x_{n+1} = f_{n+1}(f_n(x_n) W_{n,n+1})``.

    The weights between module n and its successor are the parameter ``"{n}_{n+1}_weight"``, of shape
    ``(size_out of n, size_in of n+1)``, family ``"weights"``. Children are named ``"{n}_{Class}"``.

    Args:
        *modules: at least two modules; the first argument may be a dictionary of named ones.
        weight_init_func: initialiser of the weights, called with their shape.

    Raises:
        ConfigurationError: fewer than two modules.
        ShapeError: a module does not tell its size.
    """

    def __init__(
        self, *modules: Any, weight_init_func: Callable[[tuple[int, ...]], Any] = uniform_by_fan_in
    ) -> None:
        named = named_modules("FFwdStack", modules, minimum=2)
        chain = list(named.values())
        for name, module in named.items():
            if None in sizes(module):
                raise ShapeError(
                    f"FFwdStack: {name!r} does not tell its numbers of input and output channels."
                )
        super().__init__(
            shape=(sizes(chain[0])[0], sizes(chain[-1])[1]),
            spiking_input=getattr(chain[0], "spiking_input", False),
            spiking_output=getattr(chain[-1], "spiking_output", False),
        )
        for position, (name, module) in enumerate(named.items()):
            self.add_module(name, module)
            if position > 0:
                shape = (sizes(chain[position - 1])[1], sizes(module)[0])
                weight = Parameter(shape=shape, family="weights", init_func=weight_init_func)
                setattr(self, _weight_name(position), weight)

    def _steps(self) -> list[tuple[str, nn.Module, str | None]]:
        """Return name and module of each child, and the name of the weights in front of it."""
        children = [(name, module) for name, module in self._modules.items() if module is not None]
        return [
            (name, module, _weight_name(position) if position else None)
            for position, (name, module) in enumerate(children)
        ]

    def forward(self, data: Tensor) -> Tensor:
        """Return the output of the last module, ``(batch, time, size_out)``."""
        for name, child, weight in self._steps():
            if weight is not None:
                data = data @ getattr(self, weight)
            data, recorded = evolve_child(child, data, self._record)
            keep_record(self, name, recorded, data)
        return data

    def as_graph(self) -> "DagModule":
        """Return the graph: a vertex for each child, and one for each matrix of weights between."""
        from snnkit.dag import DagModule
        from snnkit.nn.modules import LinearTorch

        graph = DagModule(self._name or self.class_name)
        vertex: Any = graph.add_input_vertex("input")
        for name, child, weight in self._steps():
            if weight is not None:
                matrix = getattr(self, weight)
                linear = LinearTorch(tuple(matrix.shape), weight=matrix)
                vertex = graph.add_vertex(weight, linear, [vertex])
            vertex = add_child_vertex(graph, name, child, vertex)
        graph.mark_as_output(vertex)
        return graph


def _weight_name(position: int) -> str:
    """Return the name of the weights in front of the module at ``position``."""
    return f"{position - 1}_{position}_weight"


def FFwdStack(  # noqa: N802 - Rockpool's public name
    *modules: Any, weight_init_func: Callable[[tuple[int, ...]], Any] = uniform_by_fan_in
) -> TorchFFwdStack:
    """Return a :class:`TorchFFwdStack` of the modules."""
    return TorchFFwdStack(*modules, weight_init_func=weight_init_func)
