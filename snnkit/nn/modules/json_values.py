"""Attribute values as JSON, exactly: tensors, arrays, numbers, texts, containers and named functions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.modules.callables import callable_name, callable_named
from snnkit.parameters import as_constant_free
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["json_to_param", "param_to_json"]

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool,
        torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    )
}  # fmt: skip
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ARRAY_KINDS = "fiub"


def param_to_json(param: Any) -> Any:
    """Return the value of an attribute in a form that JSON can hold.

    Raises:
        ConfigurationError: a function without a registered name, or a kind of object that files cannot hold.
    """
    value = as_constant_free(param)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            return write(value)
    return {"callable": _named(value)}


def json_to_param(content: Any) -> Any:
    """Return the value that :func:`param_to_json` wrote.

    Raises:
        FileFormatError: the content is no such value.
    """
    if content is None or isinstance(content, (bool, int, float, str)):
        return content
    if not isinstance(content, dict) or len(content) != 1:
        raise FileFormatError(f"{_shortened(content)} is no value of an attribute.")
    ((kind, inner),) = content.items()
    if kind not in _READERS:
        raise FileFormatError(f"{kind!r} is no kind of value; known are {', '.join(_READERS)}.")
    try:
        return _READERS[kind](inner)
    except FileFormatError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError, AttributeError) as error:
        raise FileFormatError(f"{_shortened(content)} is no {kind}: {error}") from error


def _named(value: Any) -> str:
    if not callable(value):
        raise ConfigurationError(
            f"{value!r} of type {type(value).__name__} cannot be stored in a file. "
            "Numbers, texts, tensors, arrays, lists, dictionaries and named functions can."
        )
    name = callable_name(value)
    if name is None:
        raise ConfigurationError(
            f"{value!r} has no registered name, and files hold no code. Call "
            "snnkit.nn.modules.register_callable('name', function) before saving and before loading."
        )
    return name


def _tensor_to_json(tensor: Tensor) -> dict[str, Any]:
    if tensor.dtype not in _DTYPE_NAMES:
        raise ConfigurationError(f"A tensor of type {tensor.dtype} cannot be stored in a file.")
    data = _finite(tensor.detach().cpu().reshape(-1).tolist())
    return {"dtype": _DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data": data}


def _array_to_json(array: np.ndarray) -> Any:
    if array.dtype.kind not in _ARRAY_KINDS:
        raise ConfigurationError(f"An array of type {array.dtype} cannot be stored in a file.")
    data = _finite(array.reshape(-1).tolist())
    return {"array": {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}}


def _dict_to_json(entries: dict[Any, Any]) -> Any:
    if not all(isinstance(key, str) for key in entries):
        raise ConfigurationError(f"{_shortened(entries)} cannot be stored in a file: a key is no text.")
    return {"dict": {key: param_to_json(entry) for key, entry in entries.items()}}


_WRITERS: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (Tensor, lambda tensor: {"tensor": _tensor_to_json(tensor)}),
    (np.ndarray, _array_to_json),
    (np.generic, lambda number: param_to_json(number.item())),
    (float, lambda number: {"float": str(number)}),
    (list, lambda entries: {"list": [param_to_json(entry) for entry in entries]}),
    (tuple, lambda entries: {"tuple": [param_to_json(entry) for entry in entries]}),
    (dict, _dict_to_json),
    (torch.dtype, lambda dtype: {"dtype": str(dtype).removeprefix("torch.")}),
    (torch.device, lambda device: {"device": str(device)}),
)


def _finite(numbers: list[Any]) -> list[Any]:
    """Write infinities and NaN as text: they are no JSON."""
    return [str(n) if isinstance(n, float) and not math.isfinite(n) else n for n in numbers]


def _numbers(data: list[Any]) -> list[Any]:
    return [float(n) if isinstance(n, str) else n for n in data]


def _tensor_from_json(content: dict[str, Any]) -> Tensor:
    flat = torch.tensor(_numbers(content["data"]), dtype=_DTYPES[content["dtype"]])
    return flat.reshape([int(size) for size in content["shape"]])


def _array_from_json(content: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(content["dtype"])
    if dtype.kind not in _ARRAY_KINDS:
        raise FileFormatError(f"{dtype} is no type of numbers.")
    return np.array(_numbers(content["data"]), dtype=dtype).reshape(content["shape"])


def _dtype_from_json(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise FileFormatError(f"{name!r} is no type of torch.")
    return dtype


_READERS: dict[str, Callable[[Any], Any]] = {
    "tensor": _tensor_from_json,
    "array": _array_from_json,
    "float": float,
    "list": lambda entries: [json_to_param(entry) for entry in entries],
    "tuple": lambda entries: tuple(json_to_param(entry) for entry in entries),
    "dict": lambda entries: {key: json_to_param(entry) for key, entry in entries.items()},
    "dtype": _dtype_from_json,
    "device": torch.device,
    "callable": callable_named,
}


def _shortened(content: Any) -> str:
    text = repr(content)
    return text if len(text) <= 80 else f"{text[:77]}..."
