"""Images for experiments, split into training, validation and test; nothing is ever downloaded."""

from .bundled import load_digits, random_images
from .catalogue import DATASETS, load_images
from .cifar import load_cifar10, load_cifar100
from .images import ImageSplit, LabelledImages
from .mnist import load_mnist

__all__ = [
    "DATASETS",
    "ImageSplit",
    "LabelledImages",
    "load_cifar10",
    "load_cifar100",
    "load_digits",
    "load_images",
    "load_mnist",
    "random_images",
]
