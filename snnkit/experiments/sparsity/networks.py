"""The networks that the sparsity experiments start from: trained here, or of the user's file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.data import ImageSplit, LabelledImages, load_images
from snnkit.experiments.experiment import Context, seed_of
from snnkit.experiments.models import build_model
from snnkit.experiments.sparsity.weight_files import load_weights
from snnkit.recipes.schema import Limits
from snnkit.sparse.pruning import MaskHolder, Masks
from snnkit.utilities.errors import ConfigurationError
from snnkit.utilities.files import write_arrays

__all__ = [
    "Network",
    "Training",
    "accuracy",
    "dense_network",
    "dense_networks",
    "network",
    "one_network_of",
    "percent",
    "restored",
    "train",
]


@dataclass(frozen=True)
class Network:
    """Which network, on which data.

    Args:
        model: A name of :data:`snnkit.experiments.models.MODELS`.
        data: Images.
        small: The narrow model, for quick runs.
        hidden: Neurons of hidden fully connected layers; empty for the model's own.
        weights: The user's file of trained weights (safetensors, or a state dict of ``torch.save``); empty
            to train the model here.
    """

    model: str = "MLP"
    data: str = "digits"
    small: bool = True
    hidden: tuple[int, ...] = ()
    weights: str = ""


@dataclass(frozen=True)
class Training:
    """How networks are trained: Adam, the learning rate falling along half a cosine.

    Args:
        epochs: Passes over the training images.
        batch_size: Images of a step.
        learning_rate: At the beginning.
    """

    epochs: Annotated[int, Limits(low=1)] = 30
    batch_size: Annotated[int, Limits(low=1)] = 64
    learning_rate: Annotated[float, Limits(above=0.0)] = 2e-3


def network(net: Network, split: ImageSplit, seed: int) -> nn.Module:
    """Return the untrained network that a seed draws."""
    arguments = {"hidden": net.hidden} if net.hidden else {}
    generator = torch.Generator().manual_seed(seed)
    return build_model(net.model, split.shape, split.classes, arguments, small=net.small, generator=generator)


def dense_network(net: Network, training: Training, context: Context, repeat: int) -> Path:
    """Return the file of a trained dense network, from the user's file or trained now."""
    split = context.images(net.data)
    seed = seed_of(context.seed, net.model, "dense", repeat)
    model = network(net, split, seed)
    if net.weights:
        load_weights(model, net.weights)
    else:
        train(model, split.train, training, seed)
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    # Workers of a cluster read it, from other working directories.
    return write_arrays(context.folder.absolute() / f"dense-{net.model}-{repeat}.safetensors", arrays, {})


def dense_networks(
    nets: Sequence[Network], repeats: int, training: Training, context: Context
) -> Iterator[tuple[Network, int, Path]]:
    """Yield each network, the number of its repeat and the file of :func:`dense_network`; tell progress."""
    pairs = [(net, repeat) for net in nets for repeat in range(repeats)]
    context.progress.start("training dense networks", len(pairs))
    for done, (net, repeat) in enumerate(pairs, 1):
        path = dense_network(net, training, context, repeat)
        context.progress.advance(done)
        yield net, repeat, path
    context.progress.finish()


def one_network_of(weights: str, networks: Sequence[str]) -> None:
    """Raise ConfigurationError where a file of weights is named for several networks."""
    if weights and len(networks) > 1:
        raise ConfigurationError("A file of weights is of one network: name it, as in networks=['VGG11_bn'].")


def percent(values: Sequence[float]) -> str:
    """Write shares as mean and standard deviation in per cent."""
    spread = f" ± {100 * stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * fmean(values):.1f}{spread}"


def restored(net: Network, path: Path, data: Path | None) -> tuple[nn.Module, ImageSplit]:
    """Return the network of :func:`dense_network` and its data."""
    split = load_images(net.data, data)
    model = network(net, split, 0)
    load_weights(model, path)
    return model, split


def train(
    model: nn.Module,
    images: LabelledImages,
    training: Training,
    seed: int,
    *,
    prepare: Callable[[torch.optim.Optimizer, int], MaskHolder | None] | None = None,
    after_epoch: Callable[[int, torch.optim.Optimizer], None] | None = None,
) -> Masks | None:
    """Train a model in place; every run with the same seed sees the same batches.

    Args:
        prepare: ``prepare(optimizer, steps)`` is called before the first step, to attach what prunes.
        after_epoch: ``after_epoch(epoch, optimizer)`` with epochs from 1.

    Returns:
        The masks that held in the end, if what was attached has some.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), training.learning_rate)
    batches = -(-len(images) // training.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, batches * training.epochs)
    holder = None if prepare is None else prepare(optimizer, batches * training.epochs)
    for epoch in range(1, training.epochs + 1):
        model.train()
        order = torch.randperm(len(images), generator=generator)
        # A batch norm cannot learn from a single image.
        for part in (p for p in order.split(training.batch_size) if len(p) > 1):
            optimizer.zero_grad()
            F.cross_entropy(model(images.images[part]), images.labels[part]).backward()
            optimizer.step()
            schedule.step()
        if after_epoch is not None:
            after_epoch(epoch, optimizer)
    model.eval()
    if holder is None:
        return None
    holder.remove()
    return holder.masks


@torch.no_grad()
def accuracy(model: nn.Module, images: LabelledImages, batch_size: int = 512) -> float:
    """Return the share of images that the model names rightly, in evaluation mode."""
    training = model.training
    model.eval()
    parts: list[Tensor] = [model(part).argmax(1) for part in images.images.split(batch_size)]
    model.train(training)
    return float((torch.cat(parts) == images.labels).double().mean())
