"""Training steps (forward and backward) of spiking networks: snnkit's backends against other libraries.

    python benchmarks/training.py [--json FILE] [--threads 1 2] [--repeats N] [--cases NAME ...]

All candidates of a case run in this process, float32, same sizes, same input (events with probability 0.1;
hidden neurons emit some in 5 to 10 % of the steps) and are timed in turns; what counts is the median, and its
ratio to Rockpool's LIFTorch and to the fastest other library. With one thread the process's CPU time is
taken, with several the wall clock. Libraries that are not installed are left out.

Three rows are no libraries: the linear layers alone, in torch; snnkit's LIF layers alone; and a plain copy
of what LIF layers must read and write, that is input and spikes forward, input and both gradients backward.

Rockpool's cost per step grows with the number of steps, so it can't be scaled from shorter runs: it is run
in full, but fewer times (--slow-repeats).
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from training_cases import CASES, Case, inputs
from training_peers import Step, layered_step, peers, rockpool_like, step_of

from snnkit.nn.backend import use_backend
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.nn.networks import SynNet

SLOW = 0.4
"""Candidates whose first run takes longer (in s) are run fewer times."""

OURS, BASE, PARTS, COPY = "snnkit numba", "rockpool LIFTorch", "snnkit's LIF layers alone", "a copy of theirs"


def snnkit_step(case: Case, backend: str) -> Step:
    """Return a step of snnkit's net."""
    net = rockpool_like(case, Sequential, LinearTorch, LIFTorch, SynNet)
    step = step_of(net, inputs(case), list(net.parameters().astorch()))

    def chosen() -> None:
        with use_backend(backend):
            step()

    return chosen


def lif_step(case: Case) -> Step:
    """Return a step of snnkit's LIF layers, each with an input and an output gradient of its own."""
    layers = [LIFTorch(size) for size in case.sizes[1:]]
    currents = [torch.rand(case.batch, case.steps, size) * 0.02 for size in case.sizes[1:]]
    gradients = [torch.randn_like(current) for current in currents]

    def step() -> None:
        for layer, current, gradient in zip(layers, currents, gradients, strict=True):
            layer.zero_grad()
            layer.reset_state()(current.detach().requires_grad_())[0].backward(gradient)

    return step


def copy_step(case: Case) -> Step:
    """Return a copy of what those layers read and write."""
    shapes = [(case.batch, case.steps, size) for size in case.sizes[1:]]
    arrays = [[torch.rand(shape) for _ in range(4)] for shape in shapes]

    def step() -> None:
        for current, spikes, gradient, d_current in arrays:
            spikes.copy_(current)
            torch.add(gradient, current, out=d_current)

    return step


def candidates(case: Case) -> dict[str, Callable[[], Step]]:
    """List what can run this case."""
    found: dict[str, Callable[[], Step]] = {
        OURS: lambda: snnkit_step(case, "numba"),
        "snnkit torch": lambda: snnkit_step(case, "torch"),
    }
    if not (case.recurrent or case.synnet):
        found["linear layers alone"] = lambda: layered_step(case, lambda n: nn.Identity(), time_first=False)
        found |= {PARTS: lambda: lif_step(case), COPY: lambda: copy_step(case)}
    return found | peers(case)


def measure(case: Case, threads: int, repeats: int, slow_repeats: int) -> dict[str, float]:
    """Return the median of every candidate's step in ms; they take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.set_num_threads(threads)
    steps: dict[str, Step] = {}
    times: dict[str, list[float]] = {}
    rounds: dict[str, int] = {}
    for name, build in candidates(case).items():
        steps[name] = build()
        steps[name]()
        start = clock()
        steps[name]()
        first = clock() - start
        times[name] = [first]
        rounds[name] = slow_repeats if first > SLOW and not name.startswith("snnkit") else repeats
    for turn in range(repeats):
        for name, step in steps.items():
            if turn < rounds[name]:
                if rounds[name] == repeats:
                    step()  # in training, too, the same step comes before
                start = clock()
                step()
                times[name].append(clock() - start)
    return {name: float(np.median(values)) * 1e3 for name, values in times.items()}


def first_call_seconds() -> float:
    """Import Numba, load the kernels (or compile them), and do a first step."""
    start = time.perf_counter()
    snnkit_step(Case("first", 1, 2, (2, 2)), "numba")()
    return time.perf_counter() - start


def show(case: Case, threads: int, found: dict[str, float]) -> None:
    """Print the times of a case and how they compare."""
    print(f"\n{case.name}, batch {case.batch}, {case.steps} steps, {threads} thread(s)")
    ours, base = found[OURS], found.get(BASE)
    for name, ms in sorted(found.items(), key=lambda item: item[1]):
        ratio = "" if base is None else f"{base / ms:8.1f}x LIFTorch"
        print(f"  {name:26s} {ms:9.2f} ms {ratio}  {ms / ours:7.2f} of {OURS}", flush=True)
    if case.goal and base is not None:
        print(f"  goal: {case.goal:.0f}x LIFTorch; reached: {base / ours:.0f}x")
    others = {name: ms for name, ms in found.items() if name in peers(case)}
    if case.peer_goal and others:
        fastest = min(others, key=lambda name: others[name])
        ratio = others[fastest] / ours
        print(f"  goal: {case.peer_goal:.0f}x the fastest other, {fastest}; reached: {ratio:.1f}x")
    if COPY in found:
        print(
            f"  goal: LIF layers within 3 copies of their tensors; reached: {found[PARTS] / found[COPY]:.1f}"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--slow-repeats", type=int, default=2)
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES])
    arguments = parser.parse_args()
    first = first_call_seconds()
    print(f"first call: {first:.2f} s (compiles where no cache is warm)")
    results = []
    for case in CASES:
        if arguments.cases and case.name not in arguments.cases:
            continue
        for threads in arguments.threads:
            found = measure(case, threads, arguments.repeats, arguments.slow_repeats)
            show(case, threads, found)
            results.append({"case": case.name, "threads": threads, "ms": found})
    if arguments.json:
        report = {"first_call_seconds": first, "results": results}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
