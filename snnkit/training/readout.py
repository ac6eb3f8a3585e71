"""From output events to a class, by a rule that a chip's events alone decide."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnkit.utilities.errors import ShapeError

__all__ = ["Readout"]


@dataclass(frozen=True)
class Readout:
    """Most events win. Output neurons ``k * outputs_per_class ...`` belong to class ``k``.

    A tie goes to the class whose events came earlier (the smaller sum of event times), then to the lower
    class index. All of it is integer arithmetic, so net, simulator and chip cannot disagree by rounding.

    Attributes:
        classes: Number of classes.
        outputs_per_class: Output neurons whose events are added up for one class.
    """

    classes: int
    outputs_per_class: int = 1

    @property
    def outputs(self) -> int:
        """Output neurons in all."""
        return self.classes * self.outputs_per_class

    def logits(self, events: Tensor, scale: float) -> Tensor:
        """Return ``(batch, classes)``: ``scale`` for a class whose outputs fire in every step.

        Args:
            events: Output events ``(batch, time, outputs)``; gradients flow through.
            scale: Logit at one event per output and step.
        """
        self._check(events.shape)
        return events.unflatten(-1, (self.classes, self.outputs_per_class)).mean(dim=(1, 3)) * scale

    def predict(self, events: Tensor | np.ndarray) -> np.ndarray:
        """Return the classes ``(batch,)``, int64, that events ``(batch, time, outputs)`` stand for."""
        counts = np.rint(np.asarray(events.detach() if isinstance(events, torch.Tensor) else events))
        self._check(counts.shape)
        per_class = counts.astype(np.int64).reshape(*counts.shape[:2], self.classes, -1).sum(axis=3)
        total = per_class.sum(axis=1)
        when = (per_class * np.arange(counts.shape[1])[None, :, None]).sum(axis=1)
        best = np.where(total == total.max(axis=1, keepdims=True), when, np.iinfo(np.int64).max)
        return np.asarray(best.argmin(axis=1))

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[2] != self.outputs:
            raise ShapeError(
                f"Output events must have shape (batch, time, {self.outputs}): {self.classes} classes with "
                f"{self.outputs_per_class} outputs each; not {tuple(shape)}."
            )
