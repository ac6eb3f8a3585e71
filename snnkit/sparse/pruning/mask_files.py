"""Masks in a file: one bit for each weight."""

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnkit.sparse.pruning.masks import Masks
from snnkit.utilities.errors import ConfigurationError, FileFormatError
from snnkit.utilities.files import read_arrays, write_arrays

__all__ = ["load_masks", "save_masks"]

_KIND, _VERSION = "snnkit masks", "1"


def save_masks(path: str | Path, masks: Mapping[str, Tensor]) -> Path:
    """Write masks to a safetensors file; equal masks give equal bytes.

    Raises:
        ConfigurationError: a mask is not a bool tensor.
    """
    wrong = [name for name, mask in masks.items() if mask.dtype != torch.bool]
    if wrong:
        raise ConfigurationError(f"Masks are tensors of torch.bool; those of {', '.join(wrong)} are not.")
    arrays = {name: np.packbits(mask.detach().cpu().numpy().ravel()) for name, mask in masks.items()}
    shapes = {name: list(mask.shape) for name, mask in masks.items()}
    return write_arrays(path, arrays, {"kind": _KIND, "version": _VERSION, "shapes": json.dumps(shapes)})


def load_masks(path: str | Path) -> Masks:
    """Read what :func:`save_masks` wrote.

    Raises:
        FileFormatError: the file is missing, damaged, of another kind or of a later version.
    """
    arrays, about = read_arrays(path)
    if about.get("kind") != _KIND:
        raise FileFormatError(f"{path} holds no masks; save_masks() writes files of them.")
    if about.get("version") != _VERSION:
        raise FileFormatError(
            f"{path} has version {about.get('version')} of the format; this release reads {_VERSION}. "
            "Install a later release of snnkit."
        )
    try:
        shapes = {name: tuple(int(n) for n in shape) for name, shape in json.loads(about["shapes"]).items()}
        if set(shapes) != set(arrays) or any(
            arrays[name].dtype != np.uint8 or arrays[name].shape != (-(-prod(shape) // 8),)
            for name, shape in shapes.items()
        ):
            raise ValueError("sizes and shapes differ")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(f"{path} is damaged: {error}.") from error
    return {
        name: torch.from_numpy(np.unpackbits(arrays[name], count=prod(shape)).astype(bool).reshape(shape))
        for name, shape in shapes.items()
    }
