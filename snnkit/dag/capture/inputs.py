"""The inputs of a model: how they are called, what to try without examples, and other batches."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import leaves, map_leaves
from ..errors import CaptureError
from ..registry import call_module, example_for
from ..signatures import TensorSpec
from .layers import layer_class

__all__ = ["example_of", "named_inputs", "on_device", "other_batch", "specs_of"]


def named_inputs(model: nn.Module, example_inputs: Any) -> dict[str, Any]:
    """Return example inputs by the names of the arguments of ``model.forward``.

    Raises:
        CaptureError: They are no tuple (of positional arguments) or mapping (of keyword arguments), or the
            model takes no such arguments.
    """
    if isinstance(example_inputs, Tensor):
        example_inputs = (example_inputs,)
    is_mapping = isinstance(example_inputs, Mapping)
    if not is_mapping and not isinstance(example_inputs, tuple | list):
        raise CaptureError(
            "example_inputs must be a tuple of the model's arguments, or a mapping of keyword arguments, not "
            f"{type(example_inputs).__name__}."
        )
    args = () if is_mapping else tuple(example_inputs)
    kwargs = dict(example_inputs) if is_mapping else {}
    try:
        bound = inspect.signature(model.forward).bind(*args, **kwargs)
    except TypeError as error:
        raise CaptureError(
            f"The example inputs do not fit {type(model).__name__}.forward: {error}."
        ) from None
    kinds = {name: parameter.kind for name, parameter in bound.signature.parameters.items()}
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if kinds[name] is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}_{index}": item for index, item in enumerate(value)}
        elif kinds[name] is inspect.Parameter.VAR_KEYWORD:
            named |= value
        else:
            named[name] = value
    return named


def call_with(model: Any, named: dict[str, Any]) -> Any:
    """Call a model with inputs by name as :func:`named_inputs` named them."""
    parameters = inspect.signature(model.forward).parameters
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            extra = {key: value for key, value in named.items() if key.startswith(f"{name}_")}
            args += extra.values()
            named = {key: value for key, value in named.items() if key not in extra}
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            kwargs |= {key: value for key, value in named.items() if key not in parameters}
        elif name in named and parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            kwargs[name] = named[name]
        elif name in named:
            if len(args) == list(parameters).index(name):
                args.append(named[name])
            else:
                kwargs[name] = named[name]
    # By the rule for its class: a spiking module returns its state as well, which is not its value.
    return call_module(model, *args, **kwargs)


def on_device(named: dict[str, Any], device: torch.device | None) -> dict[str, Any]:
    """Return copies of the inputs on a device; None for where they are."""

    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        data = leaf.detach()
        return data.clone() if device is None else data.to(device, copy=True)

    return {name: map_leaves(copy, value) for name, value in named.items()}


def specs_of(named: dict[str, Any], free: Mapping[str, Sequence[tuple[int, ...]]]) -> dict[str, Any]:
    """Return the inputs with a :class:`TensorSpec` for each tensor; ``free`` lists the axes left open."""
    specs = {}
    for name, value in named.items():
        specs[name] = map_leaves(partial(_spec, iter(free[name])), value)
    return specs


def _spec(axes: Iterator[tuple[int, ...]], leaf: Any) -> Any:
    return TensorSpec(tuple(leaf.shape), leaf.dtype, next(axes)) if isinstance(leaf, Tensor) else leaf


def batch_axes(named: dict[str, Any]) -> dict[str, list[tuple[int, ...]]]:
    """Return for each tensor of each input the axes that the batch has: (0,) or ()."""
    tensors = [leaf for leaf in leaves(list(named.values())) if isinstance(leaf, Tensor) and leaf.dim()]
    batch = tensors[0].shape[0] if tensors else 0
    return {
        name: [
            (0,) if leaf.dim() and leaf.shape[0] == batch else ()
            for leaf in leaves(value)
            if isinstance(leaf, Tensor)
        ]
        for name, value in named.items()
    }


def other_batch(
    named: dict[str, Any], axes: Mapping[str, Sequence[tuple[int, ...]]], more: int = 1
) -> dict[str, Any]:
    """Return inputs with other numbers and ``more`` additional elements along the batch."""
    generator = torch.Generator().manual_seed(20)
    result = {}
    for name, value in named.items():
        found = iter(axes[name])

        def vary(leaf: Any, found: Any = found) -> Any:
            return _varied(leaf, bool(next(found)), more, generator) if isinstance(leaf, Tensor) else leaf

        result[name] = map_leaves(vary, value)
    return result


def _varied(tensor: Tensor, has_batch: bool, more: int, generator: torch.Generator) -> Tensor:
    """Return the tensor with its elements in another order, larger along axis 0 if that is the batch."""
    data = tensor.detach()
    if has_batch and data.shape[0]:
        data = torch.cat([data, data[:1].expand(more, *data.shape[1:])]) if more else data
    if data.is_meta or not data.numel():
        return data
    if data.is_floating_point():
        noise = torch.randn(data.shape, generator=generator).to(data)
        spread = data.std(correction=0) if data.numel() > 1 else data.abs()
        return data.flip(-1) if data.dim() and _is_binary(data) else data + noise * (0.5 * spread + 1e-3)
    order = torch.randperm(data.numel(), generator=generator).to(data.device)
    return data.flatten()[order].reshape(data.shape)


def _is_binary(data: Tensor) -> bool:
    """Whether a tensor holds events or a mask, which must stay what they are."""
    return bool(((data == 0) | (data == 1)).all()) and bool((data == 1).any())


def example_of(model: nn.Module) -> tuple[Any, ...]:
    """Return inputs to try for a model of which the user gave none.

    Raises:
        CaptureError: Nothing about the model tells what it takes.
    """
    registered = example_for(model)
    if registered is not None:
        return registered
    array = getattr(model, "example_input_array", None)
    if array is not None:
        return array if isinstance(array, tuple) else (array,)
    for name in ("pretrained_cfg", "default_cfg"):
        config = getattr(model, name, None)
        size = (
            config.get("input_size") if isinstance(config, Mapping) else getattr(config, "input_size", None)
        )
        if size is not None:
            return (_numbers(2, *size),)
    for module in nn.Module.modules(model):
        registered, example = example_for(module), _for_layer(module)
        if registered is not None:
            return registered
        if example is not None:
            return (example,)
    raise CaptureError(f"{type(model).__name__} does not tell what it takes: pass example_inputs.")


def _for_layer(module: nn.Module) -> Tensor | None:
    """Return an input for a model that begins with this layer; None for a layer that does not tell."""
    kind = layer_class(module)
    if kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        axes = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}[kind]
        return _numbers(2, int(module.in_channels), *[64 if axes < 3 else 16] * axes)  # type: ignore[arg-type]
    if kind is nn.Linear:
        return _numbers(2, int(module.in_features))  # type: ignore[arg-type]
    if kind is nn.Embedding:
        return torch.arange(14).reshape(2, 7) % int(module.num_embeddings)  # type: ignore[arg-type]
    if kind in (nn.LSTM, nn.GRU, nn.RNN):
        return _numbers(2, 2, int(module.input_size))  # type: ignore[arg-type]
    if kind is nn.MultiheadAttention:
        return _numbers(2, 5, int(module.embed_dim))  # type: ignore[arg-type]
    return None


def _numbers(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
