"""Runs compiled programs: loads the kernels, shares a batch among threads, gathers what they recorded."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType

import numpy as np
import torch

from snnkit.utilities.compilation import told_if_slow
from snnkit.utilities.threads import run_shared

from .program import WIDTH, Program, padded

__all__ = ["RECORDS", "CoreState", "KernelRun", "run_program"]

MIN_LANES = 8
"""From this number of samples for each thread on, side by side beats one by one."""

RECORDS: dict[str, type] = {
    "Spikes": np.int8,
    "Vmem": np.int16,
    "Isyn": np.int16,
    "Isyn2": np.int16,
    "Spikes_out": np.int8,
    "Vmem_out": np.int16,
    "Isyn_out": np.int16,
}
"""What can be recorded, in the order of the kernels, in the chip's own widths."""


@dataclass(frozen=True)
class CoreState:
    """Everything a core remembers, int16; ``spikes`` (batch, Nhid) are still to be delivered."""

    isyn: np.ndarray
    vmem: np.ndarray
    spikes: np.ndarray
    isyn_out: np.ndarray
    vmem_out: np.ndarray

    @classmethod
    def zero(cls, program: Program, batch: int = 1) -> "CoreState":
        """Return the state after a reset."""
        n, n_out = program.hidden.size, program.output.size
        shapes = ((batch, program.hidden.synapses, n), (batch, n), (batch, n), (batch, n_out), (batch, n_out))
        return cls(*(np.zeros(shape, np.int16) for shape in shapes))

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(self.vmem)

    def of(self, share: slice) -> "CoreState":
        """Return views of some samples."""
        return CoreState(*(array[share] for array in vars(self).values()))

    def expanded(self, batch: int) -> "CoreState":
        """Return a copy for ``batch`` samples; this state is for one of them or for all."""
        copies = batch // self.batch if self.batch else 1
        return CoreState(*(np.repeat(a, copies, axis=0) for a in vars(self).values()))


@dataclass(frozen=True)
class KernelRun:
    """What the kernels left: recordings, the state, and rows of counters."""

    recorded: dict[str, np.ndarray]
    state: CoreState
    hidden_counts: np.ndarray
    out_counts: np.ndarray


def run_program(
    program: Program,
    counts: np.ndarray,
    state: CoreState,
    wanted: Collection[str],
    *,
    time_first: bool = False,
) -> KernelRun:
    """Run ``counts`` (batch, time, channels), uint8 and within the input cap, from ``state``.

    The result does not depend on the number of threads, which is torch's. Recordings are (batch, time,
    neurons), or with ``time_first`` (time, batch, neurons).
    """
    batch, steps, _ = counts.shape
    axes = (steps, batch) if time_first else (batch, steps)
    sizes = {name: (program.output if name.endswith("_out") else program.hidden).size for name in RECORDS}
    recorded: dict[str, np.ndarray] = {
        name: np.empty((*axes, sizes[name]) if name in wanted else (0, 0, 0), dtype)
        for name, dtype in RECORDS.items()
    }
    flat = [array.reshape(-1) for array in recorded.values()]
    state = state.expanded(batch)
    shares = _shares(batch, torch.get_num_threads())

    def run_share(share: slice) -> tuple[np.ndarray, np.ndarray]:
        rows = (share.start, 1, batch) if time_first else (share.start * steps, steps, 1)
        return _run_share(program, counts[share], state.of(share), rows, flat)

    if len(shares) > 1:
        _kernels(shares[0].stop > 1)  # threads would compile it once each
    counters = run_shared(run_share, shares, torch.get_num_threads())
    kept = {name: array for name, array in recorded.items() if name in wanted}
    zeros = _zero_counters(program)
    totals = [np.sum(rows, axis=0) for rows in zip(zeros, *counters, strict=True)]
    return KernelRun(kept, state, totals[0], totals[1])


def _run_share(
    program: Program,
    counts: np.ndarray,
    state: CoreState,
    rows: tuple[int, int, int],
    recorded: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Run some samples in one kernel call; ``state`` is a view of its result, ``rows`` say where they go."""
    lanes = len(counts)
    side_by_side = lanes > 1
    kernels = _kernels(side_by_side)
    own = _zero_counters(program)
    work = kernels.Work(*_working_arrays(state, side_by_side))
    scratch = kernels.Scratch(*_scratch_arrays(program))
    recording = kernels.Recording(rows, *recorded)
    if side_by_side:
        inputs = _aligned((*counts.shape[1:], WIDTH))
        inputs[:, :, :lanes] = counts.transpose(1, 2, 0)
        kernels.run_lanes(program, inputs, inputs.max(axis=2), work, scratch, recording, lanes, *own)
    else:
        inputs = _aligned((counts.shape[1], padded(counts.shape[2])))
        inputs[:, : counts.shape[2]] = counts[0]
        kernels.run_single(program, inputs, work, scratch, recording, *own)
    _store(work, state)
    return own


def _zero_counters(program: Program) -> tuple[np.ndarray, np.ndarray]:
    hidden, output = program.hidden.threshold.size, program.output.threshold.size
    return np.zeros((6, hidden), np.int64), np.zeros((6, output), np.int64)


def _working_arrays(state: CoreState, side_by_side: bool) -> list[np.ndarray]:
    """Return copies of the states with padded neurons, and samples last if they stand side by side."""
    copies = []
    spikes_out = np.zeros_like(state.vmem_out)
    for values in (state.isyn, state.vmem, state.spikes, state.isyn_out, state.vmem_out, spikes_out):
        by_synapse = values.reshape(len(values), -1, values.shape[-1])
        n_padded = padded(values.shape[-1])
        copy = _aligned((by_synapse.shape[1], n_padded, WIDTH if side_by_side else 1))
        copy[:, : values.shape[-1], : len(values)] = by_synapse.transpose(1, 2, 0)
        copies.append(copy.reshape(-1, WIDTH) if side_by_side else copy.reshape(-1))
    return copies


def _scratch_arrays(program: Program) -> list[np.ndarray]:
    """Return what the kernels need besides the states."""
    n, n_out = program.hidden.threshold.size, program.output.threshold.size
    # One more than there are sources, because the place of the next is written before it is known.
    sources = max(n, n_out, padded(program.inputs.peak.size)) + 1
    active = [np.empty(sources, np.intp) for _ in range(2)]
    return [_aligned((n,)), _aligned((n_out,)), *active, _aligned((WIDTH**2,)), _aligned((WIDTH**2,))]


def _store(work: Sequence[np.ndarray], state: CoreState) -> None:
    """Write the working arrays back into the views ``state``."""
    for name, array in zip(("isyn", "vmem", "spikes", "isyn_out", "vmem_out"), work, strict=False):
        values = getattr(state, name)
        by_synapse = values.reshape(len(values), -1, values.shape[-1])
        grid = array.reshape(by_synapse.shape[1], padded(values.shape[-1]), -1)
        by_synapse[...] = grid[:, : values.shape[-1], : len(values)].transpose(2, 0, 1)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Return int16 zeros that begin at a cache line: vectors that straddle two are slower."""
    size = int(np.prod(shape))
    raw = np.zeros(size + WIDTH, np.int16)
    skip = -(raw.ctypes.data // 2) % WIDTH
    return raw[skip : skip + size].reshape(shape)


def _shares(batch: int, threads: int) -> list[slice]:
    """Return the samples of each kernel call: up to 32 side by side, or one."""
    if batch < MIN_LANES:
        return [slice(sample, sample + 1) for sample in range(batch)]
    blocks = -(-batch // WIDTH)
    # Blocks of equal size for every thread, as long as they are worth it.
    blocks = max(blocks, min(-(-blocks // threads) * threads, batch // MIN_LANES))
    edges = [batch * i // blocks for i in range(blocks + 1)]
    return [slice(low, high) for low, high in pairwise(edges)]


@functools.cache
def _kernels(side_by_side: bool) -> ModuleType:
    """Import the kernels, and compile the one that is needed, if this machine has not done so before."""
    with told_if_slow("chip simulator"):
        from ..specification.core import Specification
        from . import kernels
        from .program import compile_program

        program = compile_program(Specification.create(chip="a2", weights_in=[[1]], weights_out=[[1]]))
        own = _zero_counters(program)
        work = kernels.Work(*_working_arrays(CoreState.zero(program), side_by_side))
        scratch = kernels.Scratch(*_scratch_arrays(program))
        recording = kernels.Recording((0, 0, 0), *(np.empty(0, dtype) for dtype in RECORDS.values()))
        inputs = np.zeros((0, 1, WIDTH), np.int16)
        if side_by_side:
            kernels.run_lanes(program, inputs, inputs[:, :, 0].copy(), work, scratch, recording, 1, *own)
        else:
            kernels.run_single(program, inputs[:, :, 0].copy(), work, scratch, recording, *own)
    return kernels
