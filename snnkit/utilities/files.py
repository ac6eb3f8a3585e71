"""Files that are written whole or not at all, and read without running anything."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from .errors import FileFormatError

__all__ = ["read_arrays", "read_json", "write_arrays", "write_bytes", "write_json", "write_text"]


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write ``content`` to ``path``; an interrupted write leaves any earlier file as it was."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def write_text(path: str | Path, text: str) -> Path:
    """Write UTF-8 ``text`` to ``path`` as :func:`write_bytes` does."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> Path:
    """Write ``value`` as indented JSON; NaN and infinity are refused."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file; a missing or damaged one raises :class:`FileFormatError`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise FileFormatError(f"{path} is not a readable JSON file: {error}") from error


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> Path:
    """Write named arrays and text metadata as one safetensors file; equal content gives equal bytes."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return write_bytes(path, _in_order(save_safetensors(contiguous, metadata=dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """Sort the header's metadata: safetensors writes it in an order that differs from call to call."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # The arrays begin at a multiple of eight bytes.
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def read_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read arrays and metadata written by :func:`write_arrays`; nothing in the file is executed."""
    try:
        content = Path(path).read_bytes()
        arrays = load_safetensors(content)
        header_size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + header_size]).get("__metadata__", {})
    except FileNotFoundError as error:
        raise FileFormatError(f"{path} does not exist.") from error
    except KeyError as error:  # safetensors looks the type up in a dict
        raise FileFormatError(f"{path} holds arrays of type {error}, which numpy does not have.") from error
    except (OSError, SafetensorError, UnicodeDecodeError, ValueError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}") from error
    return arrays, metadata
