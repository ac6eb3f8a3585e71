"""Tensors to the compiled products and back; the rows of the matrix are shared among threads.

Each row is computed by one thread, whichever it is, and batches go in tiles of a fixed size: results do not
depend on the number of threads.
"""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from snnkit.nn.kernels.launch import run_kernel
from snnkit.sparse.structure import Compressed

__all__ = ["TILE", "flat", "gradients", "multiply", "sample", "tiles"]

TILE = 256
"""Samples of a batch that are transposed and multiplied at once: with more, the inputs leave the cache."""

_MODULE = "snnkit.sparse.kernels.compressed"


def flat(tensor: Tensor) -> np.ndarray:
    """Return the numbers of a tensor, in its own memory where they lie in order."""
    return tensor.detach().contiguous().numpy().reshape(-1)


def tiles(batch: int) -> Iterator[slice]:
    """Yield slices of a batch, of :data:`TILE` samples each."""
    return (slice(low, min(low + TILE, batch)) for low in range(0, batch, TILE))


def _multiply_tile(values: Tensor, compressed: Compressed, turned: Tensor) -> Tensor:
    """Return ``matrix @ turned``; its memory is that of a matrix ``(lines, width)``."""
    lines, width = compressed.lines, turned.shape[1]
    work = values.shape[0] // max(lines, 1) + 1
    product = turned.new_empty(lines, width)
    arguments = (flat(values), *compressed.arrays, flat(turned))
    if width == 1:
        run_kernel(_MODULE, "multiply_one", (lines, 1, work), (*arguments, flat(product)))
    else:
        run_kernel(_MODULE, "multiply", (lines, width, work), (*arguments, width, flat(product)))
    return product


def _sample_tile(target: Tensor, compressed: Compressed, g: Tensor, x: Tensor) -> None:
    """Add ``g @ x.T`` at the places of the weights to ``target``."""
    lines, width = compressed.lines, x.shape[1]
    work = target.shape[0] // max(lines, 1) + 1
    arguments = (flat(target), *compressed.arrays, flat(g), flat(x))
    if width == 1:
        run_kernel(_MODULE, "sample_one", (lines, 1, work), arguments)
    else:
        run_kernel(_MODULE, "sample", (lines, width, work), (*arguments, width))


def multiply(values: Tensor, compressed: Compressed, x: Tensor) -> Tensor:
    """Return ``x @ matrix.T``, ``(batch, lines)``.

    Args:
        values: ``(nnz,)``, float32 or float64, on the CPU.
        compressed: lines of the matrix.
        x: ``(batch, columns)`` of the values' type.
    """
    if x.shape[0] == 1:
        return _multiply_tile(values, compressed, x.reshape(-1, 1)).view(1, -1)
    if x.shape[0] <= TILE:
        return _multiply_tile(values, compressed, x.T.contiguous()).T.contiguous()
    y = x.new_empty(x.shape[0], compressed.lines)
    for part in tiles(x.shape[0]):
        y[part] = _multiply_tile(values, compressed, x[part].T.contiguous()).T
    return y


def sample(compressed: Compressed, g: Tensor, x: Tensor) -> Tensor:
    """Return ``g.T @ x`` at the places of the weights, in the order of the values.

    Args:
        compressed: lines of the matrix.
        g: ``(batch, lines)``, float32 or float64, on the CPU.
        x: ``(batch, columns)`` of the same type.
    """
    target = x.new_zeros(compressed.indices.shape[0])
    for part in tiles(x.shape[0]):
        _sample_tile(target, compressed, g[part].T.contiguous(), x[part].T.contiguous())
    return target


def gradients(
    values: Tensor, rows: Compressed, columns: Compressed, g: Tensor, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients ``g @ matrix`` and ``g.T @ x`` (at the weights), with ``g`` transposed only once.

    Args:
        values: ``(nnz,)``, float32 or float64, on the CPU.
        rows: the weights of each output.
        columns: those of each input.
        g: ``(batch, outputs)``.
        x: ``(batch, inputs)``.
    """
    d_x, d_values = x.new_empty(x.shape), x.new_zeros(rows.indices.shape[0])
    for part in tiles(x.shape[0]):
        turned = g[part].T.contiguous()
        d_x[part] = _multiply_tile(values, columns, turned).T
        _sample_tile(d_values, rows, turned, x[part].T.contiguous())
    return d_x, d_values
