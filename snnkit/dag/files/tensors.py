"""The tensors of a graph in one safetensors file; tensors that are one in the graph are one there."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import write_bytes

from ..errors import GraphError

__all__ = ["TensorReader", "TensorWriter"]


class TensorWriter:
    """Collects tensors, each object once."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}
        self._data: dict[str, Tensor] = {}
        self.entries: dict[str, dict[str, Any]] = {}
        self._kept: list[Tensor] = []

    def add(self, tensor: Tensor, place: str) -> str:
        """Take in a tensor; return its key."""
        if id(tensor) in self._keys:
            return self._keys[id(tensor)]
        if tensor.is_meta:
            raise GraphError(f"{place} is on the meta device and has no numbers to write.")
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise GraphError(f"{place} is sparse or quantised, which files have no form for.")
        key = f"t{len(self._keys)}"
        self._keys[id(tensor)] = key
        self._kept.append(tensor)
        data = tensor.detach()
        entry: dict[str, Any] = {"parameter": isinstance(tensor, nn.Parameter)}
        if entry["parameter"]:
            entry["requires_grad"] = tensor.requires_grad
        if data.is_complex():
            entry["complex"] = True
            data = torch.view_as_real(data.resolve_conj())
        elif not data.is_contiguous():
            # Kernels choose their order of summation by strides.
            entry["strides"] = list(data.stride())
        self._data[key] = data.cpu().contiguous().clone()
        self.entries[key] = entry
        return key

    def write(self, folder: Path) -> dict[str, str]:
        """Write the file into ``folder``; return its name and checksum."""
        content = save(self._data)
        digest = hashlib.sha256(content).hexdigest()
        name = f"weights-{digest[:12]}.safetensors"
        write_bytes(folder / name, content)
        return {"file": name, "sha256": digest}


class TensorReader:
    """Makes the tensors that a :class:`TensorWriter` wrote, each once.

    Raises:
        FileFormatError: The file is missing, damaged, or not the one that belongs to the graph.
    """

    def __init__(self, folder: Path, weights: Any, entries: Any) -> None:
        if not isinstance(weights, dict) or not isinstance(entries, dict):
            raise FileFormatError(f"{folder} does not say where its tensors are.")
        name = weights.get("file")
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise FileFormatError(f"{str(name)[:80]!r} is no name of a file with tensors.")
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FileFormatError(f"{path} cannot be read: {error.strerror}.") from None
        if hashlib.sha256(content).hexdigest() != weights.get("sha256"):
            raise FileFormatError(f"{path} is damaged: its content does not match the checksum in the graph.")
        try:
            self._data: Mapping[str, Tensor] = load(content)
        except (SafetensorError, ValueError, KeyError, json.JSONDecodeError) as error:
            raise FileFormatError(f"{path} is no readable safetensors file: {error}") from None
        self._entries = entries
        self._made: dict[str, Tensor] = {}

    def get(self, key: Any) -> Tensor:
        """Return the tensor called ``key``: a parameter or a plain tensor."""
        if not isinstance(key, str) or key not in self._data or not isinstance(self._entries.get(key), dict):
            raise FileFormatError(f"The file has no tensor {str(key)[:40]!r}.")
        if key not in self._made:
            self._made[key] = self._make(key, self._data[key], self._entries[key])
        return self._made[key]

    def _make(self, key: str, data: Tensor, entry: dict[str, Any]) -> Tensor:
        if entry.get("complex"):
            if not data.dim() or data.shape[-1] != 2 or not data.is_floating_point():
                raise FileFormatError(f"Tensor {key} does not hold complex numbers.")
            data = torch.view_as_complex(data)
        strides = entry.get("strides")
        if strides is not None:
            data = _strided(key, data, strides)
        if not entry.get("parameter"):
            return data
        requires_grad = bool(entry.get("requires_grad", True))
        if requires_grad and not (data.is_floating_point() or data.is_complex()):
            raise FileFormatError(f"Tensor {key} holds integers, which cannot be trained.")
        return nn.Parameter(data, requires_grad=requires_grad)


def _strided(key: str, data: Tensor, strides: Any) -> Tensor:
    sizes = data.shape
    fits = (
        isinstance(strides, list)
        and len(strides) == len(sizes)
        and all(type(stride) is int and stride >= 0 for stride in strides)
        and sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        < max(1, data.numel())
    )
    if not fits:
        raise FileFormatError(f"Tensor {key} of shape {tuple(sizes)} has no strides {str(strides)[:80]}.")
    if 0 in strides:
        return data
    return torch.empty_strided(sizes, strides, dtype=data.dtype).copy_(data)
