"""Dataclasses that hold arrays, as a JSON file beside a safetensors file: typed, versioned, no pickle."""

import hashlib
import math
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from snnkit.utilities.errors import FileFormatError, SnnkitError, unknown_key_message
from snnkit.utilities.files import read_arrays, read_json, write_arrays, write_json

__all__ = ["read_record", "same_content", "write_record"]


def same_content(left: Any, right: Any) -> bool:
    """Compare values that may hold arrays; arrays are equal when type, shape and every entry are."""
    if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
        return (
            isinstance(left, np.ndarray)
            and isinstance(right, np.ndarray)
            and left.dtype == right.dtype
            and np.array_equal(left, right)
        )
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same_content(left[key], right[key]) for key in left)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same_content, left, right))
    return bool(left == right)


def write_record(record: Any, folder: str | Path, stem: str, kind: str, version: int) -> Path:
    """Write ``folder/stem.safetensors``, then ``folder/stem.json``, which names the former by its hash."""
    arrays: dict[str, np.ndarray] = {}
    content = _encode(record, stem, arrays)
    arrays_path = write_arrays(Path(folder) / f"{stem}.safetensors", arrays, {"format": kind})
    document = {"format": kind, "version": version, "arrays": _digest(arrays_path), "content": content}
    return write_json(Path(folder) / f"{stem}.json", document)


def read_record(cls: type, folder: str | Path, stem: str, kind: str, version: int) -> Any:
    """Read what :func:`write_record` wrote, checking every key and type against ``cls``."""
    path, arrays_path = Path(folder) / f"{stem}.json", Path(folder) / f"{stem}.safetensors"
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") != kind:
        raise FileFormatError(f"{path} is not a file of {kind}.")
    if document.get("version") != version:
        found = document.get("version")
        raise FileFormatError(f"{path} has version {found}; this release reads version {version}.")
    arrays, _ = read_arrays(arrays_path)
    if _digest(arrays_path) != document.get("arrays"):
        raise FileFormatError(f"{arrays_path} does not belong to {path}: write both again.")
    try:
        return _decode(cls, document.get("content"), stem, arrays)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except (SnnkitError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} holds impossible content: {error}") from error


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _encode(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return JSON for ``value``; its arrays go into ``arrays`` under their path."""
    if isinstance(value, np.ndarray):
        arrays[path] = value
        return path
    if is_dataclass(value):
        return {f.name: _encode(getattr(value, f.name), f"{path}.{f.name}", arrays) for f in fields(value)}
    if isinstance(value, dict):
        return {str(key): _encode(entry, f"{path}.{key}", arrays) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_encode(entry, f"{path}.{index}", arrays) for index, entry in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no word for nan and infinity
    return value


def _decode(hint: Any, value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """Turn JSON back into a value of type ``hint``."""
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        kinds = [h for h in get_args(hint) if h is not types.NoneType]
        fitting = [h for h in kinds if isinstance(h, type) and type(value) is h]
        return _decode((fitting or kinds)[0], value, path, arrays)
    if hint is np.ndarray:
        if not isinstance(value, str) or value not in arrays:
            raise FileFormatError(f"array {path} is missing.")
        return arrays[value]
    if is_dataclass(hint):
        return _decode_dataclass(hint, value, path, arrays)
    if get_origin(hint) in (dict, tuple):
        return _decode_container(hint, value, path, arrays)
    return _decode_scalar(hint, value, path)


def _decode_container(hint: Any, value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if get_origin(hint) is dict:
        entry = get_args(hint)[1]
        items = _expect(value, dict, path).items()
        return {key: _decode(entry, item, f"{path}.{key}", arrays) for key, item in items}
    entry = get_args(hint)[0]
    listed = enumerate(_expect(value, list, path))
    return tuple(_decode(entry, item, f"{path}.{index}", arrays) for index, item in listed)


def _decode_dataclass(hint: Any, value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    hints = get_type_hints(hint)
    names = [f.name for f in fields(hint)]
    given = _expect(value, dict, path)
    for name in given:
        if name not in names:
            raise FileFormatError(unknown_key_message(f"key in {path}", name, names))
    if missing := [name for name in names if name not in given]:
        raise FileFormatError(f"{path} lacks {', '.join(missing)}.")
    return hint(**{name: _decode(hints[name], given[name], f"{path}.{name}", arrays) for name in names})


def _decode_scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is float:
        if isinstance(value, str) and value in ("nan", "inf", "-inf"):
            return float(value)
        return float(_expect(value, (int, float), path))
    return _expect(value, hint, path)


def _expect(value: Any, kind: Any, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise FileFormatError(f"{path} has an impossible value {value!r}.")
    return value
