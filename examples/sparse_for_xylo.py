"""Nets at 90 % sparsity on a chip beside dense ones: accuracy on recordings, float and in its integers.

    python sparse_for_xylo.py [--recipe basic-motions] [--seeds 0 1 2] [--sparsity 0.9] [--hold-out]

For every seed a recipe's recurrent net is trained twice from the same weights, for the same number of epochs:
as it is, and with gradual pruning under the limits of its chip. A third net is so wide that the chip holds
only a part of its weights (``--wide``); it is pruned to the same sparsity, or further until it maps. Each is
mapped and quantised on training recordings, and the bit-exact simulator of the chip runs the test split.

``--hold-out`` tests on every fourth training recording instead and never touches the test split: that is how
settings are chosen. BasicMotions (accelerometer and gyroscope, Xylo-IMU) takes a minute or two.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from snnkit.data import Split
from snnkit.hw.xylo import check, deploy
from snnkit.hw.xylo.cycles import count_cycles
from snnkit.recipes import stages
from snnkit.recipes.network import set_working_point
from snnkit.recipes.prepare import Prepared, load_recordings, prepare
from snnkit.recipes.train_stage import untrained_network
from snnkit.sparse.pruning import OrbitInvariant, apply_masks, sparsity_of
from snnkit.sparse.spiking import ChipPruning, sparse_spiking
from snnkit.training import FitSettings, Trainer, accuracy, predict

BEGIN, END = 0.2, 0.6
"""Pruning goes from here to there, in parts of the training."""
PRUNINGS = 30
HELD_OUT = 4
WIDTHS = (12, 4, 8, 8, 6, 6, 11)


@dataclass(frozen=True)
class Result:
    """One net; accuracies are fractions of the recordings that it is tested on."""

    kind: str
    seed: int
    sparsity: float
    synapses: int
    float_accuracy: float
    chip_accuracy: float
    cycles: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, deploy, print a line for each net and the means."""
    options = _options().parse_args(arguments)
    titles = ("net", "seed", "sparsity", "synapses", "float", "chip", "cycles/step")
    print(" ".join(f"{title:>{width}}" for title, width in zip(titles, WIDTHS, strict=True)))
    results = []
    for seed in options.seeds:
        kinds = [("dense", 0.0, None), ("sparse", options.sparsity, None)]
        kinds += [("wide, sparse", options.sparsity, options.wide)] if options.wide else []
        for kind, sparsity, width in kinds:
            results.append(run(kind, seed, sparsity, width, options))
            print(_line(results[-1], str(seed)), flush=True)
    for kind in dict.fromkeys(result.kind for result in results):
        print(_line(_mean([result for result in results if result.kind == kind]), "mean"))


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="basic-motions")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--wide", type=int, help="neurons of a net that maps only when it is sparse")
    parser.add_argument("--epochs", type=int, help="of the training; the recipe's number if left out")
    parser.add_argument("--allocation", default="global")
    parser.add_argument("--hold-out", action="store_true", help="test on training recordings held out")
    return parser


def run(kind: str, seed: int, sparsity: float, width: int | None, options: argparse.Namespace) -> Result:
    """Train, prune, deploy and test one net."""
    changes = {"seed": seed, "network.recurrent": True, "training.epochs": options.epochs}
    recipe = stages.load_recipe(options.recipe, {**changes, "network.hidden": [width] if width else None})
    split = load_recordings(recipe.data)
    prepared = prepare(recipe, held_out(split) if options.hold_out else split)
    net = trained(prepared, sparsity, options.allocation)
    if sparsity:
        sparse_spiking(net)
    check(net, prepared.chip).raise_for_violations()
    program = deploy(
        net,
        prepared.chip,
        calibration=prepared.calibration_events(),
        labels=prepared.calibration_labels(),
        readout=prepared.readout.predict,
    )
    events = torch.from_numpy(prepared.test_events)
    simulator = program.simulator()
    on_chip = simulator(program.padded(prepared.test_events))
    hidden = np.concatenate([np.ravel(v) for v in _hidden_events(net, events)])
    counted = sparsity_of(net)
    return Result(
        kind,
        seed,
        counted.sparsity,
        counted.kept,
        accuracy(prepared.readout.predict(predict(net, events)), prepared.test_labels),
        accuracy(prepared.readout.predict(on_chip[0][:, program.delay :]), prepared.test_labels),
        count_cycles(program.specification, prepared.test_events, hidden).total,
    )


def held_out(split: Split) -> Split:
    """Return the training recordings alone, every fourth of them to test on."""
    places = np.arange(len(split.train))
    test = places % HELD_OUT == HELD_OUT - 1
    return Split(split.train.subset(places[~test]), split.train.subset(places[test]))


def trained(prepared: Prepared, sparsity: float, allocation: str) -> nn.Module:
    """Return a net as the recipe trains it; with a sparsity, pruned meanwhile to what the chip holds."""
    recipe = prepared.recipe
    net = untrained_network(prepared)
    set_working_point(net, prepared.augmentation.events(prepared.train_levels))
    names = FitSettings.__dataclass_fields__
    settings = FitSettings(**{n: getattr(recipe.training, n) for n in names if hasattr(recipe.training, n)})
    trainer = Trainer(
        net,
        prepared.train_levels,
        prepared.train_labels,
        readout=prepared.readout,
        settings=settings,
        augmentation=prepared.augmentation,
        stage="float",
        seed=recipe.seed,
    )
    if not sparsity:
        trainer.fit()
        return net
    steps = settings.epochs * -(-len(prepared.train_labels) // settings.batch_size)
    pruning = ChipPruning(
        net,
        trainer.optimiser,
        sparsity,
        prepared.chip,
        begin=round(BEGIN * steps),
        end=round(END * steps),
        every=max(1, round((END - BEGIN) * steps / PRUNINGS)),
        criterion=OrbitInvariant(prepared.calibration_events().float()),
        allocation=allocation,
    )
    with pruning:
        trainer.fit()
    # The trainer leaves an average over the last steps, in which what was pruned is not quite 0 yet.
    apply_masks(net, pruning.masks)
    return net


def _hidden_events(net: Any, events: torch.Tensor) -> list[np.ndarray]:
    """Return the events of all hidden neurons."""
    net.reset_state()
    with torch.no_grad():
        record = net(events.float(), record=True)[2]
    net.reset_state()
    spikes = [
        tree["spikes"].numpy() for tree in record.values() if isinstance(tree, dict) and "spikes" in tree
    ]
    return spikes[:-1]


def _line(result: Result, seed: str) -> str:
    return (
        f"{result.kind:>12} {seed:>4} {result.sparsity:8.1%} {result.synapses:8,} "
        f"{result.float_accuracy:6.1%} {result.chip_accuracy:6.1%} {result.cycles:11,.0f}"
    )


def _mean(results: list[Result]) -> Result:
    def mean(name: str) -> float:
        return statistics.fmean(getattr(result, name) for result in results)

    return replace(
        results[0],
        sparsity=mean("sparsity"),
        float_accuracy=mean("float_accuracy"),
        chip_accuracy=mean("chip_accuracy"),
        cycles=mean("cycles"),
    )


if __name__ == "__main__":
    main()
