"""Stage ``train``: the float net, then quantisation-aware fine-tuning; both resumable."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from snnkit.data import Encoder
from snnkit.nn.combinators.sequential import TorchSequential
from snnkit.recipes.metrics_file import read_metrics, update_metrics
from snnkit.recipes.network import build_network, set_working_point
from snnkit.recipes.prepare import Prepared, prepare
from snnkit.recipes.progress import Progress
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.training.checkpoint import Checkpoint, joined
from snnkit.training.metrics import accuracy
from snnkit.training.trainer import (
    Epoch,
    FitSettings,
    Trainer,
    load_parameters,
    predict,
    read_history,
    torch_threads,
    trained_parameters,
)
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = ["Trained", "load_trained", "train_nets", "untrained_network"]

_WORKING_POINT_RECORDINGS = 128
_SEED_STRIDE = 16
"""Seeds of one run lie within this distance, so that two runs never share one."""


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes:
        prepared: Recordings, encoder and rasters.
        float_net: The trained net.
        qat_net: The net after fine-tuning, its transforms still in place.
        history: All epochs, float first.
        outputs: Output events of the test split ``(recordings, time, outputs)``, by net ("float", "qat").
    """

    prepared: Prepared
    float_net: TorchSequential
    qat_net: nn.Module
    history: tuple[Epoch, ...]
    outputs: Mapping[str, np.ndarray]

    def predictions(self, net: str) -> np.ndarray:
        """Classes of the test split ``(recordings,)`` by the net "float" or "qat"."""
        return self.prepared.readout.predict(self.outputs[net])

    def accuracy(self, net: str) -> float:
        """Fraction of the test split that the net "float" or "qat" names rightly."""
        return accuracy(self.predictions(net), self.prepared.test_labels)


def train_nets(recipe: Recipe, folder: RunFolder, resume: bool, progress: Progress) -> Trained:
    """Train both nets and write them; see :func:`snnkit.recipes.stages.train`."""
    folder.refuse_unless_free(recipe, resume)  # Before anything that takes time.
    read_metrics(folder)
    prepared = _prepare(recipe, progress)
    folder.begin(recipe, resume)
    with torch_threads(recipe.training.threads):
        float_net, float_history = _float_stage(prepared, folder, progress)
        qat_net, qat_history = _qat_stage(prepared, float_net, folder, progress)
        trained = _evaluated(prepared, float_net, qat_net, float_history + qat_history)
    update_metrics(
        folder, recipe, accuracy={"float": trained.accuracy("float"), "qat": trained.accuracy("qat")}
    )
    return trained


def load_trained(folder: RunFolder) -> Trained:
    """Return what :func:`train_nets` left in ``folder``.

    Raises:
        ConfigurationError: training has not finished there.
        FileFormatError: a file is damaged, or the recordings are not those that the net was trained on.
    """
    recipe = folder.recipe()
    if not folder.qat_net.is_file():
        raise ConfigurationError(
            f"{folder.path} holds no trained net. Finish the training: snnkit train ... --resume."
        )
    prepared = prepare(recipe)
    with torch_threads(recipe.training.threads):
        float_net, float_history = _load_float(prepared, folder)
        qat_net = _qat_network(prepared, float_net)
        saved = Checkpoint.load(folder.qat_net)
        _restore_qat(qat_net, saved, prepared, folder)
        return _evaluated(prepared, float_net, qat_net, float_history + read_history(saved))


def _prepare(recipe: Recipe, progress: Progress) -> Prepared:
    progress.start("Encoding recordings")
    prepared = prepare(recipe)
    train, test = prepared.split.train, prepared.split.test
    progress.finish(
        f"{len(train)} to train on, {len(test)} to test, {len(prepared.classes)} classes; "
        f"{prepared.train_levels.shape[1]} steps of {prepared.encoder.channels} channels"
    )
    return prepared


def _float_stage(
    prepared: Prepared, folder: RunFolder, progress: Progress
) -> tuple[TorchSequential, tuple[Epoch, ...]]:
    if folder.float_net.is_file():
        return _load_float(prepared, folder)
    net = untrained_network(prepared)
    first = prepared.augmentation.events(_evenly(prepared.train_levels, _WORKING_POINT_RECORDINGS))
    set_working_point(net, first)
    history = _fit(net, prepared, folder, "float", progress)
    _save_net(net, history, prepared.encoder, folder.float_net)
    return net, history


def _qat_stage(
    prepared: Prepared, float_net: TorchSequential, folder: RunFolder, progress: Progress
) -> tuple[nn.Module, tuple[Epoch, ...]]:
    net = _qat_network(prepared, float_net)
    history: tuple[Epoch, ...] = ()
    if folder.qat_net.is_file():
        saved = Checkpoint.load(folder.qat_net)
        _restore_qat(net, saved, prepared, folder)
        return net, read_history(saved)
    if prepared.recipe.qat.epochs:
        history = _fit(net, prepared, folder, "qat", progress)
    _observe_states(net, prepared)
    _save_net(net, history, prepared.encoder, folder.qat_net)
    return net, history


def _restore_qat(net: nn.Module, saved: Checkpoint, prepared: Prepared, folder: RunFolder) -> None:
    load_parameters(trained_parameters(net), saved.part("parameter"), folder.qat_net.name)
    _observe_states(net, prepared)


def _observe_states(net: nn.Module, prepared: Prepared) -> None:
    """Fit the scales to the states of the trained weights: training moves them beyond those it began with."""
    from snnkit.transforms.chip import recalibrate

    recalibrate(net, prepared.calibration_events().float())
    net.eval()


def untrained_network(prepared: Prepared) -> TorchSequential:
    """The recipe's network with the weights that its seed draws."""
    recipe = prepared.recipe
    return build_network(
        recipe.network,
        prepared.encoder.channels,
        prepared.readout,
        prepared.chip,
        dropout=recipe.training.dropout,
        seed=recipe.seed * _SEED_STRIDE,
    )


def _qat_network(prepared: Prepared, float_net: TorchSequential) -> nn.Module:
    """A copy of the float net with the chip's integers in its forward pass.

    The weight shifts are those that serve the float net best on the chip, in the bit-exact simulator, on
    training recordings.
    """
    from snnkit.hw.xylo.deployment.deploy import deploy
    from snnkit.transforms.chip import for_chip

    deployment = deploy(
        float_net,
        prepared.chip,
        calibration=prepared.calibration_events(),
        labels=prepared.calibration_labels(),
        readout=prepared.readout.predict,
    )
    net: nn.Module = for_chip(float_net, prepared.chip, plan=deployment.plan)
    return net


def _fit(
    net: nn.Module, prepared: Prepared, folder: RunFolder, stage: str, progress: Progress
) -> tuple[Epoch, ...]:
    settings = _settings(prepared.recipe, stage)
    offset = {"float": 2, "qat": 4}[stage]  # a trainer uses its seed and the next one
    trainer = Trainer(
        net,
        prepared.train_levels,
        prepared.train_labels,
        readout=prepared.readout,
        settings=settings,
        augmentation=prepared.augmentation,
        stage=stage,
        seed=prepared.recipe.seed * _SEED_STRIDE + offset,
    )
    _restore(trainer, folder)
    names = {"float": "Training", "qat": "Fine-tuning with the chip's integers"}
    progress.start(names[stage], settings.epochs)
    progress.advance(len(trainer.history))
    trainer.fit(folder.checkpoint, lambda epoch: progress.advance(epoch.epoch + 1, _note(epoch)))
    progress.finish(_note(trainer.history[-1]))
    trainer.state().save(folder.checkpoint)
    return trainer.history


def _restore(trainer: Trainer, folder: RunFolder) -> None:
    """Go on from the checkpoint, if there is one of this stage."""
    if not folder.checkpoint.exists():
        return
    try:
        checkpoint = Checkpoint.load(folder.checkpoint)
        if checkpoint.about.get("stage") == trainer.stage:
            trainer.restore(checkpoint)
    except FileFormatError as error:
        raise FileFormatError(
            f"{error} Remove {folder.checkpoint} to begin this part of the training anew."
        ) from error


def _settings(recipe: Recipe, stage: str) -> FitSettings:
    training, qat = recipe.training, recipe.qat
    return FitSettings(
        epochs=training.epochs if stage == "float" else qat.epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate if stage == "float" else qat.learning_rate,
        warmup=training.warmup if stage == "float" else 0.0,
        label_smoothing=training.label_smoothing,
        logit_scale=training.logit_scale,
        rate_limit=training.rate_limit,
        rate_weight=training.rate_weight,
        averaging=training.averaging,
        checkpoint_seconds=training.checkpoint_seconds,
    )


def _note(epoch: Epoch) -> str:
    return f"loss {epoch.loss:.3f}, {epoch.train_accuracy:.1%} of the training batches right"


def _evenly(levels: torch.Tensor, count: int) -> torch.Tensor:
    return levels[:: math.ceil(len(levels) / count)]


def _evaluated(
    prepared: Prepared, float_net: TorchSequential, qat_net: nn.Module, history: tuple[Epoch, ...]
) -> Trained:
    events = torch.from_numpy(prepared.test_events)
    outputs = {"float": predict(float_net, events).numpy(), "qat": predict(qat_net, events).numpy()}
    return Trained(prepared, float_net, qat_net, history, outputs)


def _save_net(net: nn.Module, history: tuple[Epoch, ...], encoder: Encoder, path: Any) -> None:
    fitted = {name: torch.from_numpy(np.array(array)) for name, array in encoder.arrays().items()}
    tensors = joined(parameter=trained_parameters(net), encoder=fitted)
    Checkpoint(tensors, {"history": [asdict(epoch) for epoch in history]}).save(path)


def _load_float(prepared: Prepared, folder: RunFolder) -> tuple[TorchSequential, tuple[Epoch, ...]]:
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
    return net, read_history(saved)
