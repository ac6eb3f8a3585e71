"""Labelled images in three parts that never mix."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from snnkit.utilities.errors import DataError

__all__ = ["ImageSplit", "LabelledImages", "hold_out", "standardised"]


@dataclass(frozen=True)
class LabelledImages:
    """Images ``(n, channels, height, width)`` of float32 with their labels ``(n,)`` of int64."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1] or not len(self.labels):
            raise DataError(
                f"Images {tuple(self.images.shape)} and labels {tuple(self.labels.shape)} must be "
                "(n, channels, height, width) and (n,), n > 0."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "LabelledImages":
        return LabelledImages(self.images[index], self.labels[index])

    def to(self, device: torch.device | str) -> "LabelledImages":
        """Return the same on ``device``."""
        return LabelledImages(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class ImageSplit:
    """Training images, validation images for every choice that is made, test images for the last number."""

    name: str
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def first(self, count: int | None) -> "ImageSplit":
        """Return the same with the first ``count`` training images only; None leaves all.

        Raises:
            DataError: there are fewer.
        """
        if count is None:
            return self
        if not 0 < count <= len(self.train):
            raise DataError(f"{self.name} has {len(self.train)} training images, not {count}.")
        return replace(self, train=self.train[:count])

    def to(self, device: torch.device | str) -> "ImageSplit":
        """Return the same on ``device``."""
        parts = {part: getattr(self, part).to(device) for part in ("train", "validation", "test")}
        return replace(self, **parts)


def hold_out(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split ``0 .. n-1`` into those that stay and ``count`` held out, in proportion to the classes.

    Both are in an order drawn from ``seed``, so that any first part of them is mixed too.

    Raises:
        DataError: less than one would stay or be held out.
    """
    labels = np.asarray(labels)
    if not 0 < count < len(labels):
        raise DataError(f"{count} of {len(labels)} samples cannot be held out.")
    order = np.random.default_rng(seed).permutation(len(labels))
    # Of each class the same share: the samples, sorted by class, are taken at equal distances.
    by_class = order[np.argsort(labels[order], kind="stable")]
    places = (np.arange(count) * len(labels)) // count
    held = np.zeros(len(labels), dtype=bool)
    held[by_class[places]] = True
    return order[~held[order]], order[held[order]]


def standardised(parts: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Bring the channels of the first part, the training images, to mean 0, deviation 1; the rest alike."""
    train = parts[0]
    mean = train.mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    deviation = train.std(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return tuple(((part - mean) / deviation).astype(np.float32) for part in parts)
