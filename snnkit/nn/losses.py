"""Losses on the output over time of a classifier: ``(batch, time, classes)`` against labels."""

from typing import Any

import torch
from torch import Tensor, nn

from snnkit.utilities.errors import ConfigurationError, DataError, ShapeError

__all__ = ["BinaryPeakLoss", "MSELoss", "PeakLoss"]


class _Loss(nn.Module):
    """Base of the losses: knows the names of its settings."""

    _settings: tuple[str, ...] = ()

    def log_params(self, parser: Any) -> None:
        """Add an argument ``--name`` for each setting to an ``argparse.ArgumentParser``."""
        for name in self._settings:
            value = getattr(self, name)
            parser.add_argument(f"--{name}", type=type(value), default=value)

    def extra_repr(self) -> str:
        """Show the settings."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._settings)


class MSELoss(_Loss):
    """Mean squared error between an output and a target of the same shape."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return ``mean((prediction - target)^2)``.

        Raises:
            ShapeError: the shapes differ; nothing is broadcast.
        """
        if prediction.shape != target.shape:
            raise ShapeError(
                f"MSELoss: prediction has shape {tuple(prediction.shape)}, target {tuple(target.shape)}; "
                "they must be equal."
            )
        return nn.functional.mse_loss(prediction, target)


class _PeakLossBase(_Loss):
    _settings = ("max_interval", "weight_nontarget", "target_output", "nontarget_output")

    def __init__(
        self,
        max_interval: int,
        weight_nontarget: float,
        target_output: float,
        nontarget_output: float = 0.0,
    ) -> None:
        super().__init__()
        if max_interval < 1:
            raise ConfigurationError(
                f"{type(self).__name__}: max_interval must be at least 1 step, not {max_interval}."
            )
        self.max_interval = int(max_interval)
        self.weight_nontarget = float(weight_nontarget)
        self.target_output = float(target_output)
        self.nontarget_output = float(nontarget_output)

    def _target_loss(self, traces: Tensor) -> Tensor:
        """Return the squared error of the peak means of target traces ``(n, time)``."""
        return ((peak_means(traces, self.max_interval) - self.target_output) ** 2).mean()

    def _nontarget_loss(self, traces: Tensor) -> Tensor:
        return self.weight_nontarget * ((traces - self.nontarget_output) ** 2).mean()


class PeakLoss(_PeakLossBase):
    """Asks for a peak of the target channel and for silence of the others.

    ``L = mean_b (p_b - target_output)^2 + weight_nontarget * mean (x_nontarget - nontarget_output)^2``,
    where p_b is the mean of ``max_interval`` steps from the maximum of the target channel on
    (:func:`peak_means`).

    Args:
        max_interval: number of steps averaged from the peak on.
        weight_nontarget: weight of the other channels.
        target_output: what the target channel should reach at its peak.
        nontarget_output: what the other channels should be at all times.

    Raises:
        ConfigurationError: ``max_interval`` below 1.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``prediction`` ``(batch, time, classes)`` for labels ``target`` ``(batch,)``.

        Raises:
            ShapeError: shapes do not fit, or there is only one class.
            DataError: a label is no class.
        """
        labels = _labels_for(prediction, target, type(self).__name__)
        classes = prediction.shape[-1]
        if classes < 2:
            raise ShapeError("PeakLoss needs at least 2 channels; use BinaryPeakLoss for a single one.")
        _check_range(labels, classes, type(self).__name__)
        is_target = nn.functional.one_hot(labels, classes).bool()
        channels = prediction.transpose(1, 2)
        return self._target_loss(channels[is_target]) + self._nontarget_loss(channels[~is_target])


class BinaryPeakLoss(_PeakLossBase):
    """Asks a single readout channel for a peak where the label is 1, and for silence where it is 0.

    The terms are those of :class:`PeakLoss`, each a mean over the samples with that label; the arguments
    are the same.
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of ``prediction`` ``(batch, time, 1)`` for labels 0 or 1, ``(batch,)``.

        Raises:
            ShapeError: shapes do not fit, or there is more than one channel.
            DataError: a label is neither 0 nor 1.
        """
        labels = _labels_for(prediction, target, type(self).__name__)
        if prediction.shape[-1] != 1:
            raise ShapeError(
                f"BinaryPeakLoss takes a single channel, not {prediction.shape[-1]}; "
                "use PeakLoss for several."
            )
        _check_range(labels, 2, type(self).__name__)
        traces, is_target = prediction[..., 0], labels == 1
        loss = prediction.new_zeros(())
        if bool(is_target.any()):
            loss = loss + self._target_loss(traces[is_target])
        if not bool(is_target.all()):
            loss = loss + self._nontarget_loss(traces[~is_target])
        return loss


def peak_means(traces: Tensor, interval: int) -> Tensor:
    """Return the mean of ``interval`` steps from the maximum on, ``(n, time) -> (n,)``.

    Steps after the end count as the maximum itself.
    """
    start = traces.argmax(dim=1, keepdim=True)
    steps = start + torch.arange(interval, device=traces.device)
    return traces.gather(1, torch.where(steps < traces.shape[1], steps, start)).mean(dim=1)


def _labels_for(prediction: Tensor, target: Tensor, where: str) -> Tensor:
    if prediction.ndim != 3 or 0 in prediction.shape:
        raise ShapeError(
            f"{where}: prediction has shape {tuple(prediction.shape)}; it must be (batch, time, channels), "
            "and not empty."
        )
    labels = torch.as_tensor(target, device=prediction.device)
    if labels.shape not in ((len(prediction),), (len(prediction), 1)):
        raise ShapeError(
            f"{where}: target has shape {tuple(labels.shape)}; it must have one label per sample, "
            f"({len(prediction)},)."
        )
    return labels.reshape(-1)


def _check_range(labels: Tensor, classes: int, where: str) -> None:
    wrong = (labels != labels.long()) | (labels < 0) | (labels >= classes)
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0, 0])
        raise DataError(
            f"{where}: {int(wrong.sum())} of {len(labels)} labels are no whole number "
            f"from 0 to {classes - 1} (the first: {labels[first].item()} at index {first})."
        )
