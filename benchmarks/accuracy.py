"""What is left of a float net's accuracy on the chip, by the way in which it is put there.

    python benchmarks/accuracy.py [--recipes NAME ...] [--seeds 0 1 2 3 4] [--bits 8 6 4] [--json FILE]

Each float net is trained once and put on the chip in three ways: rounded as it is, by the classic route
(fine-tuning with rounding transforms, then deployment), and by chip-exact training. The accuracies are those
of the test split; on the chip they are those of the integer program in the bit-exact simulator. For
chip-exact nets every event and state of the simulation is compared with the trained net's own.

Everything runs through the stages of ``snnkit run``, one after the other, on one thread of torch. Runs are
kept with --keep DIR; what is there already is not done again. The recipe ``folder`` needs --data DIR.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from snnkit.recipes import stages
from snnkit.recipes.metrics_file import read_metrics
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.toml import load_recipe

ROUTES: dict[str, dict[str, Any]] = {
    "rounded": {"finetuning.method": "qat", "finetuning.epochs": 0},
    "classic": {"finetuning.method": "qat"},
    "chip-exact": {"finetuning.method": "chip-exact"},
}
TITLES = {"rounded": "float, rounded", "classic": "classic route", "chip-exact": "chip-exact"}


@dataclass(frozen=True)
class Result:
    """One net on the chip; accuracies are fractions of the test split."""

    recipe: str
    seed: int
    bits: int
    route: str
    float_net: float
    trained: float
    chip: float
    differing: int | None
    """Events and states that differ between the chip-exact net and the simulation; None for other routes."""
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all that is asked for and print the tables."""
    options = _options().parse_args(arguments)
    with _kept(options.keep) as place:
        results = [
            result
            for name in options.recipes
            for seed in options.seeds
            for result in _of_one_net(name, seed, options, place)
        ]
    for name in dict.fromkeys(result.recipe for result in results):
        print(f"\n{table([result for result in results if result.recipe == name])}")
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=["basic-motions", "japanese-vowels"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--bits", nargs="+", type=int, default=[8], help="bits of a weight, 2 to 8")
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=list(ROUTES))
    parser.add_argument("--data", type=Path, help="folder of recordings, for recipes that read one")
    parser.add_argument("--keep", type=Path, help="folder for the runs")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser


@contextlib.contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _of_one_net(name: str, seed: int, options: argparse.Namespace, place: Path) -> Iterator[Result]:
    data = None if options.data is None else str(options.data.resolve())
    recipe = load_recipe(name, {"seed": seed, "data.path": data})
    source = RunFolder(place / f"{recipe.name}-{seed}")
    began = time.monotonic()
    accuracy = stages.train(recipe, source, resume=True).accuracy()
    _tell(f"{recipe.name} seed {seed}: float {accuracy:.2%}", began)
    for bits in options.bits:
        for route in options.routes:
            began = time.monotonic()
            result = _on_the_chip(recipe, source, bits, route)
            yield result
            _tell(f"{recipe.name} seed {seed}, {bits} bits, {route}: {result.chip:.2%} on the chip", began)


def _on_the_chip(recipe: Recipe, source: RunFolder, bits: int, route: str) -> Result:
    began = time.monotonic()
    folder = RunFolder(source.path.with_name(f"{source.path.name}-{bits}-{route}"))
    if not folder.exists():
        stages.fork(source, folder, ROUTES[route] | {"network.weight_bits": bits})
    stages.finetune(folder, resume=True)
    stages.deploy(folder)
    stages.simulate(folder)
    found = stages.validate(folder).exactness
    accuracy = read_metrics(folder)["accuracy"]
    return Result(
        recipe=recipe.name,
        seed=recipe.seed,
        bits=bits,
        route=route,
        float_net=accuracy["float"],
        trained=accuracy["chip_exact" if route == "chip-exact" else "qat"],
        chip=accuracy["chip"],
        differing=None if found is None else found.differing_events + found.differing_states,
        seconds=time.monotonic() - began,
    )


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table: a row for each number of bits, all seeds and their median in each cell."""
    routes = [route for route in ROUTES if any(result.route == route for result in results)]
    seeds = sorted({result.seed for result in results})
    lines = [
        f"{results[0].recipe}, seeds {', '.join(map(str, seeds))}; per cent right, **median**",
        "",
        "| bits | float net | " + " | ".join(TITLES[route] for route in routes) + " | differing |",
        "|---|---|" + "---|" * len(routes) + "---|",
    ]
    for bits in sorted({result.bits for result in results}, reverse=True):
        of_bits = [result for result in results if result.bits == bits]
        cells = [_cell([r.float_net for r in of_bits if r.route == routes[0]])]
        cells += [_cell([r.chip for r in of_bits if r.route == route]) for route in routes]
        differing = sum(r.differing or 0 for r in of_bits if r.route == "chip-exact")
        lines.append(f"| {bits} | " + " | ".join([*cells, f"{differing}"]) + " |")
    return "\n".join(lines)


def _cell(accuracies: Sequence[float]) -> str:
    return f"**{median(accuracies):.1%}** ({', '.join(f'{100 * a:.1f}' for a in accuracies)})"


def _tell(text: str, began: float) -> None:
    print(f"{text} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
