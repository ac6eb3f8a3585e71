"""Reads CSV files of numbers: one row per sample, one column per channel."""

import csv
from pathlib import Path

import numpy as np

from snnkit.utilities.errors import FileFormatError

__all__ = ["read_csv"]

_DELIMITERS = ",;\t "


def read_csv(path: str | Path) -> np.ndarray:
    """Return float32 ``(samples, channels)``; a first row that is not numbers is taken as a header.

    Comma, semicolon, tab and space are understood as separators.

    Raises:
        FileFormatError: empty, not numbers (the message names the line), or rows of different length.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} cannot be read as text: {error}") from error
    numbered = [(i, line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise FileFormatError(f"{path} is empty.")
    delimiter = next((d for d in _DELIMITERS if d in numbered[-1][1]), ",")
    rows = [(i, _cells(line, delimiter)) for i, line in numbered]
    if not _is_numeric(rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise FileFormatError(f"{path} holds a header and no rows of numbers.")
    return np.array([_numbers(cells, i, len(rows[0][1]), path) for i, cells in rows], dtype=np.float32)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _is_numeric(cells: list[str]) -> bool:
    try:
        [float(cell) for cell in cells]
    except ValueError:
        return False
    return True


def _numbers(cells: list[str], line: int, width: int, path: Path) -> list[float]:
    if len(cells) != width:
        raise FileFormatError(f"{path}, line {line}: {len(cells)} values where the first row has {width}.")
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError as error:
        raise FileFormatError(f"{path}, line {line}: {error}.") from error
    if not np.isfinite(numbers).all():
        raise FileFormatError(f"{path}, line {line}: a value is not finite.")
    return numbers
