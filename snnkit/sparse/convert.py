"""A layer from one form to another."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from snnkit.sparse import formats, state
from snnkit.sparse.errors import SparsityError
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import MASKED, Masked
from snnkit.sparse.restructure import places_of_mask
from snnkit.sparse.semi_structured import semi_structured
from snnkit.utilities.errors import unknown_key_message

__all__ = ["TARGETS", "convert", "weight_parameter"]

TARGETS = ("dense", *formats.FORMATS, "masked", "2:4")

_CONVOLUTIONS = tuple(MASKED)


def convert(
    layer: nn.Module, target: str, mask: Tensor | None = None, *, block: tuple[int, int] = (4, 4)
) -> nn.Module:
    """Return a layer that computes the same in another form; tensors are copied, ``layer`` stays as it is.

    Weights that are zero drop out. With a mask, the mask alone decides: weights outside it drop out, and a
    zero inside it stays a weight and can be trained. Blocks of ``bsr`` are stored where any of their weights
    is.

    Args:
        layer: ``nn.Linear`` or :class:`SparseLayer`; ``nn.Conv1d``, ``Conv2d``, ``Conv3d`` or their masked
            forms. Subclasses that leave ``forward`` as it is count as what they derive from.
        target: ``dense`` for a layer of torch; ``coo``, ``csr``, ``csc`` or ``bsr`` for a
            :class:`SparseLayer`; ``masked`` for a convolution; ``2:4`` for an ``nn.Linear`` with torch's
            semi-structured weight, for inference on CUDA devices.
        mask: bool, of the weight's shape.
        block: rows and columns of a block of ``bsr``.

    Raises:
        SparsityError: there is no such target, it does not exist for this layer, the mask does not fit,
            nothing would be left, or the layer has hooks or parametrizations that would be lost.
    """
    if target not in TARGETS:
        raise SparsityError(unknown_key_message("conversion target", str(target), TARGETS))
    reason = _obstacle(layer)
    if reason:
        raise SparsityError(f"{type(layer).__name__} cannot be converted: {reason}")
    if isinstance(layer, _CONVOLUTIONS):
        made = _converted_convolution(layer, target, mask)
    elif target == "dense":
        made = _dense(layer, mask)
    elif target == "2:4":
        made = semi_structured(_dense(layer, mask))
    elif target == "masked":
        raise SparsityError(
            f"'masked' is for convolutions. A {type(layer).__name__} can be 'csr', with mode 'auto' or "
            "'dense' where dense products are faster."
        )
    else:
        made = _sparse(layer, target, mask, block)
    for name, parameter in made.named_parameters(recurse=False):
        source = layer.bias if name == "bias" else weight_parameter(layer)
        assert isinstance(source, nn.Parameter)
        parameter.requires_grad_(source.requires_grad)
    return made.train(layer.training)


def weight_parameter(layer: nn.Module) -> nn.Parameter | None:
    """Return the parameter that holds a layer's weight: ``values`` of sparse layers."""
    return layer._parameters["values" if isinstance(layer, SparseLayer) else "weight"]


def _obstacle(layer: nn.Module) -> str | None:
    """Say why a layer has no other form; None if it has."""
    kind = next((cls for cls in type(layer).__mro__ if "forward" in vars(cls)), nn.Module)
    if kind not in (SparseLayer, Masked, nn.Linear, *_CONVOLUTIONS):
        return (
            "sparse forms exist for nn.Linear, nn.Conv1d, Conv2d and Conv3d, and for subclasses that leave "
            "their forward as it is."
        )
    if any(is_lazy(parameter) for parameter in layer.parameters()):
        return "it has no sizes yet; run the model once before."
    if parametrize.is_parametrized(layer):
        return (
            "it has parametrizations; remove them with torch.nn.utils.parametrize.remove_parametrizations()."
        )
    if any(hasattr(layer, f"{name}_mask") and hasattr(layer, f"{name}_orig") for name in ("weight", "bias")):
        return (
            "torch.nn.utils.prune has masked it; make the mask permanent with "
            "torch.nn.utils.prune.remove(), or import the masks with snnkit.sparse.pruning."
        )
    return _attached(layer)


def _attached(layer: nn.Module) -> str | None:
    """Say what hangs on a layer that another one would not have; None if nothing does."""
    hooks: list[Any] = [
        layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks,
    ]  # fmt: skip
    for tensor in layer.parameters(recurse=False):
        hooks += [tensor._backward_hooks, tensor._post_accumulate_grad_hooks]
    if any(hooks):
        return "it has hooks, which would be lost; remove them first."
    held = (*layer._parameters, *layer._buffers, *layer._modules)
    odd = [name for name in held if name not in ("weight", "bias")]
    if odd and not isinstance(layer, SparseLayer | Masked):
        return f"it has tensors or modules of its own, which would be lost: {', '.join(odd)}."
    return None


def _weight_of(layer: Any) -> Tensor:
    weight = layer.dense_weight() if isinstance(layer, SparseLayer | Masked) else layer.weight
    return weight.detach()


def _masked_weight(layer: Any, mask: Tensor | None) -> Tensor:
    """Return a copy of the dense weight, zero outside the mask."""
    weight = _weight_of(layer)
    if mask is None:
        return weight.clone()
    places = places_of_mask(mask, tuple(weight.shape)).to(weight.device)
    flat = torch.zeros_like(weight).view(-1)
    flat[places] = weight.reshape(-1)[places]
    return flat.view(weight.shape)


def _copied(bias: Tensor | None) -> nn.Parameter | None:
    return None if bias is None else nn.Parameter(bias.detach().clone())


def _dense(layer: Any, mask: Tensor | None) -> nn.Linear:
    weight = _masked_weight(layer, mask)
    made: Any = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    made.weight, made.bias = nn.Parameter(weight), _copied(layer.bias)
    return made


def _sparse(layer: Any, target: str, mask: Tensor | None, block: tuple[int, int]) -> SparseLayer:
    shape = (layer.out_features, layer.in_features)
    formats.checked_format(target, shape, block)
    weight = _weight_of(layer).reshape(-1)
    if not weight.is_floating_point():
        raise SparsityError(f"Sparse layers compute with real numbers, not {weight.dtype}.")
    if mask is not None:
        places = places_of_mask(mask, shape).to(weight.device)
    elif isinstance(layer, SparseLayer):
        places = layer.flat_indices()[layer.values.detach() != 0]
    else:
        places = weight.nonzero().reshape(-1)
    if not len(places):
        raise SparsityError(
            "Nothing would be left: all weights are zero or outside the mask. Give a mask that keeps some; "
            "a zero inside a mask stays a weight and can be trained."
        )
    numbers = weight if mask is None else _masked_weight(layer, mask).reshape(-1)
    if target == "bsr":
        places = state.whole_blocks(places, shape, block)
    settings: dict[str, Any] = {"mode": layer.mode, "k": layer.k} if isinstance(layer, SparseLayer) else {}
    return SparseLayer.from_weights(
        shape, places, numbers[places], layer.bias, format=target, block=block, **settings
    )


def _converted_convolution(layer: Any, target: str, mask: Tensor | None) -> nn.Module:
    kind = next(cls for cls in _CONVOLUTIONS if isinstance(layer, cls))
    if target not in ("dense", "masked"):
        raise SparsityError(
            f"A convolution can be 'masked' or 'dense', not {target!r}: sparse products of image patches "
            "are slower than the dense convolution."
        )
    weight = _masked_weight(layer, mask)
    make: Any = kind if target == "dense" else MASKED[kind]
    made = make(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        bias=False,
        padding_mode=layer.padding_mode,
        device="meta",
    )
    made.weight, made.bias = nn.Parameter(weight), _copied(layer.bias)
    if target == "masked":
        inside = weight != 0 if mask is None else mask.to(device=weight.device) != 0
        if not bool(inside.any()):
            raise SparsityError("Nothing would be left: all weights are zero or outside the mask.")
        made.weight_mask = inside.clone()
    return made
