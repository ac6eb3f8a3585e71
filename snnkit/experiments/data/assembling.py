"""From arrays of pixels to a split: holding out, standardising, tensors."""

import numpy as np
import torch

from snnkit.experiments.data.images import ImageSplit, LabelledImages, hold_out, standardised

__all__ = ["assemble"]

_SPLIT_SEED = 0
"""One split for all runs: seeds of runs must not change which images are tested."""


def assemble(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray] | None,
    *,
    classes: int,
    validation: int,
    held_for_test: int = 0,
) -> ImageSplit:
    """Return the split of ``train`` and ``test``, each images ``(n, channels, height, width)`` and labels.

    ``validation`` images are held out of the training images, and where there is no test set of its own
    ``held_for_test`` others. Means and deviations are those of the images that are left for training.
    """
    images, labels = train
    if test is None:
        kept, held = hold_out(labels, held_for_test, _SPLIT_SEED)
        test, (images, labels) = (images[held], labels[held]), (images[kept], labels[kept])
    kept, held = hold_out(labels, validation, _SPLIT_SEED + 1)
    pixels = standardised((images[kept], images[held], test[0]))
    train_part, validation_part, test_part = (
        LabelledImages(torch.from_numpy(x), torch.from_numpy(np.asarray(y).astype(np.int64)))
        for x, y in zip(pixels, (labels[kept], labels[held], test[1]), strict=True)
    )
    return ImageSplit(name, train_part, validation_part, test_part, classes)
