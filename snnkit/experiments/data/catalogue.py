"""Data sets by name."""

from pathlib import Path

from snnkit.experiments.data.bundled import load_digits, random_images
from snnkit.experiments.data.cifar import load_cifar10, load_cifar100
from snnkit.experiments.data.images import ImageSplit
from snnkit.experiments.data.mnist import load_mnist
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["DATASETS", "load_images"]

_FROM_FOLDERS = {"cifar10": load_cifar10, "cifar100": load_cifar100, "mnist": load_mnist}

DATASETS = ("digits", "random", *_FROM_FOLDERS)
"""What :func:`load_images` knows; all but the first two need a folder."""


def load_images(name: str, folder: str | Path | None = None, *, train: int | None = None) -> ImageSplit:
    """Return the data set ``name``, split into training, validation and test images.

    Args:
        name: "digits" (scikit-learn's), "random" (3 x 32 x 32), "cifar10", "cifar100" or "mnist".
        folder: Where the files of the last three lie; nothing is ever downloaded.
        train: Keep only so many training images. The split itself does not depend on it.

    Raises:
        ConfigurationError: no such data set, or it needs a folder and none was given.
        DataError: files are missing, or there are fewer training images.
        FileFormatError: a file is damaged.
    """
    if name not in DATASETS:
        raise ConfigurationError(unknown_key_message("data set", name, DATASETS))
    if name == "digits":
        return load_digits().first(train)
    if name == "random":
        return random_images().first(train)
    if folder is None:
        raise ConfigurationError(f"The files of {name} are yours: name their folder with --data DIR.")
    return _FROM_FOLDERS[name](folder).first(train)
