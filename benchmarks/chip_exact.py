"""Training steps (forward and backward) of chip-exact networks against the same networks in float.

    python benchmarks/chip_exact.py [--json FILE] [--threads 1 2] [--repeats N] [--cases NAME ...]

Both run in this process, float32, on the same events, and are timed in turns; what counts is the median and
the ratio, which is to stay below 2. With one thread the process's CPU time is taken, with several the wall
clock. Hidden neurons emit about as many events as in the recipes of the same names.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.hw.xylo import chip_exact
from snnkit.nn.combinators import Sequential
from snnkit.nn.modules import LIFTorch, LinearTorch, PeriodicExponential


@dataclass(frozen=True)
class Case:
    name: str
    chip: str
    sizes: tuple[int, ...]
    batch: int
    steps: int
    recurrent: bool = False


CASES = (
    Case("16-64-64-10", "a3", (16, 64, 64, 10), 32, 100),
    Case("japanese-vowels", "a3", (16, 128, 27), 64, 45),
    Case("basic-motions", "imu", (12, 64, 16), 16, 100, recurrent=True),
)

GOAL = 2.0


def network(case: Case) -> nn.Module:
    """As the recipes build them: weights are trained, decays stay on the chip's dashes."""
    generator = torch.Generator().manual_seed(0)

    def drawn(size: float, *shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * (size / shape[0] ** 0.5)

    layers: list[nn.Module] = []
    for size_in, size in pairwise(case.sizes):
        last = size == case.sizes[-1]
        options: dict[str, Any] = {"max_spikes_per_dt": 1.0 if last else 31.0}
        if last:
            options |= {"spike_generation_fn": PeriodicExponential, "learning_window": 1.0}
        elif case.recurrent:
            options |= {"has_rec": True, "w_rec": drawn(0.2, size, size)}
        layers.append(LinearTorch((size_in, size), weight=drawn(0.6, size_in, size)))
        layers.append(
            LIFTorch(
                size,
                leak_mode="bitshifts",
                dash_mem=torch.full((size,), 3.0),
                dash_syn=torch.full((size, 1), 2.0),
                bias=torch.zeros(size),
                threshold=torch.ones(size),
                **options,
            )
        )
    net = Sequential(*layers)
    for name, parameter in nn.Module.named_parameters(net):
        parameter.requires_grad_(name.rsplit(".", 1)[-1] in ("weight", "w_rec"))
    return net


def events(case: Case) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (case.batch, case.steps, case.sizes[0])
    active = torch.rand(shape, generator=generator) < 0.3
    return (active * torch.randint(1, 4, shape, generator=generator)).float()


def step(net: Any, data: Tensor) -> None:
    net.reset_state()
    net.zero_grad()
    net(data)[0].square().sum().backward()


def measure(candidates: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median seconds of each candidate, run in turns."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for run in candidates.values():
        run()
    for _ in range(repeats):
        for name, run in candidates.items():
            started = clock()
            run()
            times[name].append(clock() - started)
    return {name: float(np.median(values)) for name, values in times.items()}


def run_case(case: Case, threads: int, repeats: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    net, data = network(case), events(case)
    exact = chip_exact(net, case.chip, data)
    found = measure({"float": partial(step, net, data), "exact": partial(step, exact, data)}, repeats)
    ratio = found["exact"] / found["float"]
    return {"case": case.name, "threads": threads, **found, "ratio": ratio, "goal": GOAL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES], help="only these")
    options = parser.parse_args()
    rows = []
    print(f"{'case':16} {'threads':>7} {'float':>9} {'exact':>9} {'ratio':>6}   (goal: at most {GOAL:g})")
    for case in CASES:
        for threads in options.threads if not options.cases or case.name in options.cases else ():
            row = run_case(case, threads, options.repeats)
            rows.append(row)
            print(
                f"{case.name:16} {threads:7} {1e3 * row['float']:6.2f} ms {1e3 * row['exact']:6.2f} ms "
                f"{row['ratio']:6.2f}"
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
