"""Labelled recordings as they come from a sensor, before any encoding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from snnkit.utilities.errors import DataError

__all__ = ["RecordingSet", "Split"]


@dataclass(frozen=True, eq=False)
class RecordingSet:
    """Recordings of one split.

    Attributes:
        signals: One float32 array ``(time, channels)`` per recording; lengths may differ.
        labels: Shape ``(recordings,)``: indices into ``classes``.
        classes: Names of the classes; the same in every split of a data set.
        names: Where each recording came from (a file name, or its place in the split).
        sample_rate: Hertz, or None where the source does not say.
    """

    signals: tuple[np.ndarray, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, ...]
    sample_rate: float | None = None

    def __post_init__(self) -> None:
        signals = tuple(_as_signal(s, name) for s, name in zip(self.signals, self.names, strict=True))
        labels = np.array(self.labels, dtype=np.int64)
        if labels.shape != (len(signals),):
            raise DataError(f"{len(signals)} recordings need {len(signals)} labels, not {labels.shape}.")
        if labels.size and not ((labels >= 0) & (labels < len(self.classes))).all():
            raise DataError(f"A label lies outside the {len(self.classes)} classes.")
        widths = {signal.shape[1] for signal in signals}
        if len(widths) > 1:
            raise DataError(f"All recordings need the same number of channels; found {sorted(widths)}.")
        labels.setflags(write=False)
        object.__setattr__(self, "signals", signals)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def channels(self) -> int:
        """Channels of every recording."""
        if not self.signals:
            raise DataError("An empty set of recordings has no channels.")
        return int(self.signals[0].shape[1])

    def subset(self, indices: Sequence[int] | np.ndarray) -> "RecordingSet":
        """Return the recordings at ``indices``, in that order."""
        chosen = [int(i) for i in indices]
        return RecordingSet(
            signals=tuple(self.signals[i] for i in chosen),
            labels=self.labels[chosen] if chosen else np.zeros(0, np.int64),
            classes=self.classes,
            names=tuple(self.names[i] for i in chosen),
            sample_rate=self.sample_rate,
        )


@dataclass(frozen=True)
class Split:
    """A data set cut into the part to train on and the part that only measures the result."""

    train: RecordingSet
    test: RecordingSet

    def __post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise DataError("Training and test split name different classes.")
        if len(self.train.classes) < 2:
            raise DataError(
                f"All recordings are of one class ({', '.join(self.train.classes)}): there is nothing to "
                "tell apart. Add recordings of another class."
            )
        for name, part in (("training", self.train), ("test", self.test)):
            if not len(part):
                raise DataError(f"The {name} split holds no recordings.")
        missing = set(range(len(self.train.classes))) - set(self.train.labels.tolist())
        if missing:
            names = ", ".join(self.train.classes[i] for i in sorted(missing))
            raise DataError(f"No training recording of class {names}: nothing could learn it.")
        if self.train.channels != self.test.channels:
            raise DataError(
                f"Training recordings have {self.train.channels} channels, test ones {self.test.channels}."
            )


def _as_signal(signal: np.ndarray, name: str) -> np.ndarray:
    array = np.array(signal, dtype=np.float32)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or 0 in array.shape:
        raise DataError(f"Recording {name!r} must have shape (time, channels), not {array.shape}.")
    if not np.isfinite(array).all():
        raise DataError(f"Recording {name!r} holds values that are not finite.")
    array.setflags(write=False)
    return array
