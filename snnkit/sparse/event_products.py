"""The product of sparse weights with events as an autograd node: only weights of inputs that fired are read.

The gradient of the inputs is that of a dense product with the weights' lines: a surrogate gradient needs it
at silent neurons too. The gradient of the values is summed over the events.
"""

from typing import Any

import torch
from torch import Tensor

from snnkit.sparse.products import (
    check_structure,
    check_values,
    forward_product,
    gradients_of,
    input_gradient,
    needs_general_node,
    product,
    value_gradient,
    with_kernels,
)
from snnkit.sparse.structure import Pattern

__all__ = ["EventProduct", "event_product"]


class EventProduct(torch.autograd.Function):
    """``apply(values, events, pattern)`` returns ``events @ A(values).T``; events ``(rows, in_features)``."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, events: Tensor, pattern: Pattern) -> Tensor:
        """Deliver the events."""
        ctx.pattern = pattern
        ctx.save_for_backward(values, events)
        return _deliver(values, events, pattern)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Multiply by the transposed matrix, and sum over the events."""
        check_structure(ctx.pattern)
        values, events = ctx.saved_tensors
        if torch.is_grad_enabled():
            return gradients_of(ctx, values, events, g)
        need_values, need_events, _ = ctx.needs_input_grad
        d_events = input_gradient(values, g, ctx.pattern) if need_events else None
        return _collect(events, g, ctx.pattern) if need_values else None, d_events, None


def event_product(values: Tensor, events: Tensor, pattern: Pattern) -> Tensor:
    """Return ``events @ A(values).T``; equal to :func:`~snnkit.sparse.products.product` but for rounding.

    On the CPU in float32 and float64 each output is the sum, in ascending order, over the inputs that are not
    zero; elsewhere it is that of the general product.

    Args:
        values: ``(nnz,)``.
        events: ``(rows, in_features)``; any numbers, fast where most are zero.
        pattern: of the weight; its columns are the weights of each presynaptic neuron.
    """
    if needs_general_node():
        return product(values, events, pattern)
    if torch.is_grad_enabled() and (values.requires_grad or events.requires_grad):
        return EventProduct.apply(values, events, pattern)
    return _deliver(values, events, pattern)


def _deliver(values: Tensor, events: Tensor, pattern: Pattern) -> Tensor:
    check_values(values, pattern.nnz)
    if not (with_kernels(events) and events.shape[0] and values.shape[0]):
        return forward_product(values, events, pattern)
    from snnkit.sparse.kernels import by_event

    return by_event.multiply_by_event(values, pattern.by_columns(), events, pattern.shape[0])


def _collect(events: Tensor, g: Tensor, pattern: Pattern) -> Tensor:
    if not (with_kernels(events) and events.shape[0]):
        return value_gradient(g, events, pattern)
    from snnkit.sparse.kernels import by_event

    return by_event.sample_by_event(pattern.by_columns(), events, g)
