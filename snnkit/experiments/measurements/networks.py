"""What the measurements share: networks in double precision, their loss on batches, places on the orbit."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkit.experiments.data import ImageSplit, LabelledImages
from snnkit.experiments.experiment import Context
from snnkit.experiments.models import build_model
from snnkit.teleport import Element, Symmetries, symmetries
from snnkit.teleport.training import LossOnBatches

__all__ = ["Subject", "batches_of", "cross_entropy", "moved_parameters", "subject"]

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Subject:
    """A network that is measured, in float64, with its symmetries."""

    name: str
    model: nn.Module
    symmetries: Symmetries
    data: ImageSplit

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Values of the parameters by name."""
        return {name: p.detach() for name, p in self.model.named_parameters()}

    def loss(self, batches: list[Batch]) -> LossOnBatches:
        """Return the cross entropy on batches."""
        return LossOnBatches(self.model, cross_entropy, batches)


def subject(name: str, data: str, context: Context, *, small: bool) -> Subject:
    """Return a freshly initialised network for a data set, in training mode."""
    images = context.images(data)
    generator = context.generator("weights", name, data)
    model = build_model(name, images.shape, images.classes, small=small, generator=generator).double()
    example = images.train.images[:2].double()
    return Subject(name, model, symmetries(model, example), images)


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross entropy of a batch ``(images, labels)``."""
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


def batches_of(images: LabelledImages, size: int, count: int, generator: torch.Generator) -> list[Batch]:
    """Return ``count`` batches of ``size`` images in float64; none comes twice before all have come once."""
    rounds = -(-size * count // len(images))
    order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(rounds)])
    parts = order[: size * count].split(size)
    return [(images.images[part].double(), images.labels[part]) for part in parts]


def moved_parameters(parameters: Mapping[str, Tensor], element: Element) -> dict[str, Tensor]:
    """Return parameters where an element brings them, without touching the network."""
    changes = element.changes()
    return {n: changes[n].apply(value) if n in changes else value for n, value in parameters.items()}
