"""Tensors to the products that go event by event, and back."""

import torch
from torch import Tensor

from snnkit.nn.kernels.launch import run_kernel
from snnkit.sparse.kernels.launching import flat
from snnkit.sparse.structure import Compressed

__all__ = ["multiply_by_event", "sample_by_event"]

MOST_PARTS = 8
"""Sums that a gradient is made of; fixed, so that it does not depend on the number of threads."""

LEAST_ROWS = 64
"""Rows that are worth a sum of their own."""

_MODULE = "snnkit.sparse.kernels.event_kernels"


def multiply_by_event(values: Tensor, senders: Compressed, events: Tensor, receivers: int) -> Tensor:
    """Return ``events @ matrix``, each output a sum in ascending order over the events that reach it.

    Args:
        values: ``(nnz,)``, float32 or float64, on the CPU.
        senders: the weights from each input; their indices are the outputs.
        events: ``(rows, senders)`` of the values' type, mostly zero; what is zero costs next to nothing.
        receivers: outputs.

    Returns:
        ``(rows, receivers)``.
    """
    rows, size_in = events.shape
    output = events.new_empty(rows, receivers)
    arrays = (flat(events), flat(values), *senders.arrays, size_in, receivers, flat(output))
    run_kernel(_MODULE, "deliver_events", (rows, 1, max(size_in, receivers)), arrays)
    return output


def sample_by_event(senders: Compressed, events: Tensor, g: Tensor) -> Tensor:
    """Return ``events.T @ g`` at the weights, in the order of the values; only events are looked at.

    Args:
        senders: as in :func:`multiply_by_event`.
        events: ``(rows, senders)``, float32 or float64, on the CPU.
        g: ``(rows, receivers)`` of the same type.
    """
    (rows, size_in), size_out = events.shape, g.shape[1]
    parts = max(1, min(MOST_PARTS, rows // LEAST_ROWS))
    part_rows = -(-rows // parts)
    totals = torch.zeros(parts, senders.indices.shape[0], dtype=g.dtype)
    _, pointers, indices = senders.arrays
    arrays = (flat(events), flat(g), pointers, indices, size_in, size_out, part_rows, flat(totals))
    run_kernel(_MODULE, "sample_events", (parts, part_rows, size_in + size_out), arrays)
    total = totals[0] if parts == 1 else totals.sum(0)
    if senders.order is None:
        return total
    return torch.empty_like(total).index_copy_(0, senders.order.long(), total)
