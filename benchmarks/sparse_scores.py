"""One-shot pruning of a trained recurrent spiking net by several scores, without any training afterwards.

    python benchmarks/sparse_scores.py [--recipe japanese-vowels] [--seeds 0 1 2] [--json FILE]
    python benchmarks/sparse_scores.py --recipe folder --data DIRECTORY_OF_WAV_FILES

A recipe's net is trained with recurrent weights. Input and recurrent weights are then pruned together, over
both matrices, the readout stays. The table has the accuracy on the test split for every score:

* magnitude: |w|
* magnitude, rescaled: |w| of the same net with other units of its neurons, drawn log-uniformly from 1/4 to 4:
  incoming weights, bias and threshold of a neuron have the same factor, so the net computes the same
* per threshold: |w| / threshold, of the rescaled net; it is the same for both, and as the recipes' nets have
  thresholds of 1 it is the magnitude of the net as trained
* orbit: |w| rms(presynaptic events) / threshold, of either net; the events are those of training recordings
* random: uniform numbers
"""

import argparse
import copy
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.modules import LIFTorch, LinearTorch
from snnkit.recipes import stages
from snnkit.recipes.run_folder import RunFolder
from snnkit.recipes.train_stage import TrainedFloat
from snnkit.sparse.pruning import OrbitInvariant, PrunableWeight, apply_masks, prune_masks
from snnkit.training import accuracy, predict

SPARSITIES = (0.3, 0.5, 0.7, 0.8, 0.9)
LARGEST_FACTOR = 4.0


@dataclass(frozen=True)
class Result:
    """One net pruned by one score; accuracies are fractions of the test split."""

    seed: int
    score: str
    sparsity: float
    dense: float
    pruned: float


@dataclass(frozen=True)
class PerThreshold:
    """The score |w| / threshold of the target: invariant, but blind to how often a synapse is used."""

    runs_model = False
    rounds = 1

    def __call__(self, model: nn.Module, weights: Sequence[PrunableWeight]) -> dict[str, Tensor]:
        theta = _hidden(model).threshold.detach()
        return {weight.name: weight.dense().abs() / theta for weight in weights}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, prune, print the table."""
    options = _options().parse_args(arguments)
    results = [result for seed in options.seeds for result in of_one_net(seed, options)]
    print(table(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="japanese-vowels")
    parser.add_argument("--data", type=Path, help="folder of recordings, for recipes that read one")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="of the training; the recipe's number if left out")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser


def of_one_net(seed: int, options: argparse.Namespace) -> list[Result]:
    """Train one net and prune it in all ways."""
    trained = _trained(seed, options)
    generator = torch.Generator().manual_seed(seed)
    exponent = 2 * torch.rand(len(_hidden(trained.net).threshold), generator=generator) - 1
    other = rescaled(trained.net, torch.exp(exponent * math.log(LARGEST_FACTOR)))
    events = trained.prepared.calibration_events().float()
    ways = {
        "magnitude": (trained.net, "magnitude"),
        "magnitude, rescaled": (other, "magnitude"),
        "per threshold": (other, PerThreshold()),
        "orbit": (other, OrbitInvariant(events)),
        "random": (trained.net, "random"),
    }
    dense = trained.accuracy()
    difference = abs(_accuracy(other, trained) - dense)
    print(f"seed {seed}: dense {dense:.1%}, rescaled net differs by {difference:.2%}", flush=True)
    readout = [
        name for name, module in nn.Module.named_modules(trained.net) if isinstance(module, LinearTorch)
    ][-1]
    results = []
    for score, (net, criterion) in ways.items():
        for sparsity in SPARSITIES:
            pruned = copy.deepcopy(net)
            apply_masks(pruned, prune_masks(net, sparsity, criterion, exclude=[readout]))
            results.append(Result(seed, score, sparsity, dense, _accuracy(pruned, trained)))
    return results


def _trained(seed: int, options: argparse.Namespace) -> TrainedFloat:
    data = None if options.data is None else str(options.data.resolve())
    changes = {"seed": seed, "data.path": data, "network.recurrent": True, "training.epochs": options.epochs}
    with tempfile.TemporaryDirectory() as place:
        return stages.train(stages.load_recipe(options.recipe, changes), RunFolder(Path(place) / "run"))


def _hidden(net: nn.Module) -> LIFTorch:
    return next(m for m in nn.Module.modules(net) if isinstance(m, LIFTorch) and m.w_rec is not None)


def rescaled(net: nn.Module, factors: Tensor) -> nn.Module:
    """Return the net with other units of the hidden neurons' membranes."""
    net = copy.deepcopy(net)
    linear = next(m for m in nn.Module.modules(net) if isinstance(m, LinearTorch))
    neurons = _hidden(net)
    with torch.no_grad():
        for tensor in (linear.weight, neurons.w_rec, neurons.threshold, neurons.bias):
            tensor.mul_(factors)
    # The slope of the surrogate plays no part here: nothing is trained afterwards.
    return net


def _accuracy(net: nn.Module, trained: TrainedFloat) -> float:
    outputs = predict(net, torch.from_numpy(trained.prepared.test_events)).numpy()
    return accuracy(trained.prepared.readout.predict(outputs), trained.prepared.test_labels)


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table of medians over the seeds, with the range."""
    scores = list(dict.fromkeys(result.score for result in results))
    dense = [
        result.dense for result in results if result.score == scores[0] and result.sparsity == SPARSITIES[0]
    ]
    lines = [
        f"dense: median {median(dense):.1%} of {len(dense)} nets",
        "",
        "| sparsity | " + " | ".join(scores) + " |",
        "|---|" + "---|" * len(scores),
    ]
    for sparsity in SPARSITIES:
        cells = [
            _cell([r.pruned for r in results if r.score == score and r.sparsity == sparsity])
            for score in scores
        ]
        lines.append(f"| {sparsity} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    low, high = np.min(values), np.max(values)
    return f"{median(values):.1%} ({100 * low:.1f}-{100 * high:.1f})"


if __name__ == "__main__":
    main()
