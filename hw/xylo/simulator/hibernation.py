"""When a version 2 core could sleep, told from what it recorded."""

import numpy as np

from .program import Layer, Program
from .run import CoreState

__all__ = ["hibernation"]


def hibernation(
    program: Program, counts: np.ndarray, before: CoreState, recorded: dict[str, np.ndarray]
) -> np.ndarray:
    """Return (batch, time) bool: whether the core would hibernate in each step.

    It does if no event is delivered, no synaptic state decays and no membrane state changes. With a bias
    it falls asleep one step later, and every run begins awake.

    Args:
        program: what was run.
        counts: (batch, time, Nin) input events.
        before: the state at the start.
        recorded: the full recordings of the run.
    """
    # Most steps deliver something; only the states before the others are looked at.
    asleep = (counts.max(axis=2, initial=0) == 0) & (_events_before_each(before, recorded) == 0)
    isyn = [(before.isyn[:, s], name) for s, name in enumerate(("Isyn", "Isyn2")[: program.hidden.synapses])]
    for first, name in (*isyn, (before.isyn_out, "Isyn_out")):
        # Where nothing is delivered, these are the states that decay in the step.
        where = np.nonzero(asleep)
        asleep[where] = ~_before(where, first, recorded[name]).any(axis=1)
    for layer, first, name in (
        (program.hidden, before.vmem, "Vmem"),
        (program.output, before.vmem_out, "Vmem_out"),
    ):
        where = np.nonzero(asleep)
        asleep[where] = ~_moves(layer, _before(where, first, recorded[name]))
    if program.has_bias:
        asleep[:, 1:] &= asleep[:, :-1].copy()
        asleep[:, :1] = False
    return asleep


def _events_before_each(before: CoreState, recorded: dict[str, np.ndarray]) -> np.ndarray:
    """Return (batch, time): the largest event count that waits for delivery."""
    spikes = recorded["Spikes"]
    # A maximum over bytes takes a fraction of the time of a test for any.
    peaks = np.empty(spikes.shape[:2], np.int16)
    peaks[:, :1] = before.spikes.max(axis=1, initial=0)[:, None]
    peaks[:, 1:] = spikes[:, :-1].max(axis=2, initial=0)
    return peaks


def _before(where: tuple[np.ndarray, ...], first: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Return the states (places, neurons) before the (samples, steps) ``where``."""
    samples, steps = where
    states = recorded[samples, steps - 1]
    states[steps == 0] = np.broadcast_to(first, (len(recorded), first.shape[-1]))[samples[steps == 0]]
    return states


def _moves(layer: Layer, vmem: np.ndarray) -> np.ndarray:
    """Return (places,): whether any membrane of ``vmem`` (places, neurons) moves without any current."""
    dash, bias = layer.dash_mem[: layer.size], layer.bias[: layer.size]
    shifted = vmem >> dash
    decay = np.where((shifted == 0) & (vmem > 0), 1, shifted)
    # 0 - (-2^15) wraps, as on the chip; only then can a decay and a bias cancel differently.
    increment = (-decay).astype(np.int16).astype(np.int32) + bias
    return increment.any(axis=1)
