"""One part of a recipe's training: a trainer with the recipe's settings, its checkpoint, its news."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.recipes.prepare import Prepared
from snnkit.recipes.progress import Progress
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.training.checkpoint import Checkpoint, joined
from snnkit.training.trainer import Epoch, FitSettings, Trainer, trained_parameters
from snnkit.utilities.errors import FileFormatError

__all__ = ["SEED_STRIDE", "fit", "save_net"]

SEED_STRIDE = 16
"""Seeds of one run lie within this distance, so that two runs never share one."""
_FLOAT_SEED, _TUNED_SEED = 2, 4
"""Places of the two trainers' seeds among those of a run; each uses the next one, too."""
_WORDS = {
    "float": "Training",
    "qat": "Fine-tuning with the chip's rounding",
    "chip_exact": "Fine-tuning in the chip's own arithmetic",
}


def fit(
    net: nn.Module, prepared: Prepared, folder: RunFolder, stage: str, progress: Progress, *, lag: int = 0
) -> tuple[Epoch, ...]:
    """Train ``net`` to the last epoch of ``stage``, from the checkpoint if there is one of that stage.

    Args:
        net: The net; its weights change.
        prepared: Recordings and recipe.
        folder: The run, whose checkpoint is kept up to date.
        stage: "float", or the stage of the recipe's fine-tuning.
        progress: Told of every epoch.
        lag: Time steps by which the net's outputs come late.
    """
    settings = _settings(prepared.recipe, stage)
    trainer = Trainer(
        net,
        prepared.train_levels,
        prepared.train_labels,
        readout=prepared.readout,
        settings=settings,
        augmentation=prepared.augmentation,
        stage=stage,
        seed=prepared.recipe.seed * SEED_STRIDE + (_FLOAT_SEED if stage == "float" else _TUNED_SEED),
        lag=lag,
    )
    _restore(trainer, folder)
    progress.start(_WORDS[stage], settings.epochs)
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
    training, tuning = recipe.training, recipe.finetuning
    return FitSettings(
        epochs=training.epochs if stage == "float" else tuning.epochs,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate if stage == "float" else tuning.learning_rate,
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


def save_net(
    net: nn.Module,
    history: tuple[Epoch, ...],
    prepared: Prepared,
    path: Path,
    *,
    tensors: dict[str, Tensor] | None = None,
    about: dict[str, object] | None = None,
) -> None:
    """Write the trained parameters of ``net``, the encoder's, the history, and what else there is to keep."""
    fitted = {name: torch.from_numpy(np.array(array)) for name, array in prepared.encoder.arrays().items()}
    kept = joined(parameter=trained_parameters(net), encoder=fitted) | (tensors or {})
    Checkpoint(kept, {"history": [asdict(epoch) for epoch in history], **(about or {})}).save(path)
