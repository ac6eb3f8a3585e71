"""Do training and teleporting commute? Optimisers with and without transport, as a table.

    python benchmarks/teleport_optimisers.py [--steps 40] [--draws 3] [--dtype float64] [--json FILE]

Two equal networks train for half of the steps. One is teleported (positive scales, range 0.8, and
permutations), both train for the other half, and then the other one is teleported by the same element. The
table shows the relative distance of their parameters, the largest over the draws: with the optimiser
transported transparently, with a kick (learning rates unchanged, state moved along), with a reset (state
dropped) and with the optimiser left as it was. A step's overhead is the CPU time of the optimiser's step
with transport over that without, in a network of a million parameters."""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn, optim

from snnkit.teleport import Element, random, symmetries, teleport
from snnkit.teleport.training import teleport_in_training

Make = Callable[[Iterable[Tensor]], optim.Optimizer]
OPTIMISERS: dict[str, Make] = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "SGD, weight decay 0.01": lambda p: optim.SGD(p, 0.1, weight_decay=0.01),
    "SGD, momentum 0.9": lambda p: optim.SGD(p, 0.05, momentum=0.9),
    "SGD, Nesterov 0.9": lambda p: optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, 0.01),
    "Adam, weight decay 0.01": lambda p: optim.Adam(p, 0.01, weight_decay=0.01),
    "AMSGrad": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "AdamW, weight decay 0.1": lambda p: optim.AdamW(p, 0.01, weight_decay=0.1),
    "RMSprop, centred, momentum 0.5": lambda p: optim.RMSprop(p, 0.003, centered=True, momentum=0.5),
    "Adagrad": lambda p: optim.Adagrad(p, 0.03),
    "Adadelta": lambda p: optim.Adadelta(p, 1.0),
    "NAdam": lambda p: optim.NAdam(p, 0.01),
    "RAdam": lambda p: optim.RAdam(p, 0.01),
    "Adamax": lambda p: optim.Adamax(p, 0.01),
}
MODES = ("transparent", "kick", "reset", "left")


@dataclass(frozen=True)
class Row:
    """One optimiser: the largest relative distances by mode, and the overhead of a transported step."""

    optimiser: str
    distances: dict[str, float]
    overhead: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    options = _options().parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    print(f"{'':32}" + "".join(f"{mode:>14}" for mode in MODES) + f"{'overhead':>12}")
    for name, make in OPTIMISERS.items():
        distances = {
            mode: max(_distance(make, mode, seed, options) for seed in range(options.draws)) for mode in MODES
        }
        rows.append(Row(name, distances, _overhead(make)))
        print(
            f"{name:32}"
            + "".join(f"{distances[mode]:14.1e}" for mode in MODES)
            + f"{rows[-1].overhead:11.2f}x",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=40, help="half of them before the teleportation")
    parser.add_argument("--draws", type=int, default=3, help="networks and elements")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--json", type=Path)
    return parser


def _distance(make: Make, mode: str, seed: int, options: argparse.Namespace) -> float:
    torch.manual_seed(seed)
    dtype = getattr(torch, options.dtype)
    inputs, labels = torch.randn(128, 16, dtype=dtype), torch.randint(5, (128,))
    plain = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5)).to(
        dtype
    )
    moved = copy.deepcopy(plain)
    found = symmetries(plain, inputs[:1])
    element = random(found, 0.8, permutations=True, generator=torch.Generator().manual_seed(seed))
    pair = [(model, make(model.parameters())) for model in (plain, moved)]
    for model, optimiser in pair:
        _train(model, optimiser, inputs, labels, options.steps // 2)
    _teleported(moved, element, pair[1][1], mode)
    for model, optimiser in pair:
        _train(model, optimiser, inputs, labels, options.steps - options.steps // 2)
    teleport(plain, element)
    return max(
        float(((a - b).norm() / b.norm()).detach())
        for a, b in zip(moved.parameters(), plain.parameters(), strict=True)
    )


def _teleported(model: nn.Module, element: Element, optimiser: optim.Optimizer, mode: str) -> None:
    if mode == "left":
        teleport(model, element)
    elif mode in ("transparent", "kick", "reset"):
        teleport_in_training(model, element, optimiser, mode)  # type: ignore[arg-type]


def _train(model: nn.Module, optimiser: optim.Optimizer, inputs: Tensor, labels: Tensor, steps: int) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimiser.step()


def _overhead(make: Make, repeats: int = 9) -> float:
    """Return the ratio of the median CPU times of steps, taken in turns."""
    torch.manual_seed(0)
    pair = []
    for transported in (False, True):
        model = nn.Sequential(nn.Linear(700, 700), nn.ReLU(), nn.Linear(700, 700))
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimiser = make(model.parameters())
        if transported:
            teleport_in_training(model, random(symmetries(model, torch.zeros(1, 700)), 0.5), optimiser)
        optimiser.step()
        pair.append(optimiser)
    times: list[list[float]] = [[], []]
    for _ in range(repeats):
        for taken, optimiser in zip(times, pair, strict=True):
            start = time.process_time()
            optimiser.step()
            taken.append(time.process_time() - start)
    return statistics.median(times[1]) / statistics.median(times[0])


if __name__ == "__main__":
    main()
