"""Signal to feature frames: resampling in time, slopes, and mel band energies of sound."""

import numpy as np

from snnkit.utilities.errors import DataError

__all__ = ["mel_energies", "resample", "slopes"]


def resample(signal: np.ndarray, steps: int) -> np.ndarray:
    """Stretch ``signal`` ``(time, channels)`` to ``(steps, channels)`` by linear interpolation.

    First and last sample stay where they are, so recordings of different speed line up.
    """
    if len(signal) == steps:
        return np.asarray(signal, dtype=np.float64)
    position = np.linspace(0.0, len(signal) - 1.0, steps)
    lower = np.minimum(position.astype(np.int64), max(len(signal) - 2, 0))
    upper = np.minimum(lower + 1, len(signal) - 1)
    fraction = (position - lower)[:, None]
    return np.asarray(signal[lower] * (1.0 - fraction) + signal[upper] * fraction)


def slopes(frames: np.ndarray, reach: int) -> np.ndarray:
    """Return the regression slope of every channel over ``2 * reach + 1`` frames, edges repeated.

    ``slope[t] = sum_k k * x[t + k] / sum_k k^2`` for ``k`` from ``-reach`` to ``reach``.
    """
    padded = np.pad(frames, ((reach, reach), (0, 0)), mode="edge")
    total = np.zeros_like(frames, dtype=np.float64)
    for k in range(1, reach + 1):
        total += k * (
            padded[reach + k : reach + k + len(frames)] - padded[reach - k : reach - k + len(frames)]
        )
    return total / (2.0 * sum(k * k for k in range(1, reach + 1)))


def mel_energies(
    sound: np.ndarray, sample_rate: float, *, bands: int, low: float, high: float, frame: float, hop: float
) -> np.ndarray:
    """Return the energy in ``bands`` triangular mel bands, shape ``(frames, bands)``, in decibel.

    Frames are windowed by a Hann window; the mel scale is O'Shaughnessy's
    ``m = 2595 log10(1 + f / 700)``. Levels are relative to full scale.

    Args:
        sound: Shape ``(samples, 1)``, amplitudes in [-1, 1].
        sample_rate: Hertz.
        bands: Number of bands.
        low: Lower edge of the first band, hertz.
        high: Upper edge of the last band, hertz; at most half the sample rate.
        frame: Length of a frame, seconds.
        hop: Distance of frames, seconds.

    Raises:
        DataError: more than one channel, or bands that the sample rate cannot resolve.
    """
    if sound.shape[1] != 1:
        raise DataError(f"The filter bank takes one channel of sound, not {sound.shape[1]}. Mix it first.")
    if high > sample_rate / 2:
        raise DataError(
            f"The highest band ends at {high:g} Hz, but sound sampled at {sample_rate:g} Hz "
            f"holds nothing above {sample_rate / 2:g} Hz. Lower encoding.high_hz."
        )
    width, step = max(2, round(frame * sample_rate)), max(1, round(hop * sample_rate))
    samples = np.asarray(sound[:, 0], dtype=np.float64)
    samples = np.pad(samples, (0, max(0, width - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, width)[::step] * np.hanning(width)
    points = 1 << (2 * width - 1).bit_length()
    power = np.abs(np.fft.rfft(frames, points, axis=1)) ** 2 / width
    return 10.0 * np.log10(power @ mel_filters(bands, points, sample_rate, low, high) + 1e-10)


def mel_filters(bands: int, points: int, sample_rate: float, low: float, high: float) -> np.ndarray:
    """Return triangular filters ``(points // 2 + 1, bands)`` evenly spaced on the mel scale."""
    edges_mel = np.linspace(_mel(low), _mel(high), bands + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    frequency = np.arange(points // 2 + 1)[:, None] * sample_rate / points
    rise = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rise, fall))
    if not (filters.sum(axis=0) > 0).all():
        raise DataError(
            f"{bands} bands between {low:g} and {high:g} Hz are narrower than the "
            f"{sample_rate / points:.3g} Hz that the frames resolve. Use fewer bands or longer frames."
        )
    return filters


def _mel(frequency: float) -> float:
    return float(2595.0 * np.log10(1.0 + frequency / 700.0))
