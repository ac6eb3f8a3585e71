"""The loss after a step of the optimiser itself, as it would be after a teleportation."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim import Optimizer

from snnkit.teleport import teleport
from snnkit.teleport.element import Element
from snnkit.teleport.training.frames import existing_frame
from snnkit.teleport.training.losses import LossOnBatches
from snnkit.teleport.training.transport import Transport, transport

__all__ = ["loss_after_step"]


def loss_after_step(
    loss: LossOnBatches, optimisers: Sequence[Optimizer], element: Element, mode: Transport
) -> float:
    """Return the loss after teleporting and one step of every optimiser, on the batches of ``loss``.

    A copy of model and optimisers is teleported and takes the step; they themselves stay as they are.

    Args:
        loss: Of the model, on batches that stay the same.
        optimisers: Of the model's parameters, with the state that they have.
        element: The teleportation.
        mode: What becomes of the optimisers.
    """
    model, twins = copy.deepcopy((loss.model, list(optimisers)))
    for optimiser, twin in zip(optimisers, twins, strict=True):
        frame = existing_frame(optimiser)
        if frame is not None:
            frame.copy_to(twin)
    teleport(model, element)
    transport(twins, model, element, mode)
    after = loss.of(model)
    for twin in twins:
        twin.step(lambda: _with_gradients(after))
    with torch.no_grad():
        return float(after.value())


def _with_gradients(loss: LossOnBatches) -> Any:
    """Do what a closure does: leave gradients in the parameters and return the loss."""
    for name, gradient in loss.gradients().items():
        loss.parameters[name].grad = gradient
    with torch.no_grad():
        return loss.value()
