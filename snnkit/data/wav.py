"""Reads WAV files: PCM of 8, 16, 24 and 32 bits and 32-bit float, plain or extensible.

The format is RIFF (Microsoft and IBM, 1991): chunks of a four-letter name, a little-endian size, content,
padded to even length. The standard library's reader refuses float and extensible files.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from snnkit.utilities.errors import FileFormatError

__all__ = ["read_wav"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


class _Format(NamedTuple):
    code: int
    channels: int
    rate: int
    bits: int


def read_wav(path: str | Path) -> tuple[np.ndarray, float]:
    """Return ``(signal, sample_rate)``: float32 ``(samples, channels)`` in [-1, 1], and hertz.

    Raises:
        FileFormatError: not a WAV file, damaged, or in a coding other than PCM and float.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path} cannot be read: {error}") from error
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise FileFormatError(f"{path} is not a WAV file (it does not begin with RIFF ... WAVE).")
    layout, data = None, None
    for name, body in _chunks(content, path):
        if name == b"fmt " and layout is None:
            layout = _parse_format(body, path)
        elif name == b"data" and data is None:
            data = body
    if layout is None or data is None:
        missing = "format" if layout is None else "data"
        raise FileFormatError(f"{path} holds no {missing} chunk: the file is damaged.")
    samples = _decode(data, layout, path)
    if not samples.size:
        raise FileFormatError(f"{path} holds no samples.")
    return samples, float(layout.rate)


def _chunks(content: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    position = 12
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        body = content[position + 8 : position + 8 + size]
        if len(body) < size:
            raise FileFormatError(
                f"{path} is cut short: its {name.decode('ascii', 'replace').strip()} chunk announces "
                f"{size} bytes and holds {len(body)}."
            )
        yield name, body
        position += 8 + size + size % 2


def _parse_format(body: bytes, path: Path) -> _Format:
    if len(body) < 16:
        raise FileFormatError(f"{path} has a damaged format chunk ({len(body)} bytes).")
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if code == _EXTENSIBLE and len(body) >= 26:
        code = struct.unpack_from("<H", body, 24)[0]
    supported = (code == _PCM and bits in (8, 16, 24, 32)) or (code == _FLOAT and bits == 32)
    if not supported or channels < 1 or rate < 1:
        raise FileFormatError(
            f"{path} has {channels} channels of {bits} bits in coding {code} at {rate} Hz. "
            "Readable: PCM (coding 1) of 8, 16, 24 or 32 bits and 32-bit float (coding 3). Convert it first."
        )
    return _Format(code, channels, rate, bits)


def _decode(data: bytes, layout: _Format, path: Path) -> np.ndarray:
    block = layout.channels * layout.bits // 8
    if len(data) % block:
        raise FileFormatError(f"{path}: {len(data)} bytes of data are not whole blocks of {block} bytes.")
    if layout.code == _FLOAT:
        samples = np.frombuffer(data, "<f4")
        if not np.isfinite(samples).all():
            raise FileFormatError(f"{path} holds samples that are not finite.")
    elif layout.bits == 8:
        samples = (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif layout.bits == 24:
        # Three bytes become the upper three of four, so the sign comes along; the factor 256 is divided out.
        raw = np.zeros((len(data) // 3, 4), np.uint8)
        raw[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        samples = raw.view("<i4")[:, 0].astype(np.float64) / 2.0**31
    else:
        samples = np.frombuffer(data, f"<i{layout.bits // 8}").astype(np.float64) / 2.0 ** (layout.bits - 1)
    return samples.reshape(-1, layout.channels).astype(np.float32)
