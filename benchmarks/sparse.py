"""Sparse layers against dense ones, a masked dense weight, and writing the weight out at every call.

    python benchmarks/sparse.py [--json FILE] [--threads 1 2] [--repeats N] [--parts NAME ...]

Everything runs in this process in float32 and takes turns; what counts is the median. With one thread the
process's CPU time is taken, with several the wall clock. Ratios above 1 say that the sparse layer is faster.

Training is a forward and a backward pass with the gradients of weights, bias and inputs. ``masked``
multiplies a dense weight by its mask; ``written out`` makes a dense weight of a COO tensor at every call, as
ActuallySparse does; ``torch CSR`` is torch's own sparse product with its own gradients. The input of
``events`` is zero but for 5 % ones.
"""

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnkit.sparse import SparseLayer

DENSITIES = (0.5, 0.2, 0.1, 0.05, 0.01)
CROSSOVER = (0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
SIZE = 1024
GOALS = {0.1: 1.0, 0.05: 2.0, 0.01: 4.0}
WRITTEN_OUT_GOAL = (0.1, 5.0)

Case = tuple[str, int, int]
"""Training, inference or events; batch; neurons."""


class WrittenOut(nn.Module):
    """A COO tensor of values that every call makes dense."""

    def __init__(self, layer: SparseLayer) -> None:
        super().__init__()
        self.values, self.bias = nn.Parameter(layer.values.detach().clone()), layer.bias
        self.places, self.shape = torch.stack(layer.coordinates()), layer.shape

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sparse_coo_tensor(self.places, self.values, self.shape, check_invariants=False)
        return F.linear(x, weight.to_dense(), self.bias)


class Masked(nn.Module):
    """A dense weight and its mask."""

    def __init__(self, layer: SparseLayer) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(layer.dense_weight().detach().clone()), layer.bias
        self.register_buffer("mask", layer.mask().float())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class TorchCSR(nn.Module):
    """Torch's own product of a CSR tensor, differentiated by torch."""

    def __init__(self, layer: SparseLayer) -> None:
        super().__init__()
        self.values, self.bias = nn.Parameter(layer.values.detach().clone()), layer.bias
        self.crow, self.col, self.shape = layer.crow_indices, layer.col_indices, layer.shape

    def forward(self, x: Tensor) -> Tensor:
        weight = torch.sparse_csr_tensor(self.crow, self.col, self.values, self.shape, check_invariants=False)
        return (weight @ x.T).T + self.bias


def candidates(size: int, density: float) -> dict[str, nn.Module]:
    generator = torch.Generator().manual_seed(0)
    layer = SparseLayer(size, size, format="csr", density=density, generator=generator)
    return {
        "snnkit": layer,
        "masked": Masked(layer),
        "written out": WrittenOut(layer),
        "torch CSR": TorchCSR(layer),
    }


def training(module: nn.Module, x: Tensor, g: Tensor) -> Callable[[], None]:
    x = x.clone().requires_grad_()

    def step() -> None:
        module.zero_grad()
        x.grad = None
        module(x).backward(g)

    return step


def inference(module: nn.Module, x: Tensor) -> Callable[[], None]:
    module.eval()

    def step() -> None:
        with torch.no_grad():
            module(x)

    return step


def measure(steps: dict[str, Callable[[], None]], threads: int, repeats: int) -> dict[str, float]:
    """Return the median time of each step in ms; they take turns."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(repeats):
        for name, step in steps.items():
            step()  # so that each finds the cache as it left it, as in training
            start = clock()
            step()
            times[name].append(clock() - start)
    return {name: float(np.median(values)) * 1e3 for name, values in times.items()}


def compare(case: Case, threads: int, repeats: int, crossover: bool) -> dict[str, Any]:
    """Measure one batch size at all densities."""
    part, batch, size = case
    torch.manual_seed(0)
    dense = nn.Linear(size, size)
    x, g = torch.randn(batch, size), torch.randn(batch, size)
    if part == "events":
        x = (torch.rand(batch, size) < 0.05).float()
    print(f"\n{part}, {size} x {size}, batch {batch}, {threads} thread(s): times as fast as ...", flush=True)
    rows: dict[str, Any] = {}
    for density in CROSSOVER if crossover else DENSITIES:
        modules = {"dense": dense, **candidates(size, density)}
        if crossover:
            modules = {"snnkit": modules["snnkit"], "mode dense": copy.deepcopy(modules["snnkit"])}
            modules["mode dense"].mode = "dense"
        if part == "events":
            modules["snnkit"].mode = "events"
        run = training if part == "training" else lambda module, x, g: inference(module, x)
        found = measure({name: run(module, x, g) for name, module in modules.items()}, threads, repeats)
        rows[str(density)] = found
        ours = found["snnkit"]
        others = "  ".join(f"{name} {ms / ours:6.2f}" for name, ms in found.items() if name != "snnkit")
        print(
            f"  density {density:<5g} snnkit {ours:8.3f} ms   {others}{_goals(part, size, density, found)}",
            flush=True,
        )
    return {"part": part, "batch": batch, "size": size, "threads": threads, "ms": rows}


def _goals(part: str, size: int, density: float, found: dict[str, float]) -> str:
    if part != "training" or size != SIZE or "written out" not in found:
        return ""
    goals = [("dense", GOALS[density])] if density in GOALS else []
    goals += [("written out", WRITTEN_OUT_GOAL[1])] if density == WRITTEN_OUT_GOAL[0] else []
    texts = []
    for name, goal in goals:
        reached = found[name] / found["snnkit"]
        texts.append(f"goal {goal:g}x {name}: {'reached' if reached >= goal else 'MISSED'}")
    return "   " + ", ".join(texts) if texts else ""


PARTS: dict[str, list[Case]] = {
    "training": [("training", 128, SIZE)],
    "inference": [("inference", 1, SIZE), ("inference", 32, SIZE)],
    "events": [("events", 1, SIZE), ("events", 32, SIZE)],
    "sizes": [("training", 32, 4096), ("training", 4096, 512), ("training", 1, SIZE)],
    "crossover": [(part, batch, SIZE) for part in ("training", "inference") for batch in (1, 4, 16, 64, 256)],
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--parts", nargs="+", choices=list(PARTS), default=["training", "inference", "events"]
    )
    arguments = parser.parse_args()
    results = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for part in arguments.parts:
            for case in PARTS[part]:
                results.append(compare(case, threads, arguments.repeats, part == "crossover"))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
