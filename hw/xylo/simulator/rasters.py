"""Event rasters on their way into and out of a backend: checked, never bent into shape."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from snnkit.utilities.errors import DataError, ShapeError

__all__ = ["Raster", "read_raster"]

MAX_COUNT = 255
"""A backend takes one byte for each event count; what is above the chip's own limit is clipped."""


@dataclass(frozen=True)
class Raster:
    """Event counts (batch, time, channels) as bytes, and how the caller wants results back."""

    counts: np.ndarray
    batched: bool
    device: torch.device | None
    """Of the caller's tensor, or None if the caller uses numpy."""

    def returned(self, array: np.ndarray) -> Any:
        """Return ``array`` (batch, ...) in the caller's kind, without the batch axis if there was none."""
        result = array if self.batched else array[0]
        return result if self.device is None else torch.from_numpy(result).to(self.device)


def read_raster(raster: Any, n_channels: int) -> Raster:
    """Check ``raster``, (time, channels) or (batch, time, channels), numpy or torch.

    Raises:
        ShapeError: wrong number of axes or channels.
        DataError: counts that are not whole numbers from 0 to 255.
    """
    device = raster.device if isinstance(raster, torch.Tensor) else None
    values = raster.detach().cpu().numpy() if isinstance(raster, torch.Tensor) else np.asarray(raster)
    if values.ndim not in (2, 3):
        raise ShapeError(
            f"The raster has shape {tuple(values.shape)}; (time, {n_channels}) or "
            f"(batch, time, {n_channels}) is needed."
        )
    if values.shape[-1] != n_channels:
        raise ShapeError(
            f"The raster has {values.shape[-1]} channels, the program has {n_channels} inputs: "
            f"shape {tuple(values.shape)}, (batch, time, {n_channels}) is needed."
        )
    batched = values.ndim == 3
    return Raster(_counts(values if batched else values[None]), batched, device)


def _counts(values: np.ndarray) -> np.ndarray:
    if values.dtype == bool:
        return np.ascontiguousarray(values).view(np.uint8)
    if values.dtype.kind not in "iuf":
        raise DataError(f"The raster holds {values.dtype}; event counts are whole numbers.")
    if values.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= MAX_COUNT):  # also catches NaN
        outside = np.argwhere(~((values >= 0) & (values <= MAX_COUNT)))
        first = tuple(int(i) for i in outside[0])
        raise DataError(
            f"The raster holds {values[first]} at (sample, step, channel) {first} and {len(outside) - 1} "
            f"more values outside 0..{MAX_COUNT}. Counts are events in one time step; split or rescale them."
        )
    counts = np.ascontiguousarray(values, dtype=np.uint8)
    if values.dtype.kind == "f" and not np.array_equal(counts, values):
        first = tuple(int(i) for i in np.argwhere(counts != values)[0])
        raise DataError(
            f"The raster holds {values[first]} at (sample, step, channel) {first}; event counts are whole "
            "numbers. Encode analog signals into events first."
        )
    return counts
