"""Reads the pickles of CIFAR's python archives without letting them run anything.

A pickle is a program that may call whatever it names. Those files need two names only: numpy's array and
type constructors. Both are replaced by plain records here, every other name is refused, and the arrays are
built from the recorded bytes after their sizes were checked. So nothing of numpy or anything else is called
by the file.
"""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from snnkit.utilities.errors import FileFormatError

__all__ = ["read_pickled_table"]


class _Array:
    """Takes the place of an array while the file is read."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Kind:
    """Takes the place of a numpy type."""

    def __init__(self, code: Any = None, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """A byte's state says nothing."""


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
}


class _Unpickler(pickle._Unpickler):
    """Admits the names of a CIFAR batch, as records, and nothing else.

    It is the one written in Python, whose memory of objects is a dict: that of the one in C is a list as long
    as the largest number in the file, so that a few bytes can ask for gigabytes.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_pickled_table(path: str | Path) -> dict[Any, Any]:
    """Return the table in a pickle of numbers, bytes, lists and arrays of bytes.

    Raises:
        FileFormatError: the file is damaged, is no such table, or asks for anything else.
    """
    try:
        with Path(path).open("rb") as file:
            table = _Unpickler(file, encoding="bytes").load()
    except Exception as error:  # A damaged pickle may raise nearly anything.
        raise FileFormatError(f"{path} is not a readable CIFAR batch: {error}.") from error
    if not isinstance(table, dict):
        raise FileFormatError(f"{path} is not a CIFAR batch: it holds a {type(table).__name__}.")
    return {key: _array(path, value) if isinstance(value, _Array) else value for key, value in table.items()}


def _array(path: str | Path, record: _Array) -> np.ndarray:
    try:
        _, shape, kind, by_columns, content = record.state
        sizes = tuple(int(size) for size in shape)
        fits = isinstance(content, bytes) and math.prod(sizes) == len(content) and min(sizes, default=0) >= 0
        of_bytes = isinstance(kind, _Kind) and kind.code in (b"u1", "u1")
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{path} holds an array that cannot be read: {error}.") from error
    if not fits or not of_bytes:
        raise FileFormatError(f"{path} holds an array that is not one of bytes of its own size.")
    return np.frombuffer(content, dtype=np.uint8).reshape(sizes, order="F" if by_columns else "C")
