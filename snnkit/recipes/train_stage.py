"""Stage ``train``: the float net; resumable."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnkit.nn.combinators.sequential import TorchSequential
from snnkit.recipes.fitting import SEED_STRIDE, fit, save_net
from snnkit.recipes.metrics_file import read_metrics, update_metrics
from snnkit.recipes.network import build_network, set_working_point
from snnkit.recipes.prepare import Prepared, prepare
from snnkit.recipes.progress import Progress
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.training.checkpoint import Checkpoint
from snnkit.training.metrics import accuracy
from snnkit.training.trainer import (
    Epoch,
    load_parameters,
    predict,
    read_history,
    torch_threads,
    trained_parameters,
)
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["TrainedFloat", "load_float", "train_float", "untrained_network"]

_WORKING_POINT_RECORDINGS = 128


@dataclass(frozen=True)
class TrainedFloat:
    """What float training leaves.

    Attributes:
        prepared: Recordings, encoder and rasters.
        net: The trained net.
        history: All epochs.
    """

    prepared: Prepared
    net: TorchSequential
    history: tuple[Epoch, ...]

    def outputs(self) -> np.ndarray:
        """Output events of the test split ``(recordings, time, outputs)``."""
        return predict(self.net, torch.from_numpy(self.prepared.test_events)).numpy()

    def accuracy(self) -> float:
        """Fraction of the test split that the net names rightly."""
        return accuracy(self.prepared.readout.predict(self.outputs()), self.prepared.test_labels)


def train_float(recipe: Recipe, folder: RunFolder, resume: bool, progress: Progress) -> TrainedFloat:
    """Train the float net and write it; see :func:`snnkit.recipes.stages.train`."""
    folder.refuse_unless_free(recipe, resume)  # Before anything that takes time.
    read_metrics(folder)
    prepared = prepare_told(recipe, progress)
    folder.begin(recipe, resume)
    with torch_threads(recipe.training.threads):
        trained = (
            _load(prepared, folder) if folder.float_net.is_file() else _train(prepared, folder, progress)
        )
        update_metrics(folder, recipe, accuracy={"float": trained.accuracy()})
    return trained


def load_float(folder: RunFolder) -> TrainedFloat:
    """Return what :func:`train_float` left in ``folder``.

    Raises:
        ConfigurationError: training has not finished there.
        FileFormatError: a file is damaged, or the recordings are not those that the net was trained on.
    """
    recipe = folder.recipe()
    if not folder.float_net.is_file():
        raise ConfigurationError(
            f"{folder.path} holds no trained net. Finish the training: "
            f"snnkit train --resume --out {folder.path}"
        )
    return _load(prepare(recipe), folder)


def prepare_told(recipe: Recipe, progress: Progress) -> Prepared:
    """Load and encode the recordings, and tell how many there are."""
    progress.start("Encoding recordings")
    prepared = prepare(recipe)
    train, test = prepared.split.train, prepared.split.test
    progress.finish(
        f"{len(train)} to train on, {len(test)} to test, {len(prepared.classes)} classes; "
        f"{prepared.train_levels.shape[1]} steps of {prepared.encoder.channels} channels"
    )
    return prepared


def untrained_network(prepared: Prepared) -> TorchSequential:
    """The recipe's network with the weights that its seed draws."""
    recipe = prepared.recipe
    return build_network(
        recipe.network,
        prepared.encoder.channels,
        prepared.readout,
        prepared.chip,
        dropout=recipe.training.dropout,
        seed=recipe.seed * SEED_STRIDE,
    )


def _train(prepared: Prepared, folder: RunFolder, progress: Progress) -> TrainedFloat:
    net = untrained_network(prepared)
    first = prepared.augmentation.events(_evenly(prepared.train_levels, _WORKING_POINT_RECORDINGS))
    set_working_point(net, first)
    history = fit(net, prepared, folder, "float", progress)
    save_net(net, history, prepared, folder.float_net)
    return TrainedFloat(prepared, net, history)


def _evenly(levels: Tensor, count: int) -> Tensor:
    return levels[:: math.ceil(len(levels) / count)]


def _load(prepared: Prepared, folder: RunFolder) -> TrainedFloat:
    saved = Checkpoint.load(folder.float_net)
    fitted = saved.part("encoder")
    for name, array in prepared.encoder.arrays().items():
        if name not in fitted:
            raise FileFormatError(f"{folder.float_net} is damaged: it lacks the normalisation {name!r}.")
        if not np.array_equal(fitted[name], array):
            raise FileFormatError(
                f"{folder.float_net} was trained on other recordings: the normalisation fitted on "
                "the training split differs. Give the folder of recordings as it was, or begin a new run."
            )
    net = untrained_network(prepared)
    load_parameters(trained_parameters(net), saved.part("parameter"), folder.float_net.name)
    net.eval()
    return TrainedFloat(prepared, net, read_history(saved))
