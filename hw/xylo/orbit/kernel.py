"""The compiled judge: one neuron with 32 sets of integers side by side; :mod:`.reference` defines the result.

A lane of a vector is a candidate here, not a sample. The arithmetic of a time step is the simulator's own.
Importing this module imports Numba.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

import numpy as np

from snnkit.utilities.compilation import disk_cached

from ..simulator import neurons as simulator_neurons
from ..simulator import program as simulator_program
from ..simulator import vectors as simulator_vectors
from ..simulator.neurons import ZERO, decayed, fire, integrate, integrate_two
from ..simulator.program import WIDTH
from ..simulator.vectors import (
    OPTIONS,
    add,
    add_clamped,
    compiled,
    load,
    maximum,
    splat,
    store,
    subtract,
)

__all__ = ["judge_lanes"]

EVERYBODY = np.uint32(2**WIDTH - 1)
FLUSH = 1024
"""Steps after which the 16-bit sums of differences, at most 31 a step, are taken up."""

_kernel = disk_cached(OPTIONS, simulator_neurons, simulator_program, simulator_vectors)


@compiled
def _added(state, weight, count):
    """Add ``count`` events of one weight to 32 sums; a sum that is clamped stays so for the others."""
    for _ in range(count):
        state = add_clamped(state, weight)
    return state


@compiled
def _take_up(sums, scratch, mismatch):
    """Add 32 sums to the totals."""
    store(scratch, 0, sums)
    for lane in range(WIDTH):
        mismatch[lane] += scratch[lane]


@_kernel
def judge_lanes(drive, weights, neuron, target, copies, scratch, mismatch):
    """Add the difference between a neuron's events and ``target`` to ``mismatch``, for 32 candidates.

    Args:
        drive: :class:`.drive.Drive`, what arrives in each step.
        weights: int16 (sources, synapses, 32), shifted.
        neuron: :class:`.drive.Lanes`.
        target: int16 (samples, steps), the events wanted.
        copies: the same, events that an alias brings before the neuron fires; empty if there are none.
        scratch: int16 (32,).
        mismatch: int64 (32,).
    """
    two, version = neuron.dash_syn.size == 2, neuron.version
    dash_1 = splat(neuron.dash_syn[0])
    dash_2 = splat(neuron.dash_syn[neuron.dash_syn.size - 1])
    dash_mem, cap = splat(neuron.dash_mem), splat(neuron.cap)
    bias, threshold = load(neuron.bias, 0), load(neuron.threshold, 0)
    first, source, arriving = drive.first, drive.source, drive.events
    stride = WIDTH * neuron.dash_syn.size
    for sample in range(target.shape[0]):
        current, current_2, value, sums = splat(ZERO), splat(ZERO), splat(ZERO), splat(ZERO)
        waiting = 0
        for step in range(target.shape[1]):
            row = sample * target.shape[1] + step
            for at in range(first[row], first[row + 1]):
                place, events = source[at] * stride, arriving[at]
                current = _added(current, load(weights, place), events)
                if two:
                    current_2 = _added(current_2, load(weights, place + WIDTH), events)
            current = decayed(current, dash_1)
            if two:
                current_2 = decayed(current_2, dash_2)
                value, _ = integrate_two(value, current, current_2, dash_mem, bias, version)
            else:
                value, _ = integrate(value, current, dash_mem, bias, version)
            copied = splat(copies[sample, step]) if copies.size else splat(ZERO)
            value, events_now, _, _, _ = fire(value, copied, threshold, cap, EVERYBODY)
            off = subtract(subtract(events_now, copied), splat(target[sample, step]))
            sums = add(sums, maximum(off, subtract(splat(ZERO), off)))
            waiting += 1
            if waiting == FLUSH:
                _take_up(sums, scratch, mismatch)
                sums, waiting = splat(ZERO), 0
        _take_up(sums, scratch, mismatch)
