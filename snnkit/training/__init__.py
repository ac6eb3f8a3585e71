"""Losses, metrics, the trainer, checkpoints."""

from .augmentation import Augmentation
from .checkpoint import Checkpoint
from .metrics import accuracy, confusion_matrix
from .optimiser import ScaledAdam, cosine_schedule
from .readout import Readout
from .trainer import Epoch, FitSettings, Trainer, predict, torch_threads

__all__ = [
    "Augmentation",
    "Checkpoint",
    "Epoch",
    "FitSettings",
    "Readout",
    "ScaledAdam",
    "Trainer",
    "accuracy",
    "confusion_matrix",
    "cosine_schedule",
    "predict",
    "torch_threads",
]
