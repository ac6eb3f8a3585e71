"""Accuracy by sparsity: pruned at once, retrained, pruned gradually, and sparse from the start."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import nn

from snnkit.experiments.experiment import Context, Experiment, seed_of
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.settings import DataName, ModelNames, Sparsities
from snnkit.experiments.sparsity.networks import (
    Network,
    Training,
    accuracy,
    dense_networks,
    network,
    one_network_of,
    percent,
    restored,
    train,
)
from snnkit.recipes.schema import Limits
from snnkit.sparse.pruning import (
    GradualPruning,
    MaskHolder,
    Masks,
    Random,
    SparseTraining,
    hold_masks,
    prune_masks,
    prune_weights,
    sparsity_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

WAYS = {
    "one shot": "smallest weights dropped, nothing trained",
    "retrained": "the same, then trained for as many epochs again",
    "gradual": "pruned along a cubic during those epochs",
    "static": "random places from the start (ERK), as many epochs in all",
    "RigL": "from the same random start, places change",
}


@dataclass(frozen=True)
class Settings:
    """What is compared.

    Args:
        networks: Names of models.
        data: Images for all of them.
        small: The narrow models, for quick runs.
        weights: The user's file of trained weights, for a single network; empty to train here.
        sparsities: Shares of the weights of all layers but norms that are gone.
        repeats: Networks of each kind, from seeds of their own.
        training: Of the dense network, and of each way after it; ways that start sparse get both budgets.
    """

    networks: ModelNames = ("MLP", "VGG11_bn")
    data: DataName = "digits"
    small: bool = True
    weights: str = ""
    sparsities: Sparsities = (
        0.5,
        0.8,
        0.9,
        0.95,
        0.98,
    )
    repeats: Annotated[int, Limits(low=1)] = 3
    training: Training = field(default_factory=lambda: Training(epochs=15))

    def __post_init__(self) -> None:
        one_network_of(self.weights, self.networks)


@dataclass(frozen=True)
class Task:
    """One network, one way, one sparsity."""

    net: Network
    training: Training
    way: str
    sparsity: float
    repeat: int
    dense: Path
    data: Path | None
    seed: int


def run(settings: Settings, context: Context) -> Findings:
    """Train the dense networks, then everything that starts from them."""
    nets = [Network(n, settings.data, settings.small, weights=settings.weights) for n in settings.networks]
    sparse = [(way, sparsity) for way in WAYS for sparsity in settings.sparsities]
    ways = [("dense", 0.0), ("dense, longer", 0.0), *sparse]
    tasks = []
    for net, repeat, dense in dense_networks(nets, settings.repeats, settings.training, context):
        seed = seed_of(context.seed, net.model, "sparse", repeat)
        tasks += [Task(net, settings.training, way, s, repeat, dense, context.data, seed) for way, s in ways]
    results = context.map(measure, tasks, "pruning and training")
    tables = tuple(_table(name, results, settings) for name in settings.networks)
    exact = max(abs(result["kept"] - result["wanted"]) for result in results)
    check = Check("weights kept, against the number asked for", exact, 0.0, law="size - round(sparsity size)")
    return Findings(_reading(results, settings), to_plain({"results": results}), tables, (check,))


def measure(task: Task) -> dict[str, Any]:
    """Return the test accuracy of one task, and how many weights it has."""
    model, split = restored(task.net, task.dense, task.data)
    budget = task.training
    if task.way in ("static", "RigL"):
        model = network(task.net, split, task.seed)
        budget = replace(budget, epochs=2 * budget.epochs)
    masks: Masks | None = None
    if task.way == "one shot":
        masks = prune_weights(model, task.sparsity)
    elif task.way != "dense":
        masks = train(
            model, split.train, budget, task.seed, prepare=lambda o, steps: _attached(model, task, o, steps)
        )
    size = sparsity_of(model).size
    return {
        "model": task.net.model,
        "way": task.way,
        "sparsity": task.sparsity,
        "repeat": task.repeat,
        "accuracy": accuracy(model, split.test),
        "kept": size if masks is None else sum(int(mask.sum()) for mask in masks.values()),
        "wanted": size - round(task.sparsity * size),
    }


def _attached(
    model: nn.Module, task: Task, optimizer: torch.optim.Optimizer, steps: int
) -> MaskHolder | None:
    """Attach what a way does to the training."""
    if task.way == "dense, longer":
        return None
    if task.way == "retrained":
        return hold_masks(model, prune_masks(model, task.sparsity), optimizer)
    if task.way == "gradual":
        end, every = max(1, round(0.7 * steps)), max(1, steps // 100)
        return GradualPruning(model, optimizer, task.sparsity, end=end, every=every)
    masks = prune_masks(model, task.sparsity, Random(task.seed), "erk")
    if task.way == "static":
        return hold_masks(model, masks, optimizer)
    end, every = max(1, round(0.75 * steps)), max(1, steps // 60)
    return SparseTraining(model, optimizer, masks=masks, end=end, every=every)


def _of(results: Sequence[Any], model: str, way: str, sparsity: float) -> list[float]:
    return [r["accuracy"] for r in results if (r["model"], r["way"], r["sparsity"]) == (model, way, sparsity)]


def _table(model: str, results: Sequence[Any], settings: Settings) -> Table:
    dense = _of(results, model, "dense", 0.0)
    longer = _of(results, model, "dense, longer", 0.0)
    empty = [None] * (len(settings.sparsities))
    rows: list[tuple[str | None, ...]] = [("dense", percent(dense), *empty)]
    rows.append(("dense, longer", percent(longer), *empty))
    for way in WAYS:
        rows.append((way, None, *(percent(_of(results, model, way, s)) for s in settings.sparsities)))
    columns = ("way", "dense", *(f"{s:.0%} sparse" for s in settings.sparsities))
    return Table(f"{model}: test accuracy in per cent, mean of {len(dense)}", columns, tuple(rows))


def _reading(results: Sequence[Any], settings: Settings) -> str:
    sentences = []
    for model in settings.networks:
        dense = fmean(_of(results, model, "dense, longer", 0.0))
        means = {way: [fmean(_of(results, model, way, s)) for s in settings.sparsities] for way in WAYS}
        for way, of_way in means.items():
            pairs = zip(settings.sparsities, of_way, strict=True)
            near = [sparsity for sparsity, mean in pairs if mean >= dense - 0.01]
            words = f"up to {max(near):.0%} sparsity" if near else "at none of these sparsities"
            sentences.append(f"{model}, {way}: within one point of dense {words}.")
    spread = "There is one network of each kind, so small differences say nothing."
    if settings.repeats > 1:
        spread = (
            f"Spreads are standard deviations over {settings.repeats} seeds: differences below about two of "
            "them say nothing."
        )
    return (
        "Sparsity is that of all weights of linear and convolutional layers together; norms and biases "
        f"stay. {' '.join(sentences)} Retrained and gradual nets have seen twice the epochs of the dense "
        "one; the nets that start sparse get the same total at once, and so does the row 'dense, longer', "
        "with which all are compared. One-shot pruning drops the smallest weights of the whole network. "
        f"{spread} Accuracy says nothing of speed or memory: see the experiment sparse-memory."
    )


def draw(findings: Findings) -> "dict[str, Figure]":
    """Draw accuracy over density, a panel for each network."""
    from snnkit.experiments.training.figures import lines, panels

    results = findings.data["results"]
    models = list(dict.fromkeys(r["model"] for r in results))
    figure, places = panels(len(models), list(WAYS))
    for axes, model in zip(places, models, strict=True):
        shares = sorted({r["sparsity"] for r in results if r["way"] in WAYS})
        series = {}
        for way in WAYS:
            values = [_of(results, model, way, s) for s in shares]
            error = [100 * stdev(v) if len(v) > 1 else 0.0 for v in values]
            series[way] = ([1 - s for s in shares], [100 * fmean(v) for v in values], error)
        lines(axes, series, list(WAYS))
        axes.axhline(100 * fmean(_of(results, model, "dense", 0.0)), color="#5c6672", linewidth=0.8)
        axes.set(
            title=model,
            xlabel="share of weights left",
            ylabel="test accuracy in per cent",
            xscale="log" if len(shares) > 1 else "linear",
        )
    return {"accuracy": figure}


EXPERIMENT = Experiment(
    name="sparse-baselines",
    # The baselines of ActuallySparse.
    title="Accuracy by sparsity: one shot, retrained, gradual, sparse from the start",
    quick=Settings(),
    full=Settings(
        data="cifar10",
        small=False,
        sparsities=(0.5, 0.8, 0.9, 0.95, 0.98, 0.99),
        training=Training(epochs=60, batch_size=128, learning_rate=1e-3),
    ),
    run=run,
    draw=draw,
)
