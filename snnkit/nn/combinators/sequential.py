"""Sequential: modules one after the other."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, overload

from torch import Tensor, nn

from snnkit.nn.combinators.containers import (
    add_child_vertex,
    check_neighbours,
    evolve_child,
    keep_record,
    named_modules,
    refuse_keywords,
    sizes,
)
from snnkit.nn.modules.module import TorchModule
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

if TYPE_CHECKING:
    from snnkit.dag import DagModule, Vertex

__all__ = ["Sequential", "SequentialMixin", "TorchSequential"]


class SequentialMixin:
    """Mark of all containers that run their modules one after the other; see :class:`TorchSequential`."""


class TorchSequential(SequentialMixin, TorchModule):
    """Modules one after the other: ``y = f_n(... f_1(f_0(x)))``.

    Children are named ``"{position}_{Class}"`` (``"0_LinearTorch"``), or as in the mapping given as first
    argument. With ``record=True`` the record holds, for each child, its own record under its name and its
    output, gradient included, under ``"{name}_output"``.

    Args:
        *modules: modules, ours or plain torch's; the first argument may be a dictionary of named ones.

    Raises:
        ShapeError: neighbours do not fit.
        ConfigurationError: no modules, or a keyword argument.
    """

    def __init__(self, *modules: Any, **keywords: Any) -> None:
        refuse_keywords("Sequential", keywords)
        named = named_modules("Sequential", modules)
        super().__init__()
        self._adopt(named)

    def _adopt(self, named: dict[str, nn.Module]) -> None:
        """Take on modules that fit each other, and what follows from them."""
        self._check(named)
        for name, module in named.items():
            if name not in self._modules:
                self.add_module(name, module)
        chain = list(named.values())
        self._shape = (sizes(chain[0])[0], sizes(chain[-1])[1])
        self._spiking_input = getattr(chain[0], "spiking_input", False)
        self._spiking_output = getattr(chain[-1], "spiking_output", False)

    def _check(self, named: dict[str, nn.Module]) -> None:
        check_neighbours(named)

    @property
    def _chain(self) -> dict[str, nn.Module]:
        return {name: module for name, module in self._modules.items() if module is not None}

    def append(self, mod: nn.Module, name: str | None = None) -> Self:
        """Add a module at the end; return this container.

        Raises:
            ConfigurationError: a child of that name exists.
            ShapeError: the module does not fit the last one.
        """
        name = f"{len(self)}_{type(mod).__name__}" if name is None else name
        if name in self._modules:
            raise ConfigurationError(f"{self._label} already has a submodule {name!r}; choose another name.")
        if not isinstance(mod, nn.Module):
            raise TypeError(f"{self._label}: cannot append {type(mod).__name__}, which is no module.")
        self._adopt({**self._chain, name: mod})
        return self

    def __len__(self) -> int:
        return len(self._chain)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._chain.values())

    @overload
    def __getitem__(self, index: int | str) -> nn.Module: ...
    @overload
    def __getitem__(self, index: slice) -> "TorchSequential": ...
    def __getitem__(self, index: int | str | slice) -> nn.Module:
        if isinstance(index, str):
            if index not in self._modules:
                raise KeyError(f"{self._label}: {unknown_key_message('submodule', index, self._chain)}")
            return self._chain[index]
        if isinstance(index, slice):
            return self._slice(dict(list(self._chain.items())[index]))
        return list(self._chain.values())[index]

    def _slice(self, named: dict[str, nn.Module]) -> "TorchSequential":
        """Return a Sequential of some of the children: the same modules under the same names."""
        return TorchSequential(named)

    def forward(self, data: Tensor) -> Tensor:
        """Return the output of the last module, ``(batch, time, size_out)``."""
        for name, child in self._chain.items():
            data, recorded = evolve_child(child, data, self._record)
            keep_record(self, name, recorded, data)
        return data

    def as_graph(self) -> "DagModule":
        """Return the graph: one vertex for each child, named as the child; nested for containers."""
        from snnkit.dag import DagModule

        graph = DagModule(self._name or self.class_name)
        graph.mark_as_output(self._add_vertices(graph, graph.add_input_vertex("input")))
        return graph

    def _add_vertices(self, graph: "DagModule", source: "Vertex") -> "Vertex":
        """Add the children after ``source``; return the vertex that gives the output."""
        for name, child in self._chain.items():
            source = add_child_vertex(graph, name, child, source)
        return source


def Sequential(*modules: Any, **keywords: Any) -> TorchSequential:  # noqa: N802 - Rockpool's public name
    """Return a :class:`TorchSequential` of the modules."""
    return TorchSequential(*modules, **keywords)
