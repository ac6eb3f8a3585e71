"""How smaller layers of torch are built: the same layer with the remaining slices, and sizes to fit."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from snnkit.dag.analysis.module_rules import register_resize
from snnkit.dag.functions import FreeTensor
from snnkit.dag.pruning.sizes import NewSizes

__all__ = ["with_tensors"]


def with_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> Any:
    """Return a copy of ``module`` that holds ``tensors``, by name, in the place of its own."""
    memo: dict[int, Any] = {}
    own = dict([*nn.Module.named_parameters(module), *nn.Module.named_buffers(module)])
    for name, tensor in own.items():
        memo[id(tensor)] = tensors.get(name, tensor)
    return copy.deepcopy(module, memo)


def _simple(update: Callable[[Any, NewSizes], None]) -> Callable[..., nn.Module]:
    def resize(module: nn.Module, tensors: Mapping[str, Tensor], sizes: NewSizes) -> nn.Module:
        smaller = with_tensors(module, tensors)
        update(smaller, sizes)
        return smaller

    return resize


def _linear(layer: Any, sizes: NewSizes) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _convolution(layer: Any, sizes: NewSizes) -> None:
    layer.groups = sizes.number("groups", layer.groups)
    layer.out_channels, layer.in_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups


def _transposed(layer: Any, sizes: NewSizes) -> None:
    layer.groups = sizes.number("groups", layer.groups)
    layer.in_channels, layer.out_channels = layer.weight.shape[0], layer.weight.shape[1] * layer.groups


def _batch_norm(layer: Any, sizes: NewSizes) -> None:
    layer.num_features = sizes.input_shape()[1]


def _instance_norm(layer: Any, sizes: NewSizes) -> None:
    batched = len(sizes.input_shape()) > int(type(layer).__name__[-2]) + 1
    layer.num_features = sizes.input_shape()[int(batched)]


def _layer_norm(layer: Any, sizes: NewSizes) -> None:
    count = len(layer.normalized_shape)
    layer.normalized_shape = tuple(sizes.input_shape()[-count:])


def _group_norm(layer: Any, sizes: NewSizes) -> None:
    layer.num_groups = sizes.number("groups", layer.num_groups)
    layer.num_channels = sizes.input_shape()[1]


def _embedding(layer: Any, sizes: NewSizes) -> None:
    layer.num_embeddings, layer.embedding_dim = layer.weight.shape


def _prelu(layer: Any, sizes: NewSizes) -> None:
    layer.num_parameters = len(layer.weight)


def _recurrent(layer: Any, sizes: NewSizes) -> None:
    gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)
    layer.input_size = layer.weight_ih_l0.shape[1]
    layer.hidden_size = len(layer.weight_ih_l0) // gates
    layer.proj_size = len(layer.weight_hr_l0) if layer.proj_size else 0
    # Made anew: torch keeps references to the weights that it flattened.
    layer._init_flat_weights()


def _cell(layer: Any, sizes: NewSizes) -> None:
    layer.input_size, layer.hidden_size = layer.weight_ih.shape[1], layer.weight_hh.shape[1]


def _unflatten(layer: Any, sizes: NewSizes) -> None:
    dim = layer.dim % len(sizes.inputs[0].shape)
    count = len(layer.unflattened_size)
    new = sizes.result_shape()[dim : dim + count]
    layer.unflattened_size = tuple(
        old if old == -1 else n for old, n in zip(layer.unflattened_size, new, strict=True)
    )


def _shuffle(layer: Any, sizes: NewSizes) -> None:
    layer.groups = sizes.number("groups", layer.groups)


def _nothing(layer: Any, sizes: NewSizes) -> None: ...


_TABLE: list[tuple[tuple[type[nn.Module], ...], Callable[[Any, NewSizes], None]]] = [
    ((nn.Linear,), _linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _batch_norm),
    ((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    ((nn.LayerNorm, nn.RMSNorm), _layer_norm),
    ((nn.GroupNorm,), _group_norm),
    ((nn.Embedding,), _embedding),
    ((nn.PReLU,), _prelu),
    ((nn.RNNBase,), _recurrent),
    ((nn.RNNCellBase,), _cell),
    ((nn.Unflatten,), _unflatten),
    ((nn.ChannelShuffle,), _shuffle),
    ((FreeTensor,), _nothing),
]

for _classes, _update in _TABLE:
    for _cls in _classes:
        register_resize(_cls, _simple(_update))
