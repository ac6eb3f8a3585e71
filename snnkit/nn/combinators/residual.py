"""Residual: a chain of modules whose input is added to its output."""

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from snnkit.nn.combinators.containers import named_modules, refuse_keywords, sizes
from snnkit.nn.combinators.sequential import SequentialMixin, TorchSequential
from snnkit.nn.modules.module import TorchModule
from snnkit.utilities.errors import ShapeError

if TYPE_CHECKING:
    from snnkit.dag import DagModule, Vertex

__all__ = ["Residual", "ResidualMixin", "TorchResidual"]


class ResidualMixin(SequentialMixin):
    """Mark of all residual blocks; see :class:`TorchResidual`."""


class TorchResidual(ResidualMixin, TorchSequential):
    """Modules one after the other, and a path around them: ``y = x + f_n(... f_0(x))``.

    Names and records are those of :class:`TorchSequential`. In the graph a vertex ``"add"`` joins the two
    paths, which on a chip become aliases.

    Raises:
        ShapeError: neighbours do not fit, or the block has not as many outputs as inputs.
        ConfigurationError: no modules, or a keyword argument.
    """

    def __init__(self, *modules: Any, **keywords: Any) -> None:
        refuse_keywords("Residual", keywords)
        named = named_modules("Residual", modules)
        TorchModule.__init__(self)
        self._adopt(named)

    def _check(self, named: dict[str, nn.Module]) -> None:
        super()._check(named)
        chain = list(named.values())
        size_in, size_out = sizes(chain[0])[0], sizes(chain[-1])[1]
        if size_in is not None and size_out is not None and size_in != size_out:
            raise ShapeError(
                "`size_in` and `size_out` must be identical for a residual block, "
                f"but {type(chain[0]).__name__} takes {size_in} channels and "
                f"{type(chain[-1]).__name__} gives {size_out}."
            )

    def forward(self, data: Tensor) -> Tensor:
        """Return input plus output of the last module, ``(batch, time, size_out)``."""
        data, _ = self._auto_batch(data)
        return data + super().forward(data)

    def _add_vertices(self, graph: "DagModule", source: "Vertex") -> "Vertex":
        from snnkit.dag.operations import Add

        last = super()._add_vertices(graph, source)
        name = "add"
        while name in self._modules:
            name = f"{name}_"
        return graph.add_vertex(name, Add(), [last, source])


def Residual(*modules: Any, **keywords: Any) -> TorchResidual:  # noqa: N802 - Rockpool's public name
    """Return a :class:`TorchResidual` of the modules."""
    return TorchResidual(*modules, **keywords)
