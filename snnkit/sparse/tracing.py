"""The product as an operator of torch, for ``torch.compile`` and ``torch.export``: they cannot read kernels.

Its gradients are those of the layer; gradients of gradients are not offered here, only outside compilation.
"""

from collections.abc import Sequence
from typing import Any

# ruff: noqa: PLR0917 - operators of torch have no keywords
import torch
from torch import Tensor

from snnkit.sparse import formats, products
from snnkit.sparse.structure import Compressed, Pattern

__all__ = ["traced_product"]


def _compressed(tensors: Sequence[Tensor]) -> Compressed | None:
    return Compressed(*tensors) if tensors else None


def _pattern(
    kind: str, stored: Sequence[Tensor], turned: Sequence[Tensor], shape: Sequence[int], block: Sequence[int]
) -> Pattern:
    height, width = block
    return formats.pattern(
        kind, Compressed(*stored), _compressed(turned), (shape[0], shape[1]), (height, width)
    )


@torch.library.custom_op("snnkit::sparse_product", mutates_args=())
def _product(
    values: Tensor,
    x: Tensor,
    stored: Sequence[Tensor],
    turned: Sequence[Tensor],
    kind: str,
    shape: Sequence[int],
    block: Sequence[int],
) -> Tensor:
    return products.forward_product(values, x, _pattern(kind, stored, turned, shape, block))


@torch.library.custom_op("snnkit::sparse_product_gradients", mutates_args=())
def _gradients(
    values: Tensor,
    x: Tensor,
    g: Tensor,
    stored: Sequence[Tensor],
    turned: Sequence[Tensor],
    kind: str,
    shape: Sequence[int],
    block: Sequence[int],
) -> tuple[Tensor, Tensor]:
    d_x, d_values = products.both_gradients(values, _pattern(kind, stored, turned, shape, block), g, x)
    return d_values, d_x


@_product.register_fake
def _(values: Any, x: Any, stored: Any, turned: Any, kind: Any, shape: Any, block: Any) -> Tensor:
    return x.new_empty(x.shape[0], shape[0])


@_gradients.register_fake
def _(
    values: Any, x: Any, g: Any, stored: Any, turned: Any, kind: Any, shape: Any, block: Any
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(values), x.new_empty(x.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, x, ctx.stored, ctx.turned, *ctx.rest = inputs
    ctx.save_for_backward(values, x)


def _backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    values, x = ctx.saved_tensors
    d_values, d_x = _gradients(values, x, g, ctx.stored, ctx.turned, *ctx.rest)
    of_lists = [[None] * len(tensors) for tensors in (ctx.stored, ctx.turned)]
    return d_values, d_x, *of_lists, None, None, None


_product.register_autograd(_backward, setup_context=_keep)


def traced_product(
    values: Tensor,
    x: Tensor,
    stored: Compressed,
    turned: Compressed | None,
    kind: str,
    shape: tuple[int, int],
    block: tuple[int, int],
) -> Tensor:
    """Return ``x @ A(values).T`` as one operator of a graph.

    Args:
        values: ``(nnz,)``.
        x: ``(batch, in_features)``.
        stored: what the layer stores.
        turned: the other direction; worked out in every backward pass where it is None.
        kind: the layer's format.
        shape: of the weight.
        block: of the format.
    """
    other = [] if turned is None else list(turned.tensors())
    return _product(values, x, list(stored.tensors()), other, kind, list(shape), list(block))
