"""Spike encoders: recordings become rasters ``(time, channels)`` of whole numbers of events.

A Xylo chip takes up to 15 events per channel and time step, so amplitude is carried by the number of
events (graded events), not only by their timing. Normalisation is fitted on training recordings only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnkit.data import features
from snnkit.data.recordings import RecordingSet
from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError, DataError, FileFormatError, ShapeError

__all__ = ["DeltaEncoding", "Encoder", "Encoding", "FilterBankEncoding", "GradedEncoding", "fit_encoder"]


def _refuse(kind: str, problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(f"{kind} encoding: " + " ".join(problems))


def _range_problems(steps: int, low: float, high: float) -> list[str]:
    problems = []
    if steps < 2:
        problems.append(f"steps is {steps}; it must be at least 2.")
    if not 0.0 <= low < high <= 100.0:
        problems.append(f"percentiles {low:g} and {high:g} must satisfy 0 <= low < high <= 100.")
    return problems


@dataclass(frozen=True)
class GradedEncoding:
    """Each channel's value becomes 0 to ``max events`` events per step.

    Every recording is stretched to ``steps`` steps. A channel's range, from ``low_percentile`` to
    ``high_percentile`` of the training recordings, spans the events.

    Attributes:
        steps: Time steps of every raster.
        signed: Two channels for each: events above and events below the training median. Otherwise one
            channel, with 0 events at the low percentile.
        slope_channels: So many of the first channels' slopes are appended, before sign splitting.
        slope_reach: Frames on each side that a slope is fitted over.
        compress: Levels follow ``asinh((x - median) / MAD)`` of each feature instead of ``x``, so that small
            movements keep their detail beside large ones (MAD: median absolute deviation in training).
        low_percentile, high_percentile: Ends of the range.
    """

    kind: ClassVar[str] = "graded"
    steps: int
    signed: bool = False
    slope_channels: int = 0
    slope_reach: int = 2
    compress: bool = False
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    def __post_init__(self) -> None:
        problems = _range_problems(self.steps, self.low_percentile, self.high_percentile)
        if self.slope_channels < 0 or self.slope_reach < 1:
            problems.append("slope_channels must be at least 0 and slope_reach at least 1.")
        _refuse(self.kind, problems)

    def frames(self, signal: np.ndarray, sample_rate: float | None) -> np.ndarray:
        """Return feature frames ``(steps, features)`` of one recording."""
        base = features.resample(signal, self.steps)
        if not self.slope_channels:
            return base
        if self.slope_channels > base.shape[1]:
            raise DataError(
                f"encoding.slope_channels is {self.slope_channels}; recordings have {base.shape[1]} channels."
            )
        return np.concatenate([base, features.slopes(base[:, : self.slope_channels], self.slope_reach)], 1)


@dataclass(frozen=True)
class FilterBankEncoding:
    """Sound becomes the level in ``bands`` mel bands, one channel each, as graded events.

    Attributes:
        steps: Time steps of every raster; recordings are stretched to it.
        bands: Mel bands between ``low_hz`` and ``high_hz``.
        frame_seconds, hop_seconds: Length and distance of the analysis frames.
        floor_db: Levels lower than this below the recording's loudest band are treated as silence.
        trim_db: Leading and trailing frames that stay this far below the loudest frame are cut; 0 keeps all.
        low_percentile, high_percentile: Ends of the range that the events span.
    """

    kind: ClassVar[str] = "filter-bank"
    steps: int
    bands: int = 16
    low_hz: float = 100.0
    high_hz: float = 4000.0
    frame_seconds: float = 0.025
    hop_seconds: float = 0.010
    floor_db: float = 60.0
    trim_db: float = 0.0
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    def __post_init__(self) -> None:
        problems = _range_problems(self.steps, self.low_percentile, self.high_percentile)
        if self.bands < 1:
            problems.append(f"bands is {self.bands}; it must be at least 1.")
        if not 0.0 <= self.low_hz < self.high_hz:
            problems.append(f"bands from {self.low_hz:g} to {self.high_hz:g} Hz are not a range.")
        if min(self.frame_seconds, self.hop_seconds) <= 0.0:
            problems.append("frame_seconds and hop_seconds must be more than 0.")
        if self.floor_db <= 0.0 or self.trim_db < 0.0:
            problems.append("floor_db must be more than 0 and trim_db at least 0.")
        _refuse(self.kind, problems)

    def frames(self, signal: np.ndarray, sample_rate: float | None) -> np.ndarray:
        """Return levels ``(steps, bands)`` in decibel below the recording's loudest band."""
        if sample_rate is None:
            raise DataError(
                "The filter-bank encoding needs a sample rate, and these recordings name none. Set "
                "data.sample_rate in Hz, or encode them as they are: encoding.kind = 'graded'."
            )
        level = features.mel_energies(
            signal,
            sample_rate,
            bands=self.bands,
            low=self.low_hz,
            high=self.high_hz,
            frame=self.frame_seconds,
            hop=self.hop_seconds,
        )
        level = np.maximum(level - level.max(), -self.floor_db)
        if self.trim_db:
            loud = np.flatnonzero(level.max(axis=1) >= -self.trim_db)
            level = level[loud[0] : loud[-1] + 1]
        return features.resample(level, self.steps)


@dataclass(frozen=True)
class DeltaEncoding:
    """Each channel becomes two: events while it rises and events while it falls.

    A step holds as many events as the signal crosses levels that lie ``threshold`` of the channel's
    training range apart (asynchronous delta modulation, as in a silicon retina).

    Attributes:
        steps: Time steps of every raster.
        threshold: Distance of levels, as a fraction of the percentile range.
        low_percentile, high_percentile: Ends of that range.
    """

    kind: ClassVar[str] = "delta"
    steps: int
    threshold: float = 0.05
    low_percentile: float = 1.0
    high_percentile: float = 99.0

    def __post_init__(self) -> None:
        problems = _range_problems(self.steps, self.low_percentile, self.high_percentile)
        if not 0.0 < self.threshold <= 1.0:
            problems.append(f"threshold is {self.threshold:g}; it must be more than 0 and at most 1.")
        _refuse(self.kind, problems)

    def frames(self, signal: np.ndarray, sample_rate: float | None) -> np.ndarray:
        """Return the recording stretched to ``(steps, channels)``."""
        return features.resample(signal, self.steps)


_FITTED = ("centre", "spread", "low", "middle", "high")

Encoding = GradedEncoding | FilterBankEncoding | DeltaEncoding


@dataclass(frozen=True, eq=False)
class Encoder:
    """An encoding with its normalisation, fitted on training recordings.

    Attributes:
        config: The encoding.
        centre, spread: Shape ``(features,)``: median and median absolute deviation of the training frames;
            used by compression.
        low, middle, high: Shape ``(features,)``: percentiles of the training frames,
            compressed if the encoding says so.
        max_events: The chip's limit of input events per channel and step.
    """

    config: Encoding
    centre: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    middle: np.ndarray
    high: np.ndarray
    max_events: int

    def arrays(self) -> dict[str, np.ndarray]:
        """The fitted normalisation, for a checkpoint."""
        return {name: getattr(self, name) for name in _FITTED}

    @classmethod
    def from_arrays(cls, config: Encoding, arrays: Mapping[str, np.ndarray], chip: Chip) -> "Encoder":
        """Return the encoder whose :meth:`arrays` were saved."""
        missing = [name for name in _FITTED if name not in arrays]
        if missing:
            raise FileFormatError(f"The saved encoder lacks {', '.join(missing)}.")
        fitted = {name: np.asarray(arrays[name]) for name in _FITTED}
        return cls(config=config, max_events=chip.input_event_cap, **fitted)

    @property
    def channels(self) -> int:
        """Channels of the rasters."""
        doubled = isinstance(self.config, DeltaEncoding) or getattr(self.config, "signed", False)
        return int(self.low.size) * (2 if doubled else 1)

    def levels(self, recordings: RecordingSet) -> np.ndarray:
        """Return ``(recordings, time, channels)`` float32 before rounding and clipping to events.

        Augmentation works on these. For a delta encoding they are the events themselves.
        """
        rows = [self._one(s, recordings.sample_rate) for s in recordings.signals]
        return np.stack(rows) if rows else np.zeros((0, self.config.steps, self.channels), np.float32)

    def encode(self, recordings: RecordingSet) -> np.ndarray:
        """Return event counts ``(recordings, time, channels)``, uint8, 0 to ``max_events``."""
        return self.quantise(self.levels(recordings))

    def quantise(self, levels: np.ndarray) -> np.ndarray:
        """Round levels to event counts and clip them at the chip's limit."""
        return np.clip(np.rint(levels), 0, self.max_events).astype(np.uint8)

    def _one(self, signal: np.ndarray, sample_rate: float | None) -> np.ndarray:
        frames = self.config.frames(signal, sample_rate)
        if frames.shape[1] != self.low.size:
            raise ShapeError(f"The encoder was fitted on {self.low.size} features, not {frames.shape[1]}.")
        frames = _compress(self.config, frames, self.centre, self.spread)
        if isinstance(self.config, DeltaEncoding):
            return _level_crossings((frames - self.low) / (self.high - self.low), self.config.threshold)
        if getattr(self.config, "signed", False):
            reach = np.maximum(self.high - self.middle, self.middle - self.low)
            scaled = (frames - self.middle) / reach * self.max_events
            scaled = np.concatenate([np.maximum(scaled, 0.0), np.maximum(-scaled, 0.0)], axis=1)
        else:
            scaled = (frames - self.low) / (self.high - self.low) * self.max_events
        return scaled.astype(np.float32)


def _compress(config: Encoding, frames: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return np.arcsinh((frames - centre) / spread) if getattr(config, "compress", False) else frames


def _level_crossings(position: np.ndarray, threshold: float) -> np.ndarray:
    """Events up and down, ``(time, 2 * channels)``; the next change starts at the last level crossed."""
    events = np.zeros((len(position), 2 * position.shape[1]), dtype=np.float32)
    reference = position[0].copy()
    for t, now in enumerate(position):
        crossed = np.trunc((now - reference) / threshold + 1e-9 * np.sign(now - reference))
        reference += crossed * threshold
        events[t] = np.concatenate([np.maximum(crossed, 0.0), np.maximum(-crossed, 0.0)])
    return events


def fit_encoder(config: Encoding, training: RecordingSet, chip: Chip) -> Encoder:
    """Fit ``config`` on training recordings for the input channels and event limit of ``chip``.

    Raises:
        ConfigurationError: the encoding makes more channels than the chip has inputs.
        DataError: a channel never changes, or the recordings do not fit the encoding.
    """
    frames = np.concatenate([config.frames(s, training.sample_rate) for s in training.signals])
    centre = np.median(frames, axis=0)
    spread = np.median(np.abs(frames - centre), axis=0)
    spread = np.where(spread > 0.0, spread, frames.std(axis=0))
    flat = np.flatnonzero(~(spread > 0.0))
    if not flat.size:
        frames = _compress(config, frames, centre, spread)
        percentiles = [config.low_percentile, 50.0, config.high_percentile]
        low, middle, high = np.percentile(frames, percentiles, axis=0)
        flat = np.flatnonzero(~(high > low))
    if flat.size:
        raise DataError(
            f"Feature {', '.join(map(str, flat.tolist()))} is constant over the training recordings: "
            "it carries nothing and cannot be scaled. Leave the channel out or widen the percentiles."
        )
    encoder = Encoder(config, centre, spread, low, middle, high, chip.input_event_cap)
    if encoder.channels > chip.max_inputs:
        raise ConfigurationError(
            f"The {config.kind} encoding makes {encoder.channels} channels; {chip.title} ({chip.name}) "
            f"has {chip.max_inputs} inputs. Use fewer channels, slopes or bands, or leave the sign together."
        )
    return encoder
