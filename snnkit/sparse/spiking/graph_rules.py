"""What the graph has to know of spiking modules with sparse weights: one vertex each, of a fixed size."""

import math
from typing import Any

from torch import nn

from snnkit.dag.analysis.axes import Axis
from snnkit.dag.analysis.flow import never
from snnkit.dag.analysis.module_rules import ModuleRule, register_module_rule
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.tape import Operation, values_in
from snnkit.dag.registry import register_reading
from snnkit.dag.shapes import LayerRule, register_layer_rule
from snnkit.sparse.spiking.lif import SparseLIFTorch
from snnkit.sparse.spiking.linear import SparseLinearTorch

__all__: list[str] = []

_FIXED = "the places of a sparse module's weights"


def _axes(op: Operation, p: Propagation) -> list[tuple[Axis, ...]]:
    """Fix inputs and outputs: removing one would move the places of all weights behind it."""
    inputs = p.of(next(values_in(op.argument("inputs"))))
    p.freeze(inputs[-1:], _FIXED, op)
    for tensor in op.argument("held").values():
        p.freeze(p.of(tensor), _FIXED, op)
    return [(*inputs[:-1], p.frozen(op.outputs[0].shape[-1], _FIXED, op))]


def _one_vertex(module: nn.Module) -> bool:
    return True


def _rule(is_spiking: bool) -> LayerRule:
    def output_shape(module: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], module.size_out)

    def macs(module: Any, shape: tuple[int, ...]) -> int:
        return math.prod(shape[:-1]) * int(module.synapses.nnz)

    return LayerRule(output_shape, macs, lambda module: is_spiking)


for _cls, _spikes in ((SparseLinearTorch, False), (SparseLIFTorch, True)):
    register_reading(_cls, _one_vertex)
    register_module_rule(_cls, ModuleRule(_axes, never))
    register_layer_rule(_cls, _rule(_spikes))
