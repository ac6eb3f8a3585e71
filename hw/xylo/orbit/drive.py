"""What drives neurons while candidates for their integers are judged, as the flat arrays of the kernel."""

from typing import NamedTuple

import numpy as np

__all__ = ["Drive", "Lanes", "drive_of", "restricted"]


class Drive(NamedTuple):
    """Events that arrive at neurons, step by step, sources in the order in which the chip delivers.

    Attributes:
        first: int64 (samples * steps + 1,), where the events of each step begin.
        source: int32, number of the source among those that are counted.
        events: int8, how many it sent.
    """

    first: np.ndarray
    source: np.ndarray
    events: np.ndarray


class Lanes(NamedTuple):
    """32 candidates for one neuron, apart from their weights.

    Attributes:
        version: of the chip's core.
        cap: int16, largest number of events in a step.
        dash_syn: int16 (synapses,).
        dash_mem: int16.
        bias: int16 (32,).
        threshold: int16 (32,).
    """

    version: int
    cap: np.int16
    dash_syn: np.ndarray
    dash_mem: np.int16
    bias: np.ndarray
    threshold: np.ndarray


def drive_of(events: np.ndarray) -> Drive:
    """List the events (samples, steps, sources) of every step."""
    rows = events.reshape(-1, events.shape[2])
    row, source = np.nonzero(rows)
    counts = np.bincount(row, minlength=len(rows))
    return Drive(_offsets(counts), source.astype(np.int32), rows[row, source].astype(np.int8))


def restricted(drive: Drive, wanted: np.ndarray) -> Drive:
    """Return the events of some sources alone, which are then numbered among themselves.

    Args:
        drive: events of all sources.
        wanted: (sources,) whether a source is.
    """
    if wanted.all():
        return drive
    kept = wanted[drive.source]
    number = np.cumsum(wanted, dtype=np.int32) - np.int32(1)
    before = _offsets(kept)
    return Drive(before[drive.first], number[drive.source[kept]], drive.events[kept])


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
