"""Which tensors share their memory, to know who sees a write into one of them."""

import weakref
from typing import Any

import torch
from torch import Tensor

from ..functions import Call

__all__ = ["Aliases", "can_be_functional"]

_KEEPS_TYPE = frozenset(
    {"assign", "index_assign", "copy", "fill", "zero", "masked_fill", "uniform", "gaussian"}
)
_NEEDS_EQUAL_TYPES = frozenset({"copy", "assign"})


class Aliases:
    """The living tensors of a run by the memory they look at."""

    def __init__(self) -> None:
        self._by_storage: dict[int, list[weakref.ref[Tensor]]] = {}

    def add(self, tensor: Tensor) -> None:
        """Take in a tensor."""
        key = _storage(tensor)
        if key is None:
            return
        entries = [entry for entry in self._by_storage.get(key, ()) if entry() not in (None,)]
        if all(entry() is not tensor for entry in entries):
            entries.append(weakref.ref(tensor))
        self._by_storage[key] = entries

    def is_alone(self, tensor: Tensor) -> bool:
        """Whether no other living tensor looks at the same memory."""
        key = _storage(tensor)
        if key is None:
            return False
        others = (entry() for entry in self._by_storage.get(key, ()))
        return all(other is None or other is tensor for other in others)


def _storage(tensor: Tensor) -> int | None:
    try:
        return tensor.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError):
        return None


def can_be_functional(call: Call, written: Tensor) -> bool:
    """Whether the function gives, without writing, the very tensor that the write leaves behind.

    A write keeps the type of the tensor written into; a function gives the type of all its arguments.
    """
    if call.operation in _NEEDS_EQUAL_TYPES:
        return False
    if call.operation in _KEEPS_TYPE:
        return True
    tensors: list[Any] = [value for value in (*call.args, *call.kwargs.values()) if isinstance(value, Tensor)]
    if not written.is_contiguous() or written.storage_offset():
        return False
    result = written.dtype
    for other in tensors:
        if other.dim() > written.dim() or torch.result_type(written, other) != result:
            return False
    numbers = [value for value in call.args[1:] if isinstance(value, float | complex)]
    return not numbers or written.is_floating_point() or written.is_complex()
