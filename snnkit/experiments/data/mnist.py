"""MNIST, and sets in its format (Fashion-MNIST, KMNIST), from their idx files."""

import functools
import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from snnkit.experiments.data.assembling import assemble
from snnkit.experiments.data.images import ImageSplit
from snnkit.utilities.errors import DataError, FileFormatError

__all__ = ["load_mnist", "read_idx"]

_MOST_BYTES = 2**30
_UNSIGNED_BYTES = 8
_CLASSES = 10
_VALIDATION = 5000


def load_mnist(folder: str | Path) -> ImageSplit:
    """Return MNIST; 5,000 of its 60,000 training images are held out for validation.

    Args:
        folder: Where ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte``
            and ``t10k-labels-idx1-ubyte`` lie, packed (``.gz``) or not; ``MNIST/raw`` in it is found too.

    Raises:
        DataError: a file is missing.
        FileFormatError: a file holds something else.
    """
    return _load(str(Path(folder).absolute()))


@functools.lru_cache(maxsize=1)
def _load(folder: str) -> ImageSplit:
    place = Path(folder)
    if (place / "MNIST" / "raw").is_dir():
        place = place / "MNIST" / "raw"
    train, test = (_part(place, prefix) for prefix in ("train", "t10k"))
    held = min(_VALIDATION, len(train[1]) // 10)
    return assemble("mnist", train, test, classes=_CLASSES, validation=held)


def _part(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    if images.ndim != 3 or labels.shape != images.shape[:1] or not labels.size or labels.max() >= _CLASSES:
        raise FileFormatError(
            f"{folder} holds {prefix} images {images.shape} and labels {labels.shape}; expected (n, height, "
            "width) and (n,) with labels 0 to 9."
        )
    return images[:, None].astype(np.float32) / 255, labels


def _find(folder: Path, name: str) -> Path:
    spellings = [name, f"{name}.gz", name.replace("-idx", ".idx")]
    for spelling in spellings:
        if (folder / spelling).is_file():
            return folder / spelling
    raise DataError(f"{folder} holds none of {', '.join(spellings)}.")


def read_idx(path: str | Path) -> np.ndarray:
    """Return the array of unsigned bytes in an idx file, packed or not.

    Raises:
        FileFormatError: it is no such file, or its size is not the one that its head tells.
    """
    try:
        packed = Path(path).suffix == ".gz"
        with (gzip.open if packed else open)(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)  # A packed file may be a thousand times smaller.
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{path} cannot be read: {error}.") from error
    if len(content) > _MOST_BYTES:
        raise FileFormatError(f"{path} holds more than {_MOST_BYTES} bytes: no set of this kind does.")
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTES:
        raise FileFormatError(f"{path} is not an idx file of unsigned bytes.")
    axes = content[3]
    head = 4 + 4 * axes
    sizes = np.frombuffer(content[4:head], dtype=">u4").tolist() if len(content) >= head else []
    if len(sizes) != axes or math.prod(sizes) != len(content) - head:
        raise FileFormatError(f"{path} has {len(content)} bytes, which do not fit its head {sizes}.")
    return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(sizes)
