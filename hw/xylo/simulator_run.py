"""Runs compiled programs: loads the kernels, shares a batch among threads, gathers what they recorded."""

import functools
import sys
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch

from .simulator_program import WIDTH, Program

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
    "Hibernation": np.bool_,
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

    def expanded(self, batch: int) -> "CoreState":
        """Return a copy for ``batch`` samples; this state is for one of them or for all."""
        arrays = vars(self).values()
        return CoreState(*(np.repeat(a, batch // self.batch, axis=0) for a in arrays))


@dataclass(frozen=True)
class KernelRun:
    """What the kernels left: recordings (batch, time, neurons), the state, and rows of counters."""

    recorded: dict[str, np.ndarray]
    state: CoreState
    hidden_counts: np.ndarray
    out_counts: np.ndarray


def run_program(program: Program, counts: np.ndarray, state: CoreState, wanted: Collection[str]) -> KernelRun:
    """Run ``counts`` (batch, time, channels), uint8 and within the input cap, from ``state``.

    The result does not depend on the number of threads, which is torch's.
    """
    batch, steps, _ = counts.shape
    widths = {"Hibernation": 1} | {
        name: program.output.size if name.endswith("_out") else program.hidden.size
        for name in RECORDS
        if name != "Hibernation"
    }
    recorded = {
        name: np.empty((batch, steps, widths[name]) if name in wanted else (0, 0, 0), dtype)
        for name, dtype in RECORDS.items()
    }
    state = state.expanded(batch)
    hidden_counts, out_counts = _run_shares(program, counts, state, recorded)
    kept = {name: array for name, array in recorded.items() if name in wanted}
    return KernelRun(kept, state, hidden_counts, out_counts)


def _run_shares(
    program: Program, counts: np.ndarray, state: CoreState, recorded: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Run all samples, each share of them in one kernel call; return the summed counters."""
    kernels = _kernels()
    core_state = kernels.State(**vars(state))
    recording = kernels.Recording(*recorded.values())
    threads = torch.get_num_threads()
    shares, stride = _shares(len(counts), threads)
    totals = [np.zeros((6, layer.threshold.size), np.int64) for layer in (program.hidden, program.output)]
    lock = threading.Lock()

    def run_share(first: int, lanes: int) -> None:
        own = [np.zeros_like(total) for total in totals]
        kernels.run(program, counts, core_state, recording, first, lanes, stride, *own)
        with lock:
            for total, part in zip(totals, own, strict=True):
                total += part

    if threads == 1 or len(shares) == 1:
        for share in shares:
            run_share(*share)
    else:
        with ThreadPoolExecutor(min(threads, len(shares))) as pool:
            for _ in pool.map(run_share, *zip(*shares, strict=True)):
                pass
    return totals[0], totals[1]


def _shares(batch: int, threads: int) -> tuple[list[tuple[int, int]], int]:
    """Return (first sample, number of samples) of each kernel call, and the kernels' stride."""
    if batch < MIN_LANES * min(threads, batch):
        return [(sample, 1) for sample in range(batch)], 1
    blocks = max(1, -(-batch // WIDTH))
    if batch >= MIN_LANES * threads:
        blocks = -(-blocks // threads) * threads
        blocks = min(blocks, batch // MIN_LANES)
    edges = [batch * i // blocks for i in range(blocks + 1)]
    return [(low, high - low) for low, high in zip(edges, edges[1:], strict=False)], WIDTH


@functools.cache
def _kernels() -> ModuleType:
    """Import the kernels, and compile them if this machine has not done so before."""
    with _told_if_slow():
        from . import simulator_kernels as kernels
        from .simulator_program import compile_program
        from .specification import Specification

        program = compile_program(Specification.create(chip="a2", weights_in=[[1]], weights_out=[[1]]))
        recording = kernels.Recording(*(np.empty((0, 0, 0), dtype) for dtype in RECORDS.values()))
        state = kernels.State(**vars(CoreState.zero(program)))
        own = [np.zeros((6, layer.threshold.size), np.int64) for layer in (program.hidden, program.output)]
        kernels.run(program, np.zeros((1, 0, 1), np.uint8), state, recording, 0, 1, 1, *own)
    return kernels


@contextmanager
def _told_if_slow(patience: float = 1.5) -> Iterator[None]:
    """Tell on stderr what takes so long, if it does: loading from the cache takes a fraction of a second."""
    started = time.perf_counter()
    told = threading.Event()

    def tell(text: str) -> None:
        from rich.console import Console

        told.set()
        Console(file=sys.stderr).print(text, style="dim")

    timer = threading.Timer(patience, tell, ["Compiling the chip simulator (once for this machine) ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if told.is_set():
            tell(f"The chip simulator is compiled after {time.perf_counter() - started:.0f} s.")
