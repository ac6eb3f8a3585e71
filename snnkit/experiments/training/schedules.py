"""The learning rate over time, as a configuration's ``lr_scheduler`` says."""

from collections.abc import Mapping
from typing import Any

import torch

from snnkit.experiments.matrix.sections import Scheduler

__all__ = ["Schedule", "torch_arguments"]


class Schedule:
    """A scheduler of torch, stepped each epoch or each step; without one the learning rate stays.

    Args:
        optimizer: Whose learning rate it sets.
        scheduler: The configuration's section, or None.
        steps: Steps of an epoch. OneCycleLR gets ``steps_per_epoch`` and ``epochs`` where they are not set.
        epochs: Epochs of the training.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, scheduler: Scheduler | None, steps: int, epochs: int
    ) -> None:
        self._scheduler: Any = None
        self._interval = scheduler.interval if scheduler else "epoch"
        if scheduler is None:
            return
        arguments = torch_arguments(scheduler.kwargs)
        if scheduler.cls == "OneCycleLR" and "total_steps" not in arguments:
            by_step = scheduler.interval == "step"
            arguments = {"epochs": epochs, "steps_per_epoch": steps if by_step else 1, **arguments}
        self._needs_loss = scheduler.cls == "ReduceLROnPlateau"
        self._scheduler = getattr(torch.optim.lr_scheduler, scheduler.cls)(optimizer, **arguments)

    def after_step(self) -> None:
        """Call behind every step of the optimiser."""
        if self._scheduler is not None and self._interval == "step":
            self._scheduler.step()

    def after_epoch(self, val_loss: float) -> None:
        """Call behind every epoch, with its validation loss."""
        if self._scheduler is None or self._interval != "epoch":
            return
        if self._needs_loss:
            self._scheduler.step(val_loss)
        else:
            self._scheduler.step()


def torch_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as torch's optimisers and schedulers take them: tuples in place of lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
