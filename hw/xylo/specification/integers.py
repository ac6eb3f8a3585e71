"""Conversion to integer arrays that never rounds, wraps or truncates."""

from typing import Any

import numpy as np

__all__ = ["exact_integer", "exact_integers"]


def exact_integers(name: str, value: Any, dtype: np.dtype | type) -> np.ndarray:
    """Return ``value`` as a new, read-only, C-ordered array of integer type ``dtype``.

    Args:
        name: used in messages.
        value: anything numpy can read, or a torch tensor; floats must hold whole numbers.
        dtype: integer type of the result.

    Raises:
        ValueError: if a value is not a whole number or does not fit into ``dtype``.
    """
    source = _as_numpy(name, value)
    limits = np.iinfo(dtype)
    if source.size:
        if source.dtype.kind == "f":
            _refuse(name, source, ~np.isfinite(source), "not finite")
            _refuse(name, source, source != np.floor(source), "not a whole number; quantise first")
        outside = (source < limits.min) | (source > limits.max)
        _refuse(name, source, outside, f"outside {limits.min}..{limits.max}")
    result = np.array(source, dtype=dtype, order="C")
    result.setflags(write=False)
    return result


def exact_integer(name: str, value: Any, low: int, high: int) -> int:
    """Return ``value`` as a Python int; ValueError unless it is one whole number in ``low..high``."""
    array = exact_integers(name, value, np.int64)
    if array.size != 1:
        raise ValueError(f"{name} must be one number, not an array of shape {array.shape}.")
    number = int(array.reshape(()))
    if not low <= number <= high:
        raise ValueError(f"{name} = {number} is outside {low}..{high}.")
    return number


def _as_numpy(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from error
    if array.size == 0 and array.dtype.kind == "f":  # np.asarray([]) is float
        array = array.astype(np.int64)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {array.dtype} values; integers are needed.")
    return array


def _refuse(name: str, array: np.ndarray, wrong: np.ndarray, why: str) -> None:
    if not wrong.any():
        return
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"{name}{list(index)}" if index else name
    count = int(wrong.sum())
    more = f" (and {count - 1} more)" if count > 1 else ""
    raise ValueError(f"{place} = {array[index]}{more} is {why}.")
