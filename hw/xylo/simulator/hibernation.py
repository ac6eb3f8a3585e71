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
    delivered = counts.any(axis=2) | _before_each(before.spikes, recorded["Spikes"]).any(axis=2)
    isyn = [
        _before_each(before.isyn[:, s], recorded[name])
        for s, name in enumerate(("Isyn", "Isyn2")[: program.hidden.synapses])
    ]
    isyn.append(_before_each(before.isyn_out, recorded["Isyn_out"]))
    # Where nothing is delivered, the states before the step are those that decay in it.
    active = np.logical_or.reduce([states.any(axis=2) for states in isyn])
    active |= _moves(program.hidden, _before_each(before.vmem, recorded["Vmem"]))
    active |= _moves(program.output, _before_each(before.vmem_out, recorded["Vmem_out"]))
    awake = delivered | active
    if program.has_bias:
        awake[:, 1:] |= awake[:, :-1].copy()
        awake[:, :1] = True
    return ~awake


def _before_each(first: np.ndarray, recorded: np.ndarray) -> np.ndarray:
    """Return the states (batch, time, neurons) before each step."""
    batch, steps, _ = recorded.shape
    start = np.broadcast_to(first[:, None].astype(recorded.dtype), (batch, 1, recorded.shape[2]))
    return np.concatenate([start, recorded], axis=1)[:, :steps]


def _moves(layer: Layer, vmem: np.ndarray) -> np.ndarray:
    """Return (batch, time): whether any membrane has an increment without any current."""
    dash, bias = layer.dash_mem[: layer.size], layer.bias[: layer.size]
    shifted = vmem >> dash
    decay = np.where((shifted == 0) & (vmem > 0), 1, shifted)
    # 0 - (-2^15) wraps, as on the chip; only then can a decay and a bias cancel differently.
    increment = (-decay).astype(np.int16).astype(np.int32) + bias
    return increment.any(axis=2)
