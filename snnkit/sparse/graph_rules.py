"""What the graph has to know of sparse layers: each is one vertex, with the products of its weights."""

import math

from torch import nn

from snnkit.dag.analysis.axes import Axis
from snnkit.dag.analysis.flow import never
from snnkit.dag.analysis.module_rules import ModuleRule, register_module_rule
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.tape import Operation, values_in
from snnkit.dag.registry import register_reading
from snnkit.dag.shapes import LayerRule, register_layer_rule
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import Masked

__all__: list[str] = []

_FIXED = "the places of a sparse layer's weights"


def _axes(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    """Fix inputs and outputs: removing one would move the places of all weights behind it."""
    inputs = p.of(next(values_in(op.argument("inputs"))))
    p.freeze(inputs[-1:], _FIXED, op)
    for tensor in op.argument("held").values():
        p.freeze(p.of(tensor), _FIXED, op)
    return [(*inputs[:-1], p.frozen(op.outputs[0].shape[-1], _FIXED, op))]


def _one_vertex(module: nn.Module) -> bool:
    return True


register_reading(SparseLayer, _one_vertex)
register_reading(Masked, _one_vertex)
register_module_rule(SparseLayer, ModuleRule(_axes, never))
register_layer_rule(
    SparseLayer,
    LayerRule(
        output_shape=lambda layer, shape: (*shape[:-1], layer.out_features),
        macs=lambda layer, shape: math.prod(shape[:-1]) * layer.nnz,
        is_spiking=lambda layer: False,
    ),
)
