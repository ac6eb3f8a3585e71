"""From a call as a model wrote it to the one form that graphs hold."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..arguments import same
from ..errors import CaptureError
from .library import FUNCTIONS, FunctionSpec

__all__ = ["Call", "canonical"]

_SPELLINGS = {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "clip": "clamp", "concat": "cat",
    "concatenate": "cat", "divide": "div", "true_divide": "div", "fix": "trunc",
    "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "moveaxis": "movedim", "multiply": "mul", "negative": "neg", "not_equal": "ne", "sub": "sub",
    "split_with_sizes": "split", "subtract": "sub", "swapaxes": "transpose", "swapdims": "transpose",
    "row_stack": "vstack", "linalg_matmul": "matmul", "special_expit": "sigmoid", "special_erf": "erf",
    "special_erfc": "erfc", "special_log_softmax": "log_softmax", "special_logsumexp": "logsumexp",
    "special_softmax": "softmax", "unsafe_chunk": "chunk", "unsafe_split": "split",
    "view_as": "reshape_as", "normal": "normal",
    # The names of Python's operators
    "truediv": "div", "floordiv": "floor_divide", "mod": "remainder", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift", "invert": "bitwise_not", "setitem": "index_assign",
    "_assert_async": "check", "_is_all_true": "all", "_is_any_true": "any",
}  # fmt: skip

_REVERSED = {f"__r{name}__": name for name in
             ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor",
              "lshift", "rshift")}  # fmt: skip
_IN_PLACE = {f"__i{name}__": name for name in
             ("add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift",
              "rshift")} | {"__setitem__": "setitem"}  # fmt: skip
_RENAMED_IN_PLACE = {"normal_": "gaussian", "uniform_": "uniform", "copy_": "copy"}

_PARAMETERS = {"axis": "dim", "keepdims": "keepdim", "split_size": "split_size_or_sections", "from": "low",
               "split_sizes": "split_size_or_sections", "x": "input", "train": "training",
               "assert_msg": "message"}  # fmt: skip

_VARIANTS: dict[Any, tuple[str, tuple[str, ...]]] = {
    torch.dropout: ("dropout", ("input", "p", "training")),
    torch.feature_dropout: ("dropout2d", ("input", "p", "training")),
    torch.alpha_dropout: ("alpha_dropout", ("input", "p", "training")),
    torch.embedding: ("embedding", ("weight", "input", "padding_idx", "scale_grad_by_freq", "sparse")),
    torch.layer_norm: ("layer_norm", ("input", "normalized_shape", "weight", "bias", "eps", "")),
    torch.group_norm: ("group_norm", ("input", "num_groups", "weight", "bias", "eps", "")),
    torch.batch_norm: (
        "batch_norm",
        ("input", "weight", "bias", "running_mean", "running_var", "training", "momentum", "eps", ""),
    ),
    torch.clamp_min: ("clamp", ("input", "min")),
    torch.clamp_max: ("clamp", ("input", "max")),
    Tensor.clamp_min: ("clamp", ("input", "min")),
    Tensor.clamp_max: ("clamp", ("input", "max")),
    torch.inverse: ("linalg.inv", ("A",)),
    Tensor.inverse: ("linalg.inv", ("A",)),
    Tensor.where: ("where", ("input", "condition", "other")),
    Tensor.unfold: ("tensor_unfold", ("input", "dimension", "size", "step")),
    Tensor.split_with_sizes: ("split", ("tensor", "split_size_or_sections", "dim")),
}
"""Spellings of which the parameters stand in another order; "" is one without meaning for the result."""

_DTYPES = {"float": torch.float32, "half": torch.float16, "double": torch.float64, "long": torch.int64,
           "bool": torch.bool, "int": torch.int32, "bfloat16": torch.bfloat16, "short": torch.int16,
           "char": torch.int8, "byte": torch.uint8, "cfloat": torch.complex64}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call in canonical form.

    Attributes:
        operation: Name of the function.
        args: The arguments without defaults, in order.
        kwargs: The others by name, where they differ from the default.
        writes: Whether the call changes its first argument.
    """

    operation: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    writes: bool = False


def canonical(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
    """Return a call of a torch function or tensor method in canonical form.

    Raises:
        CaptureError: Graphs have no such function.
    """
    name = getattr(function, "__name__", str(function))
    if kwargs.get("out") is not None:
        raise CaptureError(f"{name}(out=...) is not captured: assign the result instead.")
    kwargs = {key: value for key, value in kwargs.items() if key != "out"}
    if name == "to":
        return _conversion(args, kwargs)
    if name in _DTYPES and getattr(function, "__objclass__", None) is not None:
        return _finish(FUNCTIONS["to"], {"input": args[0], "dtype": _DTYPES[name], **kwargs}, writes=False)
    if name in ("cpu", "cuda"):
        return Call("to", (args[0],), {"device": torch.device(name)})
    if name in _REVERSED:
        return canonical(_named(_REVERSED[name]), (args[1], args[0]), kwargs)
    base, writes = _base_name(name)
    kwargs = dict(kwargs)
    if name.endswith("_with_indices"):
        base, kwargs["return_indices"] = name.removesuffix("_with_indices"), True
    spec_name, bound = _bound(function, base, args, kwargs)
    spec = FUNCTIONS[spec_name]
    writes = bool(bound.pop("inplace", False)) or writes
    return _finish(spec, bound, writes)


@cache
def _named(name: str) -> Callable[..., Any]:
    def spelled(*_: Any) -> None: ...

    spelled.__name__ = name
    return spelled


def _base_name(name: str) -> tuple[str, bool]:
    """Return the canonical name of a spelling, and whether it changes its first argument."""
    if name in _IN_PLACE:
        base, writes = _IN_PLACE[name], True
    elif name in _RENAMED_IN_PLACE:
        base, writes = _RENAMED_IN_PLACE[name], True
    elif name.startswith("__") and name.endswith("__"):
        base, writes = name.strip("_"), False
    elif name.endswith("_") and not name.endswith("__"):
        base, writes = name[:-1], True
    else:
        base, writes = name, False
    return _SPELLINGS.get(base, base), writes


def _bound(
    function: Callable[..., Any], base: str, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the canonical name and the arguments by parameter."""
    variant = _variant_of(function)
    if variant is not None:
        base, order = variant
        bound = dict(zip(order, args, strict=False)) | {_PARAMETERS.get(k, k): v for k, v in kwargs.items()}
        bound.pop("", None)
        return base, bound
    for space in ("fft", "linalg"):
        base = f"{space}.{base.removeprefix(space)[1:]}" if base.startswith(f"{space}_") else base
    if base in ("max", "min") and ((len(args) > 1 and isinstance(args[1], Tensor)) or "other" in kwargs):
        base = {"max": "maximum", "min": "minimum"}[base]
    if (
        base in ("view", "reshape")
        and "dtype" not in kwargs
        and ("size" in kwargs or not isinstance(args[1], torch.dtype))
    ):
        base = "reshape"
        kwargs = {("shape" if key == "size" else key): value for key, value in kwargs.items()}
    spec = FUNCTIONS.get(base)
    if spec is None:
        raise CaptureError(
            f"{base} is no function that graphs hold: put it into a module of its own and register "
            "that with register_reading()."
        )
    signature = _python_signature(function)
    if signature is not None:
        bound = dict(signature.bind(*args, **kwargs).arguments)
        bound.pop("_stacklevel", None)
        return base, bound
    return base, _by_position(spec, args, kwargs)


def _variant_of(function: Callable[..., Any]) -> tuple[str, tuple[str, ...]] | None:
    try:
        return _VARIANTS.get(function)
    except TypeError:  # not hashable
        return None


@cache
def _python_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature of a Python function of torch.nn.functional; None for all else."""
    if inspect.isfunction(function) and function.__module__ == F.__name__:
        signature = inspect.signature(function)
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        if inspect.Parameter.VAR_POSITIONAL not in kinds:
            return signature
    return None


def _by_position(spec: FunctionSpec, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    if spec.is_variadic:
        position = len(spec.required) - 1
        rest = args[position:]
        given_singly = len(rest) > 1 or (len(rest) == 1 and not isinstance(rest[0], list | tuple))
        if given_singly and not (len(rest) == 1 and isinstance(rest[0], torch.dtype)):
            args = (*args[:position], tuple(rest))
    if len(args) > len(spec.parameters):
        raise CaptureError(f"{spec.name} was called with more than {len(spec.parameters)} arguments.")
    bound = dict(zip(spec.parameters, args, strict=False))
    for key, value in kwargs.items():
        bound[key if key in spec.parameters else _PARAMETERS.get(key, key)] = value
    return bound


def _finish(spec: FunctionSpec, bound: dict[str, Any], writes: bool) -> Call:
    if spec.name in ("var", "std", "var_mean", "std_mean") and isinstance(bound.get("dim"), bool):
        bound["unbiased"] = bound.pop("dim")
    if "input" in bound and spec.required and spec.required[0] not in bound:
        bound[spec.required[0]] = bound.pop("input")
    for key in bound.keys() - set(spec.parameters):
        if bound[key] is None or key in ("non_blocking", "inplace", "pin_memory", "implicit"):
            continue
        raise CaptureError(f"{spec.name}({key}={bound[key]!r}) is no argument that graphs hold.")
    missing = [name for name in spec.required if name not in bound]
    if missing:
        raise CaptureError(f"{spec.name} was called without {', '.join(missing)}, which graphs cannot hold.")
    args = tuple(bound[name] for name in spec.required)
    kwargs = {
        name: bound[name]
        for name in spec.parameters
        if name in spec.defaults and name in bound and not same(bound[name], spec.defaults[name])
    }
    return Call(spec.name, args, kwargs, writes)


def _conversion(args: Sequence[Any], kwargs: dict[str, Any]) -> Call:
    """Return ``Tensor.to`` with its arguments by name: they are told apart by type."""
    bound = {key: value for key, value in kwargs.items() if key != "non_blocking"}
    if "other" in bound or (len(args) > 1 and isinstance(args[1], Tensor)):
        return Call("to_like", (args[0], bound["other"] if "other" in bound else args[1]), {})
    for value in args[1:]:
        if isinstance(value, torch.dtype):
            bound["dtype"] = value
        elif isinstance(value, torch.device | str | int) and not isinstance(value, bool):
            bound["device"] = value
    return _finish(FUNCTIONS["to"], {"input": args[0], **bound}, writes=False)
