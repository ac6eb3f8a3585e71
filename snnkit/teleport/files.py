"""Elements in files: one safetensors file, with a version and checksums of numbers and symmetries."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.teleport.element import Element
from snnkit.teleport.errors import TeleportError
from snnkit.teleport.parts import Part, part_named
from snnkit.teleport.symmetries import Symmetries
from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays

__all__ = ["load", "save"]

_FORMAT = "snnkit.teleport.element"
_VERSION = 1
_MOST_PARTS = 1000


def save(element: Element, path: str | Path) -> Path:
    """Write an element to one file; equal elements give equal files.

    Raises:
        OSError: The file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for position, part in enumerate(element.parts):
        for name, tensor in part.to_tensors().items():
            arrays[f"{position}/{name}"] = tensor.detach().cpu().numpy()
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "fingerprint": element.symmetries.fingerprint,
        "parts": [part.kind for part in element.parts],
        "sha256": _digest(arrays),
    }
    return write_arrays(path, arrays, {"element": json.dumps(head, sort_keys=True)})


def load(path: str | Path, symmetries: Symmetries) -> Element:
    """Read an element that :func:`save` wrote.

    Args:
        path: The file.
        symmetries: Of the model it shall be applied to.

    Raises:
        FileFormatError: The file is missing, damaged, or of another kind or version.
        TeleportError: The element belongs to another model.
    """
    arrays, metadata = read_arrays(path)
    head = _head(path, metadata)
    if head.get("fingerprint") != symmetries.fingerprint:
        raise TeleportError(
            f"{path} holds an element of another model: names, shapes or freedoms of its channels differ."
        )
    if head.get("sha256") != _digest(arrays):
        raise FileFormatError(f"{path} is damaged: its numbers do not match their checksum.")
    kinds = head.get("parts")
    if not isinstance(kinds, list) or len(kinds) > _MOST_PARTS:
        raise FileFormatError(f"{path} does not say which parts the element has.")
    tensors: list[dict[str, Tensor]] = [{} for _ in kinds]
    for key, array in arrays.items():
        position, _, name = key.partition("/")
        if not position.isdecimal() or len(position) > 4 or int(position) >= len(kinds):
            raise FileFormatError(f"{path} holds {key[:80]!r}, which belongs to no part.")
        tensors[int(position)][name] = torch.from_numpy(array.copy())
    parts = tuple(_part(path, kind, symmetries, held) for kind, held in zip(kinds, tensors, strict=True))
    return Element(symmetries, parts)


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """Return a checksum of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _head(path: str | Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        head = json.loads(metadata.get("element", "null"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path} has no readable description of an element: {error}") from None
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise FileFormatError(f"{path} holds no element of a group of symmetries.")
    if head.get("version") != _VERSION:
        raise FileFormatError(f"{path} has version {head.get('version')!r}; this release reads {_VERSION}.")
    return head


def _part(path: str | Path, kind: Any, symmetries: Symmetries, tensors: dict[str, Tensor]) -> Part:
    cls = part_named(kind) if isinstance(kind, str) else None
    if cls is None:
        raise FileFormatError(f"{path} has a part of the unknown kind {str(kind)[:80]!r}.")
    try:
        return cls.from_tensors(symmetries, tensors)
    except TeleportError as error:
        raise FileFormatError(f"{path} is damaged: {error}") from error
