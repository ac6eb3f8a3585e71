"""What choosing a program's integers by search gains over rules: a recurrent net on spoken digits.

    python benchmarks/orbit.py FOLDER [--nets active sparse] [--bits 8 6 4] [--seed 0] [--parts]
                               [--keep DIR] [--json FILE]

FOLDER holds WAV files named LABEL_SPEAKER_TAKE.wav, such as the Free Spoken Digit Dataset. Takes 5 to 9 are
held out; nets (16 channels, 60 steps, 100 recurrent neurons, 10 outputs) are trained by the recipe ``folder``
on the others, ``sparse`` with a penalty on rates above 0.1 events a step. Programs are made from 256 training
recordings and measured on the recordings held out.

Mismatch is the sum of |chip events - net events| over all steps and neurons, relative to the net's events:
"driven" with every neuron driven by the net's events, "free" with the chip running by itself. Seconds are
processor time of one thread. --parts adds programs for which only a part of the search was done.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snnkit.hw.xylo import Deployment, OrbitSettings, deploy
from snnkit.hw.xylo.orbit.bench import measures_of
from snnkit.hw.xylo.orbit.neurons import hidden_layer, output_layer
from snnkit.hw.xylo.orbit.program import forced_mismatch, free_run
from snnkit.hw.xylo.orbit.result import Measures
from snnkit.hw.xylo.orbit.teacher import observe
from snnkit.recipes import stages
from snnkit.recipes.recipe import Recipe
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.toml import load_recipe
from snnkit.recipes.train_stage import TrainedFloat, load_float
from snnkit.training.metrics import accuracy
from snnkit.utilities.chips import get_chip

NETS: dict[str, dict[str, Any]] = {
    "active": {},
    "sparse": {"training.rate_limit": 0.1, "training.rate_weight": 1.0},
}
METHODS: dict[str, dict[str, Any]] = {
    "global max-abs": {"method": "global"},
    "per-neuron max-abs": {"method": "max-abs"},
    "peaks (default)": {"method": "peaks"},
    "orbit": {"method": "orbit"},
}
PARTS: dict[str, dict[str, Any]] = {
    "orbit, scales and shifts": {"method": "orbit", "orbit": OrbitSettings(offsets=False, rounding=0)},
    "orbit, with offsets": {"method": "orbit", "orbit": OrbitSettings(rounding=0)},
    "orbit, with rounding": {"method": "orbit", "orbit": OrbitSettings(offsets=False)},
    "orbit, two more passes": {"method": "orbit", "orbit": OrbitSettings(chip_passes=2)},
}


@dataclass(frozen=True)
class Row:
    """One program on the recordings held out; accuracies are fractions."""

    net: str
    bits: int
    method: str
    shifts: tuple[int, int, int]
    weight_error: float
    measures: Measures
    float_accuracy: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not there yet, deploy in all ways, print the tables."""
    options = _options().parse_args(arguments)
    torch.set_num_threads(1)
    methods = METHODS | (PARTS if options.parts else {})
    rows = []
    with _kept(options.keep) as place:
        for name in options.nets:
            trained = _trained(name, options.folder, options.seed, place)
            for bits in options.bits:
                rows += [_row(name, trained, bits, method, methods[method]) for method in methods]
                print(f"\n{table([row for row in rows if (row.net, row.bits) == (name, bits)])}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of recordings")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--bits", nargs="+", type=int, default=[8, 6, 4], help="bits of a weight, 2 to 8")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", action="store_true", help="programs of parts of the search as well")
    parser.add_argument("--keep", type=Path, help="folder for the trained nets")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser


@contextlib.contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _trained(name: str, data: Path, seed: int, place: Path) -> TrainedFloat:
    fixed = {"data.path": str(data.resolve()), "seed": seed}
    fixed |= {"network.hidden": [100], "network.outputs_per_class": 1}
    recipe: Recipe = load_recipe("folder", fixed | NETS[name])
    folder = RunFolder(place / f"{name}-{seed}")
    stages.train(recipe, folder, resume=True)
    return load_float(folder)


def _row(name: str, trained: TrainedFloat, bits: int, method: str, options: Mapping[str, Any]) -> Row:
    prepared = trained.prepared
    events, labels = prepared.calibration_events(), prepared.calibration_labels()
    began = time.process_time()
    deployment = deploy(
        trained.net,
        get_chip("a3").with_weight_bits(bits),
        events,
        labels,
        readout=prepared.readout.predict,
        **options,
    )
    seconds = time.process_time() - began
    measures, float_accuracy = _held_out(trained, deployment)
    print(f"{name}, {bits} bits, {method}: {seconds:.1f} s", file=sys.stderr, flush=True)
    hidden = next(layer for layer in deployment.report.layers if layer.layer == "hidden")
    return Row(
        net=name,
        bits=bits,
        method=method,
        shifts=deployment.report.weight_shifts,
        weight_error=hidden.weight_error,
        measures=measures,
        float_accuracy=float_accuracy,
        seconds=seconds,
    )


def _held_out(trained: TrainedFloat, deployment: Deployment) -> tuple[Measures, float]:
    """Return what a program does on the test split, and the accuracy of the float net."""
    prepared, mapped, delay = trained.prepared, deployment.mapped, deployment.delay
    teacher = observe(trained.net, mapped, prepared.test_events.astype(np.int64))
    run = free_run(deployment.specification, teacher)
    layers = hidden_layer(mapped, teacher), output_layer(mapped, teacher)
    forced = forced_mismatch(deployment.specification, layers)
    right, of_net = (
        accuracy(prepared.readout.predict(outputs[:, delay:]), prepared.test_labels)
        for outputs in (run.outputs, teacher.outputs)
    )
    return measures_of(run, forced, teacher, right), of_net


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table of one net at one number of bits."""
    first = rows[0]
    head = [
        "method", "shifts", "weight error", "hidden, driven", "hidden, free", "output, free",
        "counts off", "saturations", "accuracy", "s",
    ]  # fmt: skip
    lines = [
        f"{first.net} net, {first.bits} bits, float accuracy {first.float_accuracy:.1%}",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
    ]
    for row in rows:
        found = row.measures
        cells = [
            row.method, " ".join(map(str, row.shifts)), f"{row.weight_error:.2%}",
            f"{found.hidden_forced:.3f}", f"{found.hidden_free:.3f}", f"{found.output_free:.3f}",
            f"{found.count_error:.2f}", f"{found.saturations:,}", f"{found.score:.1%}", f"{row.seconds:.1f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
