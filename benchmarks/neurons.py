"""Training steps (forward and backward) of single layers: snnkit's kernels, its plain loops, and Rockpool.

    python benchmarks/neurons.py [--json FILE] [--batch B] [--steps T] [--neurons N] [--threads N]

float32; input are events with probability 0.1, times 0.25. All gradients are asked for: to the input and to
every parameter. Candidates are timed in turns in this process; what counts is the median, by the process's
CPU time with one thread, by the wall clock with several. Rockpool is left out where it is not installed.
``copies`` are the numbers that a step must read and write at least (input, output, states that the backward
pass needs, gradients), copied by torch: what memory alone costs.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkit.nn import modules
from snnkit.nn.backend import use_backend

LAYERS: dict[str, tuple[dict[str, Any], int]] = {
    "ExpSynTorch": ({}, 6),
    "LIFNeuronTorch": ({}, 8),
    "aLIFTorch": ({}, 8),
    "LIFTorch": ({}, 8),
}
"""Arguments, and how many courses (B, T, N) a step must read or write at least."""

Step = Callable[[], None]


def step_of(layer: Any, data: Tensor) -> Step:
    """Return a training step; the optimiser's part is left out."""
    x = data.clone().requires_grad_()
    parameters = list(layer.parameters().astorch())
    weights = torch.rand(data.shape)

    def step() -> None:
        for tensor in (x, *parameters):
            tensor.grad = None
        layer.reset_state()
        layer(x)[0].backward(weights)

    return step


def under(backend: str, step: Step) -> Step:
    def chosen() -> None:
        with use_backend(backend):
            step()

    return chosen


def copies_of(data: Tensor, courses: int) -> Step:
    pairs = [(torch.rand_like(data), torch.empty_like(data)) for _ in range(courses // 2)]

    def step() -> None:
        for source, target in pairs:
            target.copy_(source)

    return step


def candidates(name: str, data: Tensor) -> dict[str, Step]:
    arguments, courses = LAYERS[name]
    layer = getattr(modules, name)(data.shape[2], **arguments)
    found = {
        "snnkit numba": under("numba", step_of(layer, data)),
        "snnkit reference": under("reference", step_of(layer, data)),
        "copies": copies_of(data, courses),
    }
    if importlib.util.find_spec("rockpool"):
        from rockpool.nn import modules as rockpool

        found["rockpool"] = step_of(getattr(rockpool, name)(data.shape[2], **arguments), data)
    return found


def measure(steps: dict[str, Step], threads: int, repeats: int) -> dict[str, float]:
    """Return the median of every candidate's step in ms; they take turns, slow ones fewer."""
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.set_num_threads(threads)
    times: dict[str, list[float]] = {}
    rounds = {}
    for name, step in steps.items():
        start = clock()
        step()
        rounds[name] = repeats if clock() - start < 0.4 or "numba" in name else 3
        times[name] = []
    for turn in range(repeats):
        for name, step in steps.items():
            if turn < rounds[name]:
                start = clock()
                step()
                times[name].append(clock() - start)
    return {name: float(np.median(values)) * 1e3 for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--neurons", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=21)
    arguments = parser.parse_args()
    shape = (arguments.batch, arguments.steps, arguments.neurons)
    data = (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.1) * 0.25
    print(f"batch, steps, neurons: {shape}; {arguments.threads} thread(s)")
    results = {}
    for name in LAYERS:
        found = measure(candidates(name, data), arguments.threads, arguments.repeats)
        results[name] = found
        ours = found["snnkit numba"]
        print(f"\n{name}")
        for candidate, ms in sorted(found.items(), key=lambda item: item[1]):
            print(f"  {candidate:18s} {ms:9.2f} ms  {ms / ours:7.2f} of snnkit numba", flush=True)
    if arguments.json:
        report = {"shape": shape, "threads": arguments.threads, "ms": results}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
