"""Images that need no files: scikit-learn's digits, and random ones."""

import functools

import numpy as np
import torch

from snnkit.experiments.data.assembling import assemble
from snnkit.experiments.data.images import ImageSplit, LabelledImages
from snnkit.utilities.errors import MissingDependencyError

__all__ = ["load_digits", "random_images"]

_HELD = 360
"""Digits for validation, and as many for the test: a fifth each of 1,797."""


@functools.cache
def load_digits() -> ImageSplit:
    """Return scikit-learn's 1,797 digits of 8 x 8 pixels: 1,077 to train, 360 to validate, 360 to test.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError as error:
        raise MissingDependencyError(
            f'The digits come with scikit-learn: pip install "snnkit[experiments]" ({error}).'
        ) from error
    digits = load()
    images = digits.images[:, None].astype(np.float32)
    return assemble(
        "digits", (images, digits.target), None, classes=10, validation=_HELD, held_for_test=_HELD
    )


def random_images(
    shape: tuple[int, int, int] = (3, 32, 32),
    *,
    classes: int = 10,
    train: int = 1024,
    validation: int = 256,
    test: int = 256,
    seed: int = 0,
) -> ImageSplit:
    """Return standard normal images with labels drawn evenly: nothing can be learned but by heart."""
    generator = torch.Generator().manual_seed(seed)
    parts = {
        part: LabelledImages(
            torch.randn(count, *shape, generator=generator),
            torch.randint(classes, (count,), generator=generator),
        )
        for part, count in (("train", train), ("validation", validation), ("test", test))
    }
    return ImageSplit("random", classes=classes, **parts)
