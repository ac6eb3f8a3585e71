"""What a session did, as one file: ``.xrec``, a safetensors file whose metadata lists the operations.

Everything is covered by one SHA-256, so that a byte that changed is found; nothing is executed on reading.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays

__all__ = ["Operation", "Recording"]

FORMAT = "snnkit session"
VERSION = 1
_KINDS = ("configure", "reset", "run")


@dataclass(frozen=True, eq=False)
class Operation:
    """One thing that was asked of a session, and what came of it.

    Attributes:
        kind: ``configure``, ``reset`` or ``run``.
        told: plain values: what was asked, and single numbers of the answer.
        arrays: by name; what was given and what came back.
        error: class and message, if it failed; else None.
    """

    kind: str
    told: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    error: tuple[str, str] | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """All operations of a session, in order.

    Attributes:
        chip: name in the chip table.
        uri: what was connected to.
        versions: of snnkit, driver and firmware, as far as there are any.
        operations: in order.
    """

    chip: str
    uri: str
    versions: Mapping[str, str]
    operations: tuple[Operation, ...]

    def save(self, path: str | Path) -> Path:
        """Write the recording; equal recordings give equal bytes."""
        arrays = {
            f"{index}.{name}": array
            for index, operation in enumerate(self.operations)
            for name, array in operation.arrays.items()
        }
        header = {
            "chip": self.chip,
            "uri": self.uri,
            "versions": dict(self.versions),
            "operations": [
                {"kind": o.kind, "told": dict(o.told), "arrays": sorted(o.arrays), "error": o.error}
                for o in self.operations
            ],
        }
        text = json.dumps(header, sort_keys=True, allow_nan=False)
        metadata = {"format": FORMAT, "version": str(VERSION), "session": text}
        return write_arrays(path, arrays, metadata | {"sha256": _digest(text, arrays)})

    @classmethod
    def load(cls, path: str | Path) -> "Recording":
        """Read what :meth:`save` wrote.

        Raises:
            FileFormatError: the file is missing, cut, altered, of another kind or of another version.
        """
        arrays, metadata = read_arrays(path)
        if metadata.get("format") != FORMAT:
            raise FileFormatError(f"{path} is no recording of a session.")
        if metadata.get("version") != str(VERSION):
            raise FileFormatError(
                f"{path} has version {metadata.get('version')!r}; this release reads version {VERSION}."
            )
        text = metadata.get("session", "")
        if metadata.get("sha256") != _digest(text, arrays):
            raise FileFormatError(f"{path} was altered: its content does not match its checksum.")
        try:
            return cls._of(json.loads(text), arrays)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileFormatError(f"{path} holds no readable recording: {error!r}") from error

    @classmethod
    def _of(cls, header: Any, arrays: Mapping[str, np.ndarray]) -> "Recording":
        operations = []
        for index, entry in enumerate(header["operations"]):
            if entry["kind"] not in _KINDS:
                raise ValueError(f"operation {index} is of the unknown kind {entry['kind']!r}")
            own = {str(name): arrays[f"{index}.{name}"] for name in entry["arrays"]}
            error = entry["error"]
            told = None if error is None else (str(error[0]), str(error[1]))
            operations.append(Operation(entry["kind"], dict(entry["told"]), own, told))
        versions = {str(name): str(value) for name, value in header["versions"].items()}
        return cls(str(header["chip"]), str(header["uri"]), versions, tuple(operations))


def _digest(text: str, arrays: Mapping[str, np.ndarray]) -> str:
    checksum = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        checksum.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()
