"""Numbers of grouped results: curves over the epochs, values at chosen epochs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnkit.experiments.matrix import Record
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

__all__ = ["METRICS", "Band", "at_epoch", "band", "curve"]

METRICS = ("val_accuracy", "val_loss", "train_loss", "lr")


@dataclass(frozen=True)
class Band:
    """A mean over runs and its standard error, for each epoch ``(epochs + 1,)``; NaN where there is none."""

    mean: np.ndarray
    error: np.ndarray
    runs: int


def curve(record: Record, metric: str) -> np.ndarray:
    """Return a metric of one run over the epochs 0, 1, ..., as float64; NaN for None.

    Raises:
        ConfigurationError: no such metric; the message names the nearest.
    """
    if metric not in METRICS:
        raise ConfigurationError(unknown_key_message("metric", metric, METRICS))
    return np.array(record.result["curves"][metric], dtype=np.float64)


def band(records: Sequence[Record], metric: str) -> Band:
    """Return mean and standard error of several runs; runs without a number at an epoch do not count there.

    Raises:
        ConfigurationError: the runs have different numbers of epochs.
    """
    curves = [curve(record, metric) for record in records]
    if len({len(one) for one in curves}) > 1:
        raise ConfigurationError(
            f"Runs of {', '.join(sorted({str(len(one) - 1) for one in curves}))} epochs cannot be averaged; "
            "group them by training_params."
        )
    values = np.stack(curves)
    counts = np.isfinite(values).sum(axis=0)
    some = np.maximum(counts, 1)
    mean = np.where(counts > 0, np.nansum(values, axis=0) / some, np.nan)
    squares = np.nansum((values - mean) ** 2, axis=0)
    error = np.sqrt(squares / np.maximum(counts - 1, 1) / some)
    return Band(mean, np.where(counts > 1, error, np.nan), len(records))


def at_epoch(records: Sequence[Record], metric: str, epoch: int) -> np.ndarray:
    """Return a metric of all runs at one epoch; runs that are shorter give their last value."""
    return np.array([curve(record, metric)[min(epoch, len(curve(record, metric)) - 1)] for record in records])
