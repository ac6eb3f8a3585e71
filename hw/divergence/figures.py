"""How far two records of one layer agree."""

import numpy as np

from .result import LayerAgreement
from .trace import LayerTrace, aligned

__all__ = ["SPIKE_TIME_CONSTANT", "layer_agreement"]

SPIKE_TIME_CONSTANT = 10
"""Steps over which :attr:`LayerAgreement.spike_distance` smooths events."""


def layer_agreement(a: LayerTrace, b: LayerTrace, steps: int) -> LayerAgreement:
    """Compare one layer over at most ``steps`` steps, in the time of the earlier side."""
    lag = b.delay - a.delay
    state_error = _state_error(a, b, steps)
    if a.events is None or b.events is None:
        return LayerAgreement(
            a.path, a.neurons, lag, None, None, None, None, None, state_error, None, ()
        )  # fmt: skip
    ours, theirs = (events[:, :steps] for events in aligned(a.events, b.events, lag))
    different = ours != theirs
    over_time = different.mean(axis=(0, 2)) if different.size else np.zeros(ours.shape[1])
    first = np.flatnonzero(over_time)
    counts = [events.sum(axis=1, dtype=np.int64) for events in (ours, theirs)]
    return LayerAgreement(
        path=a.path,
        neurons=a.neurons,
        delay=lag,
        a_events=int(counts[0].sum()),
        b_events=int(counts[1].sum()),
        same_events=float(1 - different.mean()) if different.size else 1.0,
        rate_error=_relative(np.abs(counts[0] - counts[1]), *counts),
        spike_distance=_spike_distance(ours, theirs) if first.size else 0.0,
        state_error=state_error,
        first_step=int(first[0]) if first.size else None,
        error_over_time=tuple(over_time.tolist()),
    )


def _relative(difference: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean difference over the larger of the two means, 0 without a difference."""
    if not difference.any():
        return 0.0
    return float(difference.mean() / max(a.mean(), b.mean()))


def _spike_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean absolute difference of the smoothed events over the larger of their means."""
    decay = np.float32(np.exp(-1 / SPIKE_TIME_CONSTANT))
    batch, steps, neurons = a.shape
    traces = np.zeros((2, batch, neurons), np.float32)
    sums, difference = np.zeros(2), 0.0
    for step in range(steps):
        traces *= decay
        traces[0] += a[:, step]
        traces[1] += b[:, step]
        sums += traces.sum(axis=(1, 2), dtype=np.float64)
        difference += float(np.abs(traces[0] - traces[1]).sum(dtype=np.float64))
    return float(difference / max(sums)) if difference else 0.0


def _state_error(a: LayerTrace, b: LayerTrace, steps: int) -> float | None:
    if "Vmem" not in a.states or "Vmem" not in b.states:
        return None
    ours, theirs = aligned(a.states["Vmem"], b.states["Vmem"], b.delay - a.delay)
    ours, theirs = ours[:, :steps], theirs[:, :steps]
    if not ours.size:
        return 0.0
    scaled = [
        states.astype(np.float32) / np.maximum(np.abs(trace.threshold), 1e-12).astype(np.float32)
        for states, trace in ((ours, a), (theirs, b))
    ]
    return float(np.abs(scaled[0] - scaled[1]).mean())
