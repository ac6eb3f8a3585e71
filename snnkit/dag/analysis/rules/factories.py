"""Tensors made from sizes: those of one value have free axes, others know their indices."""

from snnkit.dag.analysis.axes import Axis, fresh
from snnkit.dag.analysis.flow import Query
from snnkit.dag.analysis.propagation import Propagation
from snnkit.dag.analysis.rules.table import rule
from snnkit.dag.analysis.tape import Operation

Axes = tuple[Axis, ...]


def _zeros_flow(op: Operation, query: Query) -> bool:
    return op.kind in ("aten.zeros", "aten.new_zeros", "aten.zeros_like")


@rule("zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "empty_strided",
      "scalar_tensor", "new_empty_strided", flow=_zeros_flow)  # fmt: skip
def _constant(op: Operation, p: Propagation) -> list[Axes]:
    return [tuple(fresh(n) for n in op.outputs[0].shape)]


@rule("zeros_like", "ones_like", "full_like", "empty_like", flow=_zeros_flow)
def _constant_like(op: Operation, p: Propagation) -> list[Axes]:
    return [p.of(op.inputs[0])]


@rule("arange", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "hann_window",
      "blackman_window")  # fmt: skip
def _counting(op: Operation, p: Propagation) -> list[Axes]:
    return [tuple(p.frozen(n, f"{op.kind} makes a value from each index", op) for n in op.outputs[0].shape)]


@rule("rand", "randn", "randint", "rand_like", "randn_like", "randint_like")
def _random(op: Operation, p: Propagation) -> list[Axes]:
    for value in op.inputs:
        p.freeze(p.of(value), f"{op.kind} draws a number for each index", op)
    text = f"{op.kind} draws a number for each index"
    return [tuple(p.frozen(n, text, op) for n in op.outputs[0].shape)]
