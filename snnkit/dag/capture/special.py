"""Calls that are no functions of tensors: attributes, sizes, and what a graph cannot hold."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import CaptureError
from .assertions import Asserted, assertion_around

if TYPE_CHECKING:
    from .recorder import Recorder

__all__ = ["handler_for"]

Handler = Callable[["Recorder", Any, tuple[Any, ...], dict[str, Any]], Any]

_PASSIVE = frozenset({
    "__deepcopy__", "__delitem__", "__dir__", "__format__", "__hash__", "__len__", "__reduce_ex__",
    "__repr__", "__str__", "_assert", "_assert_tensor_metadata", "_enter_inference_mode",
    "_exit_inference_mode", "_is_view",
    "_set_autocast_enabled", "_set_grad_enabled", "autocast_decrement_nesting",
    "autocast_increment_nesting", "backward", "broadcast_shapes", "can_cast",
    "clear_autocast_cache", "data_ptr", "dim", "element_size", "get_autocast_dtype",
    "get_default_dtype", "get_device", "has_names", "is_autocast_cache_enabled",
    "is_autocast_enabled", "is_complex", "is_conj", "is_contiguous", "is_floating_point",
    "is_grad_enabled", "is_inference", "is_neg", "is_pinned", "is_same_size", "is_set_to",
    "is_shared", "is_signed", "layout", "ndimension", "promote_types", "register_hook",
    "requires_grad_", "result_type", "retain_grad", "set_autocast_cache_enabled",
    "set_autocast_dtype", "set_autocast_enabled", "set_default_device", "storage", "storage_offset",
    "stride", "type", "untyped_storage",
})  # fmt: skip
"""Calls that compute no tensor from tensors."""

_VALUES = frozenset({
    "__array__", "__bool__", "__complex__", "__contains__", "__dlpack__", "__float__", "__index__",
    "__int__", "_local_scalar_dense", "allclose", "equal", "is_nonzero", "item", "numpy", "tolist",
})  # fmt: skip
"""Calls that turn the numbers in a tensor into Python values."""

_TENSOR_ATTRIBUTES = frozenset({"T", "mT", "H", "mH", "real", "imag"})


def handler_for(func: Any) -> Handler | None:
    """Return what handles a call that is not recorded as it stands; None for functions of tensors."""
    name = getattr(func, "__name__", "")
    if name in _MORE:
        return _MORE[name]
    if name in _PASSIVE:
        return _pass
    return _read_value if name in _VALUES else None


def _pass(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


def _get_attribute(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = getattr(func.__self__, "__name__", "")
    tensor = args[0]
    if name == "shape":
        return recorder.traced_shape(tensor)
    if name == "data":
        return recorder.record(torch.detach, (tensor,), {})
    if name in _TENSOR_ATTRIBUTES:
        result = func(*args, **kwargs)
        node = recorder.add("function", name, (recorder.node_of(tensor), name), operation="attribute")
        return recorder.bind_result(result if result is not tensor else result.view_as(result), node)
    value = func(*args, **kwargs)
    if name == "dtype":
        recorder.note_read("dtype", value, tensor)
    if name == "device" and recorder.device is not None:
        value = recorder.reported
    if name == "device":
        recorder.note_read("device", value, tensor)
    if recorder.device is not None and name in ("is_cuda", "is_meta", "is_cpu"):
        return name == f"is_{recorder.reported.type}"
    return value


def _set_attribute(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = getattr(func.__self__, "__name__", "")
    if name in ("requires_grad", "grad", "_backward_hooks", "_grad"):
        return func(*args, **kwargs)
    raise CaptureError(
        f"{recorder.where()}: the model sets tensor.{name}; write into the tensor (copy_) instead, or "
        "register a buffer and assign to that."
    )


def _size(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    shape = recorder.traced_shape(args[0])
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    return shape if dim is None else shape[dim]


def _numel(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    count: Any = 1
    for size in recorder.traced_shape(args[0]):
        count = count * size
    return count


def _read_value(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    tensor = next((value for value in args if isinstance(value, Tensor)), None)
    asserted = assertion_around()
    if tensor is not None and asserted is not None:
        return _note_assertion(recorder, func, tensor, asserted)
    if tensor is not None and not tensor.is_meta and recorder.is_constant(tensor):
        return func(*args, **kwargs)
    name = func.__name__
    what = "decides on" if name == "__bool__" else "reads"
    raise CaptureError(
        f"{recorder.where()}: the model {what} the numbers in a tensor ({name}), so that another input could "
        "take another way through its code, which a graph cannot. Use torch.where, or a module of its own "
        "that is registered with register_reading()."
    )


def _note_assertion(recorder: "Recorder", func: Any, tensor: Tensor, asserted: Asserted) -> Any:
    node = recorder.node_of(tensor)
    recorder.add("function", "check", (node,), asserted.options, operation="check")
    return True if tensor.is_meta else func(tensor)


def _iterate(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return iter(recorder.record(torch.unbind, (args[0],), {}))


def _deepcopy(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    copied = recorder.record(torch.clone, (args[0],), {})
    args[1][id(args[0])] = copied
    return copied


def _reverse(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return recorder.record(torch.flip, (args[0], [0]), {})


def _convert_type(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    target = args[1] if len(args) > 1 else kwargs.get("dtype")
    if target is None:
        return func(*args, **kwargs)
    if not isinstance(target, torch.dtype):
        target = torch.empty(0).type(target).dtype
    return recorder.record(Tensor.to, (args[0], target), {})


def _as_tensor(recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(args[0], Tensor):
        return recorder.record(Tensor.to, args, kwargs)
    return recorder.record(torch.tensor, args, kwargs)


def _no_nested_tensors(
    recorder: "Recorder", func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    # torch asks this of the numbers in a padding mask, to leave padded positions out where it can: the graph
    # is that of the ordinary path, which holds for any mask.
    return False


_MORE: dict[str, Handler] = {
    "_nested_tensor_from_mask_left_aligned": _no_nested_tensors,
    "__get__": _get_attribute,
    "__set__": _set_attribute,
    "__delete__": _set_attribute,
    "size": _size,
    "numel": _numel,
    "nelement": _numel,
    "type": _convert_type,
    "__iter__": _iterate,
    "__reversed__": _reverse,
    "__deepcopy__": _deepcopy,
    "as_tensor": _as_tensor,
    "asarray": _as_tensor,
}
