"""Runs kernels: compiles or loads them at their first call, and shares the batch among threads.

Each batch element is computed by one thread, whichever it is, and sums over the batch are left to the
caller: results do not depend on the number of threads.
"""

import functools
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from snnkit.utilities.compilation import told_if_slow
from snnkit.utilities.threads import run_shared

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
        with told_if_slow(_subject(module)):
            kernel(0, 0, *arguments)
        _loaded.add(key)
    threads = min(torch.get_num_threads(), batch)
    if threads < 2 or batch * steps * channels < PARALLEL_FROM:
        kernel(0, batch, *arguments)
    else:
        shares = min(batch, SHARES_PER_THREAD * threads)
        edges = [batch * i // shares for i in range(shares + 1)]
        run_shared(lambda edge: kernel(*edge, *arguments), list(pairwise(edges)), threads)


@functools.cache
def _kernel(module: str, name: str) -> Callable[..., None]:
    with told_if_slow(_subject(module)):
        return getattr(import_module(module if "." in module else f"snnkit.nn.kernels.{module}"), name)


def _subject(module: str) -> str:
    """Say what a module's kernels compute."""
    return "sparse kernels" if module.startswith("snnkit.sparse.") else "neuron kernels"
