"""How sparse layers are written to the files of graphs: as a ``state_dict`` has them, in any format."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.dag.files import Format, register_format
from snnkit.sparse.layer import SparseLayer
from snnkit.sparse.masked import MASKED, Masked
from snnkit.utilities.errors import FileFormatError

__all__: list[str] = []

_SETTINGS = ("in_features", "out_features", "format", "mode", "k")
_CONVOLUTION = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode",
)  # fmt: skip


def _write(layer: SparseLayer) -> tuple[Any, dict[str, Tensor]]:
    content = {name: getattr(layer, name) for name in _SETTINGS}
    tensors = layer.state_dict(keep_vars=True)
    if not isinstance(tensors["values"], nn.Parameter):
        tensors["values"] = nn.Parameter(tensors["values"].detach(), layer.values.requires_grad)
    return {**content, "block": list(layer.block)}, dict(tensors)


def _read(content: Any, tensors: Mapping[str, Tensor]) -> SparseLayer:
    if not isinstance(content, dict) or set(content) != {*_SETTINGS, "block"}:
        raise FileFormatError(f"This is no SparseLayer: {str(content)[:80]}.")
    rows, columns, block = content["out_features"], content["in_features"], tuple(content["block"])
    if not {"values", "crow_indices", "col_indices"} <= set(tensors) or not isinstance(rows, int):
        raise FileFormatError(f"A SparseLayer has no tensors {sorted(tensors)}.")
    if len(tensors["crow_indices"]) != rows + 1:
        # Before memory is taken for what the file claims, not for what it holds.
        raise FileFormatError(
            f"A SparseLayer of {rows} rows has {len(tensors['crow_indices'])} crow_indices."
        )
    values, bias = tensors["values"], tensors.get("bias")
    height, width = block
    first = torch.arange(height)[:, None] * columns + torch.arange(width)
    layer = SparseLayer.from_weights(
        (rows, columns),
        first.reshape(-1),
        values.new_zeros(height * width),
        None if bias is None else torch.zeros_like(bias),
        format=content["format"],
        block=block,
        mode=content["mode"],
        k=content["k"],
    )
    layer.load_state_dict(dict(tensors))
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_(tensors[name].requires_grad)
    return layer


def _write_masked(layer: Masked) -> tuple[Any, dict[str, Tensor]]:
    content = {name: getattr(layer, name) for name in _CONVOLUTION}
    listed = {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
    return listed, dict(layer.state_dict(keep_vars=True))


def _read_masked(cls: type[Masked], content: Any, tensors: Mapping[str, Tensor]) -> Masked:
    if not isinstance(content, dict) or set(content) != set(_CONVOLUTION):
        raise FileFormatError(f"This is no {cls.__name__}: {str(content)[:80]}.")
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    layer = cls(**settings, bias="bias" in tensors, device="meta")
    expected = {name: tensor.shape for name, tensor in layer.state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in tensors.items()}:
        raise FileFormatError(f"{cls.__name__}: the tensors in the file do not have the layer's sizes.")
    mask = tensors["weight_mask"]
    if mask.dtype != torch.bool:
        raise FileFormatError(f"{cls.__name__}: weight_mask must be bool, not {mask.dtype}.")
    for name, tensor in tensors.items():
        setattr(layer, name, tensor)
    return layer


def _register(cls: type[Masked]) -> None:
    register_format(
        Format(
            f"snnkit.sparse.{cls.__name__}",
            cls,
            _write_masked,
            lambda content, tensors: _read_masked(cls, content, tensors),
        )
    )


register_format(Format("snnkit.sparse.SparseLayer", SparseLayer, _write, _read))
for _cls in MASKED.values():
    _register(_cls)
