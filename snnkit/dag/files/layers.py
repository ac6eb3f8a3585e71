"""Layers of ``torch.nn`` as JSON: the arguments of their constructors, read off their attributes."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.utilities.errors import FileFormatError, unknown_key_message

from ..capture.layers import layer_class
from ..errors import GraphError

__all__ = ["layer_config", "layer_tensors", "make_layer", "place_tensors"]

_NAMES = """
Identity Linear Bilinear Embedding
Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
BatchNorm1d BatchNorm2d BatchNorm3d InstanceNorm1d InstanceNorm2d InstanceNorm3d
LayerNorm GroupNorm RMSNorm LocalResponseNorm CrossMapLRN2d
RNN LSTM GRU RNNCell LSTMCell GRUCell MultiheadAttention
Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
ReLU ReLU6 LeakyReLU PReLU RReLU ELU CELU SELU GELU SiLU Mish Hardswish Hardsigmoid Hardtanh Hardshrink
Sigmoid LogSigmoid Tanh Tanhshrink Softplus Softshrink Softsign Softmax Softmin Softmax2d LogSoftmax
Threshold GLU
AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d LPPool1d LPPool2d LPPool3d
AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
MaxUnpool1d MaxUnpool2d MaxUnpool3d
ConstantPad1d ConstantPad2d ConstantPad3d ZeroPad1d ZeroPad2d ZeroPad3d
ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d
CircularPad1d CircularPad2d CircularPad3d
Upsample UpsamplingNearest2d UpsamplingBilinear2d PixelShuffle PixelUnshuffle ChannelShuffle
Flatten Unflatten Fold Unfold CosineSimilarity PairwiseDistance
"""
LAYERS: dict[str, type[nn.Module]] = {name: getattr(nn, name) for name in _NAMES.split()}
"""The layers that files may name."""

_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "RNN": (*_RECURRENT, "nonlinearity"),
    "LSTM": (*_RECURRENT, "proj_size"),
    "GRU": _RECURRENT,
    "Identity": (),
}
"""Arguments where the constructor's signature does not tell."""

_SKIPPED = frozenset({"self", "device", "dtype", "_weight", "_freeze", "init", "min_value", "max_value"})
_VALUES: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("MultiheadAttention", "bias"): lambda module: module.in_proj_bias is not None,
    ("MultiheadAttention", "add_bias_kv"): lambda module: module.bias_k is not None,
    ("PairwiseDistance", "p"): lambda module: module.norm,
}


def layer_config(module: nn.Module, place: str) -> tuple[str, dict[str, Any]]:
    """Return the class of a layer and the arguments that make another one like it.

    Raises:
        GraphError: Files have no form for it, or its sizes do not fit its tensors.
    """
    cls = layer_class(module)
    name = cls.__name__ if cls is not None else type(module).__name__
    if cls is None or LAYERS.get(name) is not cls:
        raise GraphError(
            f"{place}: files have no form for {type(module).__module__}.{type(module).__qualname__}. "
            "Capture a model that holds it, so that its forward is recorded, or say with register_format() "
            "how it is written."
        )
    if module._forward_hooks or module._forward_pre_hooks:
        raise GraphError(f"{place}: {name} has hooks, which files cannot hold: remove them first.")
    config = {argument: _value(module, name, argument, place) for argument in _arguments(name)}
    made = make_layer(name, config)
    expected, found = layer_tensors(made), layer_tensors(module)
    for key in expected.keys() | found.keys():
        if key not in expected or key not in found or expected[key].shape != found[key].shape:
            shapes = [tuple(tensors[key].shape) if key in tensors else None for tensors in (found, expected)]
            raise GraphError(
                f"{place}: the {key} of {name} has shape {shapes[0]}, but its attributes ask for {shapes[1]}."
            )
    return name, config


def _arguments(name: str) -> tuple[str, ...]:
    if name in _ARGUMENTS:
        return _ARGUMENTS[name]
    parameters = inspect.signature(LAYERS[name].__init__).parameters
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(key for key, p in parameters.items() if key not in _SKIPPED and p.kind not in variadic)


def _value(module: nn.Module, name: str, argument: str, place: str) -> Any:
    if (name, argument) in _VALUES:
        return _VALUES[name, argument](module)
    if not hasattr(module, argument):
        raise GraphError(f"{place}: {name} has no attribute {argument!r}, which makes a layer like it.")
    value = getattr(module, argument)
    is_tensor = argument in module._parameters or argument in module._buffers
    if is_tensor:
        return value is not None
    return tuple(value) if isinstance(value, torch.Size) else value


def make_layer(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Return a layer without numbers: its tensors are on the meta device.

    Raises:
        FileFormatError: There is no such layer, or it takes no such arguments.
    """
    if name not in LAYERS:
        raise FileFormatError(unknown_key_message("layer", str(name), LAYERS))
    unknown = set(config) - set(_arguments(name))
    if unknown:
        raise FileFormatError(f"{name} takes no {', '.join(sorted(map(str, unknown)))}.")
    try:
        with torch.device("meta"):
            return LAYERS[name](**config)
    except (TypeError, ValueError, RuntimeError, AssertionError, ArithmeticError, OverflowError) as error:
        raise FileFormatError(f"{name} cannot be made from {str(dict(config))[:200]}: {error}") from None


def layer_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name, those of children included."""
    named = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    return dict(named)


def place_tensors(module: nn.Module, tensors: Mapping[str, Tensor], place: str) -> None:
    """Put tensors from a file into a layer just made.

    Raises:
        FileFormatError: They are not those of the layer.
    """
    expected = layer_tensors(module)
    if expected.keys() != tensors.keys():
        raise FileFormatError(f"{place} has the tensors {sorted(tensors)}, and needs {sorted(expected)}.")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise FileFormatError(
                f"{place}: {name} has shape {tuple(tensor.shape)}, and needs {tuple(expected[name].shape)}."
            )
        if isinstance(expected[name], nn.Parameter) != isinstance(tensor, nn.Parameter):
            raise FileFormatError(f"{place}: {name} is a parameter on one side and a buffer on the other.")
        path, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(path), attribute, tensor)
