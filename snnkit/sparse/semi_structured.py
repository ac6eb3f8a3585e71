"""Weights with two numbers in every four, which NVIDIA's processors from Ampere on multiply at twice the "
"speed."""

import torch
from torch import nn

from snnkit.sparse.errors import SparsityError

__all__ = ["semi_structured"]


def semi_structured(layer: nn.Linear) -> nn.Linear:
    """Give a layer torch's semi-structured weight in place of its dense one; for inference.

    Args:
        layer: whose weight has at most two numbers that are not zero in any four consecutive ones of a row.

    Raises:
        SparsityError: it is not on a CUDA device, its weight is not of this form, or torch has no kernel for
            its type or size.
    """
    weight = layer.weight.detach()
    if not weight.is_cuda:
        raise SparsityError(
            f"The format 2:4 is computed by CUDA devices only; this layer is on {weight.device}. Move it "
            "there first, or use 'csr'."
        )
    if weight.shape[1] % 4:
        raise SparsityError(f"The format 2:4 needs in_features divisible by 4, not {weight.shape[1]}.")
    fours = (weight.reshape(-1, 4) != 0).sum(1)
    over = int((fours > 2).sum())
    if over:
        raise SparsityError(
            f"{over} of {len(fours)} groups of four weights have more than two that are not zero: prune the "
            "layer to 2:4 first, or give such a mask."
        )
    try:
        layer.weight = nn.Parameter(torch.sparse.to_sparse_semi_structured(weight), requires_grad=False)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise SparsityError(
            f"torch has no 2:4 form of a {weight.dtype} weight {tuple(weight.shape)}: {error}"
        ) from error
    return layer
