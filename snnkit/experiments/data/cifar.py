"""CIFAR-10 and CIFAR-100 from the folders that their archives unpack to; the pickles are never trusted."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snnkit.experiments.data.assembling import assemble
from snnkit.experiments.data.images import ImageSplit
from snnkit.experiments.data.unpickling import read_pickled_table
from snnkit.utilities.errors import DataError, FileFormatError

__all__ = ["load_cifar10", "load_cifar100"]

_PIXELS = 3 * 32 * 32
_VALIDATION = 5000


@dataclass(frozen=True)
class _Archive:
    """Names inside the two kinds of archive; a binary record is ``label_bytes`` and the pixels."""

    name: str
    classes: int
    python_folder: str
    python_train: tuple[str, ...]
    python_test: str
    label_key: bytes
    binary_folder: str
    binary_train: tuple[str, ...]
    binary_test: str
    label_bytes: int


_CIFAR10 = _Archive(
    name="cifar10",
    classes=10,
    python_folder="cifar-10-batches-py",
    python_train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    python_test="test_batch",
    label_key=b"labels",
    binary_folder="cifar-10-batches-bin",
    binary_train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    binary_test="test_batch.bin",
    label_bytes=1,
)
_CIFAR100 = _Archive(
    name="cifar100",
    classes=100,
    python_folder="cifar-100-python",
    python_train=("train",),
    python_test="test",
    label_key=b"fine_labels",
    binary_folder="cifar-100-binary",
    binary_train=("train.bin",),
    binary_test="test.bin",
    label_bytes=2,  # Coarse label, fine label.
)


def load_cifar10(folder: str | Path) -> ImageSplit:
    """Return CIFAR-10; 5,000 of its 50,000 training images are held out for validation.

    Args:
        folder: Where ``cifar-10-batches-py`` or ``cifar-10-batches-bin`` lies, or one of these itself.

    Raises:
        DataError: no such folder there, or a file is missing.
        FileFormatError: a file holds something else.
    """
    return _load(_CIFAR10, str(Path(folder).absolute()))


def load_cifar100(folder: str | Path) -> ImageSplit:
    """Return CIFAR-100 with its 100 fine labels, from ``cifar-100-python`` or ``cifar-100-binary``.

    Split and errors are those of :func:`load_cifar10`.
    """
    return _load(_CIFAR100, str(Path(folder).absolute()))


@functools.lru_cache(maxsize=1)
def _load(archive: _Archive, folder: str) -> ImageSplit:
    place = Path(folder)
    for inner in (place / archive.python_folder, place):
        if (inner / archive.python_test).is_file():
            files = [*archive.python_train, archive.python_test]
            parts = [_read_python(_existing(inner / name), archive) for name in files]
            break
    else:
        for inner in (place / archive.binary_folder, place):
            if (inner / archive.binary_test).is_file():
                files = [*archive.binary_train, archive.binary_test]
                parts = [_read_binary(_existing(inner / name), archive) for name in files]
                break
        else:
            raise DataError(
                f"{folder} holds neither {archive.python_folder} nor {archive.binary_folder}. Unpack the "
                f"archive of {archive.name} there, or name the folder that it was unpacked to."
            )
    *train, test = parts
    images, labels = (np.concatenate(arrays) for arrays in zip(*train, strict=True))
    held = min(_VALIDATION, len(labels) // 10)
    return assemble(archive.name, (images, labels), test, classes=archive.classes, validation=held)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path} is missing: the archive was not unpacked completely.")
    return path


def _read_python(path: Path, archive: _Archive) -> tuple[np.ndarray, np.ndarray]:
    table = read_pickled_table(path)
    pixels, labels = table.get(b"data"), table.get(archive.label_key)
    if not isinstance(pixels, np.ndarray) or not isinstance(labels, list):
        raise FileFormatError(f"{path} is not a batch of {archive.name}: it lacks data or labels.")
    if not all(type(label) is int for label in labels):
        raise FileFormatError(f"{path} is not a batch of {archive.name}: its labels are not whole numbers.")
    return _checked(path, archive, pixels, np.array(labels))


def _read_binary(path: Path, archive: _Archive) -> tuple[np.ndarray, np.ndarray]:
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    record = archive.label_bytes + _PIXELS
    if not content.size or content.size % record:
        raise FileFormatError(f"{path} has {content.size} bytes, which is no multiple of {record}.")
    rows = content.reshape(-1, record)
    return _checked(path, archive, rows[:, archive.label_bytes :], rows[:, archive.label_bytes - 1])


def _checked(
    path: Path, archive: _Archive, pixels: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if pixels.shape != (len(labels), _PIXELS) or pixels.dtype != np.uint8:
        raise FileFormatError(
            f"{path} holds pixels {pixels.shape} for {len(labels)} labels; expected (n, {_PIXELS}) and n."
        )
    if not len(labels) or labels.min() < 0 or labels.max() >= archive.classes:
        raise FileFormatError(f"{path} holds labels outside 0 to {archive.classes - 1}, or none.")
    return pixels.reshape(-1, 3, 32, 32).astype(np.float32) / 255, labels
