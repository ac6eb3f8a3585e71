"""Runs one sample under many single alterations of a program, each until it disagrees with a record.

Importing this module imports Numba. :mod:`..simulator.reference` defines what a step computes; this core is
scalar, since nearly every alteration ends after a few steps.
"""
# ruff: noqa: ANN201, ANN202, PLR0917
# mypy: allow-untyped-defs

from typing import NamedTuple

import numpy as np

from snnkit.utilities.compilation import disk_cached

__all__ = ["ALIAS", "Cells", "Observed", "States", "probe", "trajectory"]

LOW, HIGH = -32768, 32767
ALIAS = 11
"""Number of the kind of alteration that gives a neuron one alias target, or none (-1)."""

OPTIONS = {"nogil": True, "error_model": "numpy"}


class Cells(NamedTuple):
    """A program as int64 arrays; the number of a field is the kind of an alteration of it."""

    weights_in: np.ndarray
    """(Nin, S * Nhid), shifted into 16 bits."""
    weights_rec: np.ndarray
    """(Nhid, S * Nhid)."""
    weights_out: np.ndarray
    """(Nhid, Nout)."""
    dash_syn: np.ndarray
    """(S * Nhid,)."""
    dash_mem: np.ndarray
    threshold: np.ndarray
    bias: np.ndarray
    dash_syn_out: np.ndarray
    dash_mem_out: np.ndarray
    threshold_out: np.ndarray
    bias_out: np.ndarray
    alias_first: np.ndarray
    """(Nhid + 1,) where each neuron's targets begin in ``alias_target``."""
    alias_target: np.ndarray
    constants: np.ndarray
    """Version of the core, events that a hidden and an output neuron may emit."""


class States(NamedTuple):
    """States before each step, int64 (time + 1, neurons)."""

    isyn: np.ndarray
    vmem: np.ndarray
    events: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray


class Observed(NamedTuple):
    """What a device told, int64 (time, neurons); arrays without steps were not told."""

    isyn: np.ndarray
    vmem: np.ndarray
    events: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray
    events_out: np.ndarray


def _compiled(function):
    from numba import njit

    return njit(**OPTIONS)(function)


@_compiled
def _clamp(value):
    return min(max(value, LOW), HIGH)


@_compiled
def _wrap(value):
    return ((value + 32768) & 65535) - 32768


@_compiled
def _lost(value, dash):
    lost = value >> dash
    if lost == 0:
        return (value > 0) - (value < 0)
    return lost


@_compiled
def _deliver(events, weights, isyn):
    """Add the weights of all events; equal events one after another clamp as their sum does."""
    for source in range(events.shape[0]):
        count = events[source]
        if count:
            for target in range(isyn.shape[0]):
                isyn[target] = _clamp(isyn[target] + count * weights[source, target])


@_compiled
def _membrane(vmem, current, dash, bias, version):
    if version == 1:
        return _clamp(vmem - _lost(vmem, dash) + current)
    return _clamp(vmem + _clamp(_clamp(_wrap(-_lost(vmem, dash)) + current) + bias))


@_compiled
def _fire(vmem, threshold, events, cap):
    while vmem >= threshold and events < cap:
        events += 1
        vmem = _wrap(vmem - threshold)
    return vmem, events


@_compiled
def _step(cells, counts, isyn, vmem, events, isyn_out, vmem_out, events_out, source, alias):
    """Advance all states by a step; the one alias target of ``source`` is ``alias`` (-1: none)."""
    version, cap, cap_out = cells.constants[0], cells.constants[1], cells.constants[2]
    _deliver(counts, cells.weights_in, isyn)
    _deliver(events, cells.weights_rec, isyn)
    _deliver(events, cells.weights_out, isyn_out)
    events[:] = 0
    n = vmem.shape[0]
    for k in range(n):
        current = 0
        for s in range(k, isyn.shape[0], n):
            isyn[s] -= _lost(isyn[s], cells.dash_syn[s])
            current += isyn[s]
        vmem[k] = _membrane(vmem[k], current, cells.dash_mem[k], cells.bias[k], version)
        vmem[k], events[k] = _fire(vmem[k], cells.threshold[k], events[k], cap)
        copies = events[k]
        if k == source:
            if alias >= 0:
                events[alias] = min(cap, events[alias] + copies)
            continue
        for place in range(cells.alias_first[k], cells.alias_first[k + 1]):
            target = cells.alias_target[place]
            events[target] = min(cap, events[target] + copies)
    for k in range(vmem_out.shape[0]):
        isyn_out[k] -= _lost(isyn_out[k], cells.dash_syn_out[k])
        vmem_out[k] = _membrane(vmem_out[k], isyn_out[k], cells.dash_mem_out[k], cells.bias_out[k], version)
        vmem_out[k], events_out[k] = _fire(vmem_out[k], cells.threshold_out[k], 0, cap_out)


@_compiled
def _differs(told, step, found):
    if told.shape[0] == 0:
        return False
    different = 0
    for k in range(found.shape[0]):
        different |= told[step, k] ^ found[k]
    return different != 0


@_compiled
def _agreed_steps(cells, counts, states, observed, start, source, alias):
    """Run from the states before step ``start``; return the first step that disagrees, or all steps."""
    isyn, vmem, events = states.isyn[start].copy(), states.vmem[start].copy(), states.events[start].copy()
    isyn_out, vmem_out = states.isyn_out[start].copy(), states.vmem_out[start].copy()
    events_out = np.zeros_like(vmem_out)
    for step in range(start, counts.shape[0]):
        _step(cells, counts[step], isyn, vmem, events, isyn_out, vmem_out, events_out, source, alias)
        if (
            _differs(observed.events_out, step, events_out)
            or _differs(observed.events, step, events)
            or _differs(observed.vmem, step, vmem)
            or _differs(observed.isyn, step, isyn)
            or _differs(observed.vmem_out, step, vmem_out)
            or _differs(observed.isyn_out, step, isyn_out)
        ):
            return step
    return counts.shape[0]


@_compiled
def _exchange(cells, kind, place, column, value):
    """Put ``value`` into a cell; return what was there."""
    if kind <= 2:
        weights = cells.weights_in
        if kind == 1:
            weights = cells.weights_rec
        elif kind == 2:
            weights = cells.weights_out
        before = weights[place, column]
        weights[place, column] = value
        return before
    row = cells.dash_syn
    if kind == 4:
        row = cells.dash_mem
    elif kind == 5:
        row = cells.threshold
    elif kind == 6:
        row = cells.bias
    elif kind == 7:
        row = cells.dash_syn_out
    elif kind == 8:
        row = cells.dash_mem_out
    elif kind == 9:
        row = cells.threshold_out
    elif kind == 10:
        row = cells.bias_out
    before = row[place]
    row[place] = value
    return before


@disk_cached(OPTIONS)
def probe(cells, counts, states, observed, variants, agreed):
    """Fill ``agreed`` (V,) with the steps for which each of ``variants`` (V, 5) agrees with the record.

    A variant is (kind, place, column, value, step from which it can make a difference); ``cells`` are as
    before afterwards.
    """
    for v in range(variants.shape[0]):
        kind, place, column, value, start = variants[v]
        if kind == ALIAS:
            agreed[v] = _agreed_steps(cells, counts, states, observed, start, place, value)
            continue
        before = _exchange(cells, kind, place, column, value)
        agreed[v] = _agreed_steps(cells, counts, states, observed, start, -1, -1)
        _exchange(cells, kind, place, column, before)


@disk_cached(OPTIONS)
def trajectory(cells, counts, states):
    """Fill ``states`` with those of the program as it is, from rest."""
    isyn, vmem, events = states.isyn[0].copy(), states.vmem[0].copy(), states.events[0].copy()
    isyn_out, vmem_out = states.isyn_out[0].copy(), states.vmem_out[0].copy()
    events_out = np.zeros_like(vmem_out)
    for step in range(counts.shape[0]):
        _step(cells, counts[step], isyn, vmem, events, isyn_out, vmem_out, events_out, -1, -1)
        states.isyn[step + 1] = isyn
        states.vmem[step + 1] = vmem
        states.events[step + 1] = events
        states.isyn_out[step + 1] = isyn_out
        states.vmem_out[step + 1] = vmem_out
