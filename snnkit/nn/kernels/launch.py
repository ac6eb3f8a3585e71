"""Runs kernels: compiles or loads them at their first call, and shares the batch among threads.

Numba's own threads are not used: not every backend of theirs may be entered from two Python threads, or
after a fork. Kernels release the interpreter lock, so plain threads do. Each batch element is computed by
one thread, whichever it is, and sums over the batch are left to the caller: results do not depend on the
number of threads.
"""

import functools
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from snnkit.utilities.compilation import told_if_slow

__all__ = ["run_kernel"]

PARALLEL_FROM = 20_000
"""Numbers of an array ``(B, T, C)`` from which on a second thread is worth its start."""

SHARES_PER_THREAD = 4

_loaded: set[tuple[str, str, np.dtype]] = set()


def run_kernel(module: str, name: str, shape: Sequence[int], arguments: Sequence[Any]) -> None:
    """Call ``kernel(low, high, *arguments)`` so that the calls cover the batch.

    Args:
        module: file in this folder, or the full name of a module elsewhere.
        name: the kernel in it.
        shape: ``(B, T, C)`` of the largest array.
        arguments: arrays and numbers of one float type, that of the first of them.
    """
    batch, steps, channels = shape
    kernel = _kernel(module, name)
    key = (module, name, arguments[0].dtype)
    if key not in _loaded:
        with told_if_slow("neuron kernels"):
            kernel(0, 0, *arguments)
        _loaded.add(key)
    threads = min(torch.get_num_threads(), batch)
    if threads < 2 or batch * steps * channels < PARALLEL_FROM:
        kernel(0, batch, *arguments)
    else:
        _run_shared(functools.partial(_call_share, kernel, arguments), batch, threads)


def _call_share(kernel: Callable[..., None], arguments: Sequence[Any], low: int, high: int) -> None:
    kernel(low, high, *arguments)


def _run_shared(run: Callable[[int, int], None], batch: int, threads: int) -> None:
    """Run all of the batch in small shares that the threads fetch; this thread is one of them.

    A thread that gets no processor (torch's own threads keep theirs busy for some milliseconds after each
    operation) then delays nothing: the others take its shares.
    """
    count = min(batch, SHARES_PER_THREAD * threads)
    edges = [batch * i // count for i in range(count + 1)]
    shares = deque(pairwise(edges))

    def work() -> None:
        while True:
            try:
                low, high = shares.popleft()
            except IndexError:
                return
            run(low, high)

    helpers = [_pool().submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


@functools.cache
def _kernel(module: str, name: str) -> Callable[..., None]:
    with told_if_slow("neuron kernels"):
        return getattr(import_module(module if "." in module else f"snnkit.nn.kernels.{module}"), name)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(os.cpu_count() or 1, 1), thread_name_prefix="snnkit-kernels")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads: it must not wait for them.
    os.register_at_fork(after_in_child=_pool.cache_clear)
