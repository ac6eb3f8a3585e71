"""Checkpoints: tensors and their description in one safetensors file, written whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnkit.utilities.errors import FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays

__all__ = ["Checkpoint"]

_FORMAT = "snnkit checkpoint"
_VERSION = "1"


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors and a JSON description. Nothing in the file is executed when it is read.

    Attributes:
        tensors: Any dtype that numpy has; names are dotted paths.
        about: What JSON can hold: stage, epoch, history.
    """

    tensors: Mapping[str, Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> Path:
        """Write the checkpoint; an interrupted write leaves the earlier one."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self.tensors.items()}
        about = json.dumps(dict(self.about), allow_nan=False)
        return write_arrays(path, arrays, {"format": _FORMAT, "version": _VERSION, "about": about})

    @classmethod
    def load(cls, path: str | Path) -> "Checkpoint":
        """Read what :meth:`save` wrote.

        Raises:
            FileFormatError: missing, damaged, of another kind or a later version.
        """
        arrays, metadata = read_arrays(path)
        if metadata.get("format") != _FORMAT:
            raise FileFormatError(f"{path} is not a checkpoint of snnkit.")
        if metadata.get("version") != _VERSION:
            raise FileFormatError(
                f"{path} is a checkpoint of version {metadata.get('version')}; this release reads {_VERSION}."
            )
        try:
            about = dict(json.loads(metadata["about"]))
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{path} has a damaged description: {error}") from error
        return cls({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, about)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below ``prefix.``, without it."""
        start = f"{prefix}."
        return {n.removeprefix(start): t for n, t in self.tensors.items() if n.startswith(start)}


def joined(**parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all tensors of ``parts`` under ``part.name``."""
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}
