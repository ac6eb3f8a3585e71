"""A stand-in for the model, on which capture runs it: the model itself is never touched."""

import copy
import types
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .recurrences import shorten_recurrences

__all__ = ["INTERNAL_ATTRIBUTES", "Clone", "Origin", "make_clone", "share_module"]

_PLAIN = (bool, int, float, str, type, torch.dtype, torch.device, torch.Size, types.FunctionType)
INTERNAL_ATTRIBUTES = frozenset(nn.Module().__dict__)


@dataclass(frozen=True)
class Origin:
    """Where a tensor stands in the model.

    Attributes:
        tensor: The model's own tensor.
        path: Path of the module that holds it and its name there.
        kind: "parameter", "buffer" or "constant" (a plain attribute).
        persistent: Whether it is part of the ``state_dict``.
    """

    tensor: Tensor
    path: str
    kind: str
    persistent: bool = True


@dataclass
class Clone:
    """A copy of a model with tensors of its own.

    Attributes:
        module: The copy.
        origins: ``id`` of a tensor of the copy -> where it comes from.
        tensors: Keeps the copy's tensors alive, so that no ``id`` is used twice.
    """

    module: nn.Module
    origins: dict[int, Origin] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)


def make_clone(model: nn.Module, device: torch.device | None, clear_caches: bool = True) -> Clone:
    """Copy a model.

    Args:
        model: Left as it is.
        device: Where the copy's tensors live: the meta device for shapes without numbers; None for where
            the model's do, parameters then sharing their memory with the model's.
        clear_caches: Empty dictionaries of tensors in plain attributes: as a rule they hold what an earlier
            call computed, which a graph must compute itself.
    """
    clone = Clone(model)
    memo: dict[int, Any] = {}
    for origin in _tensors_of(model):
        if id(origin.tensor) in memo:
            continue
        copied = _copy_tensor(origin, device)
        memo[id(origin.tensor)] = copied
        clone.origins[id(copied)] = origin
        clone.tensors.append(copied)
    clone.module = copy_module(model, memo)
    if clear_caches:
        empty_caches(clone.module)
    if device is not None and device.type == "meta":
        shorten_recurrences(clone.module)
    return clone


def empty_caches(model: nn.Module) -> None:
    """Empty dictionaries of tensors in plain attributes: what an earlier call computed and kept."""
    for module in nn.Module.modules(model):
        for name, value in module.__dict__.items():
            if name not in INTERNAL_ATTRIBUTES and _is_cache(value):
                value.clear()


def copy_module(module: nn.Module, memo: dict[int, Any]) -> Any:
    """Return a deep copy of a module, a good deal faster than :func:`copy.deepcopy` for plain modules."""
    if id(module) in memo:
        return memo[id(module)]
    cls = type(module)
    if (
        cls.__setstate__ is not nn.Module.__setstate__
        or hasattr(cls, "__deepcopy__")
        or "__slots__" in vars(cls)
    ):
        return copy.deepcopy(module, memo)
    copied = cls.__new__(cls)
    memo[id(module)] = copied
    for name, value in module.__dict__.items():
        copied.__dict__[name] = _copy_attribute(value, memo)
    return copied


def _copy_attribute(value: Any, memo: dict[int, Any]) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _copy_attribute(item, memo)) for key, item in value.items())
    if isinstance(value, nn.Module):
        return copy_module(value, memo)
    if isinstance(value, Tensor) and id(value) in memo:
        return memo[id(value)]
    if type(value) is tuple and all(type(item) in _PLAIN for item in value):
        return value
    return copy.deepcopy(value, memo)


def _is_cache(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(v, Tensor) for v in value.values())


def _copy_tensor(origin: Origin, device: torch.device | None) -> Tensor:
    tensor = origin.tensor
    if origin.kind == "parameter":
        data = tensor.detach() if device is None else tensor.detach().to(device)
        copied: Tensor = nn.Parameter(data, requires_grad=tensor.requires_grad)
        copied.__dict__.update(tensor.__dict__)
        return copied
    data = tensor.detach()
    return data.clone() if device is None else data.to(device, copy=True)


def _tensors_of(model: nn.Module) -> Iterator[Origin]:
    """Yield all tensors of a model with their paths; parameters and buffers before plain attributes."""
    named = list(nn.Module.named_modules(model))
    for prefix, module in named:
        dot = f"{prefix}." if prefix else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield Origin(parameter, dot + name, "parameter")
        for name, buffer in module._buffers.items():
            if buffer is not None:
                persistent = name not in module._non_persistent_buffers_set
                yield Origin(buffer, dot + name, "buffer", persistent)
    for prefix, module in named:
        dot = f"{prefix}." if prefix else ""
        for name, value in module.__dict__.items():
            if name not in INTERNAL_ATTRIBUTES:
                yield from _plain_tensors(value, dot + name)


def _plain_tensors(value: Any, path: str, depth: int = 0) -> Iterator[Origin]:
    if isinstance(value, Tensor):
        kind = "parameter" if isinstance(value, nn.Parameter) else "constant"
        yield Origin(value, path, kind, persistent=False)
    elif depth < 4 and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _plain_tensors(item, f"{path}.{index}", depth + 1)
    elif depth < 4 and isinstance(value, dict):
        for key, item in value.items():
            yield from _plain_tensors(item, f"{path}.{key}", depth + 1)


def share_module(module: nn.Module) -> nn.Module:
    """Return a copy of a layer with the very parameters and buffers of the original.

    What is edited on the copy (a padding, another weight tensor) leaves the model as it is.
    """
    memo: dict[int, Any] = {id(origin.tensor): origin.tensor for origin in _tensors_of(module)}
    return copy_module(module, memo)
