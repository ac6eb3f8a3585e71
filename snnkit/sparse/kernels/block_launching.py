"""Tensors to the products with blocks, and back; see :mod:`snnkit.sparse.kernels.launching`."""

from torch import Tensor

from snnkit.nn.kernels.launch import run_kernel
from snnkit.sparse.kernels.launching import flat, tiles
from snnkit.sparse.structure import Compressed, Pattern

__all__ = ["multiply", "multiply_transposed", "sample"]

_MODULE = "snnkit.sparse.kernels.blocks"


def multiply(values: Tensor, pattern: Pattern, x: Tensor) -> Tensor:
    """Return ``x @ matrix.T``, ``(batch, out_features)``.

    Args:
        values: numbers of the blocks, float32 or float64, on the CPU.
        pattern: with blocks.
        x: ``(batch, in_features)`` of the values' type.
    """
    assert pattern.blocks is not None
    height, width = pattern.block
    return _product(values, pattern.blocks, (height, width, width, 1), x)


def multiply_transposed(values: Tensor, pattern: Pattern, g: Tensor) -> Tensor:
    """Return ``g @ matrix``, ``(batch, in_features)``; as :func:`multiply`."""
    height, width = pattern.block
    return _product(values, pattern.columns_of_blocks(), (width, height, 1, width), g)


def _product(values: Tensor, lines: Compressed, blocks: tuple[int, int, int, int], x: Tensor) -> Tensor:
    rows = lines.lines * blocks[0]
    y = x.new_empty(x.shape[0], rows)
    for part in tiles(x.shape[0]):
        turned = x[part].T.contiguous()
        samples = turned.shape[1]
        product = turned.new_empty(rows, samples)
        arrays = (flat(values), *lines.arrays, blocks, flat(turned), samples, flat(product))
        work = values.shape[0] // max(lines.lines, 1) + 1
        run_kernel(_MODULE, "multiply_blocks", (lines.lines, samples, work), arrays)
        y[part] = product.T
    return y


def sample(pattern: Pattern, g: Tensor, x: Tensor) -> Tensor:
    """Return ``g.T @ x`` at the numbers of the blocks.

    Args:
        pattern: with blocks.
        g: ``(batch, out_features)``, float32 or float64, on the CPU.
        x: ``(batch, in_features)`` of the same type.
    """
    assert pattern.blocks is not None
    lines, (height, width) = pattern.blocks, pattern.block
    target = x.new_zeros(lines.indices.shape[0] * height * width)
    _, pointers, indices = lines.arrays
    for part in tiles(x.shape[0]):
        turned, gradient = x[part].T.contiguous(), g[part].T.contiguous()
        samples = turned.shape[1]
        arrays = (flat(target), pointers, indices, height, width, flat(gradient), flat(turned), samples)
        work = target.shape[0] // max(lines.lines, 1) + 1
        run_kernel(_MODULE, "sample_blocks", (lines.lines, samples, work), arrays)
    return target
