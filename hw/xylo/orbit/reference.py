"""What the judge computes, written to be read: one neuron and one candidate, in plain integers."""

from collections.abc import Sequence

import numpy as np

from ..simulator.reference import clamp, decay, wrap
from .drive import Drive

__all__ = ["reference_events", "reference_mismatch"]


def reference_events(  # noqa: PLR0917
    drive: Drive,
    weights: np.ndarray,
    dashes: tuple[Sequence[int], int],
    bias: int,
    threshold: int,
    copies: np.ndarray,
    *,
    cap: int,
    version: int,
) -> np.ndarray:
    """Return the neuron's own events (samples, steps), from rest in every sample.

    Args:
        drive: what arrives.
        weights: (sources, synapses) integers, shifted already.
        dashes: of the synapses, and of the membrane.
        bias: added in each step; core version 1 has none.
        threshold: at which an event is sent.
        copies: (samples, steps) events that an alias brings before the neuron fires; they count for ``cap``.
        cap: most events in a step.
        version: of the chip's core.
    """
    (dash_syn, dash_mem), (samples, steps) = dashes, copies.shape
    events = np.zeros((samples, steps), np.int64)
    for sample in range(samples):
        isyn, vmem = [0] * len(dash_syn), 0
        for step in range(steps):
            row = sample * steps + step
            for at in range(drive.first[row], drive.first[row + 1]):
                for synapse, weight in enumerate(weights[drive.source[at]].tolist()):
                    for _ in range(drive.events[at]):
                        isyn[synapse] = clamp(isyn[synapse] + weight)
            isyn = [value - decay(value, dash) for value, dash in zip(isyn, dash_syn, strict=True)]
            if version == 1:
                vmem = clamp(vmem - decay(vmem, dash_mem) + sum(isyn))
            else:
                leaked = clamp(wrap(-decay(vmem, dash_mem)) + sum(isyn))
                vmem = clamp(vmem + clamp(leaked + bias))
            own, copied = 0, int(copies[sample, step])
            while vmem >= threshold and copied + own < cap:
                own += 1
                vmem -= threshold
            events[sample, step] = own
    return events


def reference_mismatch(events: np.ndarray, target: np.ndarray) -> int:
    """Return by how many events two rasters differ, step by step."""
    return int(np.abs(events - target.astype(np.int64)).sum())
