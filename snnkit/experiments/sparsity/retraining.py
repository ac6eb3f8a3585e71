"""Prune-and-retrain loops: the original's, torch's own pruners, and snnkit's, at one budget of epochs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import nn
from torch.nn.utils import prune

from snnkit.experiments.experiment import Context, Experiment, seed_of
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.settings import DataName, ModelNames
from snnkit.experiments.sparsity.networks import (
    Network,
    Training,
    accuracy,
    dense_networks,
    one_network_of,
    percent,
    restored,
    train,
)
from snnkit.recipes.schema import Limits
from snnkit.sparse import convert_model, prune_sparse_model, set_global_k
from snnkit.sparse.memory import memory
from snnkit.sparse.pruning import (
    GradualPruning,
    MaskHolder,
    from_torch_prune,
    hold_masks,
    prune_masks,
    sparsity_of,
    torch_prune_masks,
)
from snnkit.utilities.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

WAYS = {
    "prune_sparse_model": "sparse layers; after each epoch every layer loses an equal share of what it has",
    "torch, one shot": "global_unstructured(L1) before the first epoch",
    "torch, each epoch": "global_unstructured(L1) after each epoch, by the same shares",
    "snnkit, one shot": "prune_masks and hold_masks before the first epoch",
    "snnkit, gradual": "GradualPruning, cubic over 70 % of the steps, dense layers",
    "snnkit, gradual, sparse": "the same on sparse layers",
}


@dataclass(frozen=True)
class Settings:
    """What is compared.

    Args:
        networks: Names of models; of each, the fully connected layers are pruned, as in the original.
        hidden: Neurons of their hidden fully connected layers.
        data: Images for all of them.
        small: The narrow models, for quick runs.
        weights: The user's file of trained weights, for a single network; empty to train here.
        sparsity: The share of these layers' weights that is gone in the end.
        prune_epochs: Epochs after which the loops prune; the rest only trains.
        repeats: Networks of each kind.
        training: Of the dense network, and of each loop.
    """

    networks: ModelNames = ("MLP", "VGG11_bn")
    hidden: tuple[int, ...] = (128, 128)
    data: DataName = "digits"
    small: bool = True
    weights: str = ""
    sparsity: Annotated[float, Limits(above=0.0, high=0.9999)] = 0.98
    prune_epochs: Annotated[int, Limits(low=1)] = 14
    repeats: Annotated[int, Limits(low=1)] = 3
    training: Training = field(default_factory=lambda: Training(epochs=20))

    def __post_init__(self) -> None:
        one_network_of(self.weights, self.networks)
        if self.prune_epochs > self.training.epochs:
            raise ConfigurationError(
                f"prune_epochs is {self.prune_epochs}; there are {self.training.epochs} epochs."
            )


@dataclass(frozen=True)
class Task:
    """One network, one loop."""

    net: Network
    settings: Settings
    way: str
    repeat: int
    dense: Path
    data: Path | None
    seed: int


def run(settings: Settings, context: Context) -> Findings:
    """Train the dense networks, then prune and retrain them in every way."""
    nets = [
        Network(n, settings.data, settings.small, settings.hidden, settings.weights)
        for n in settings.networks
    ]
    tasks = []
    for net, repeat, dense in dense_networks(nets, settings.repeats, settings.training, context):
        seed = seed_of(context.seed, net.model, "loops", repeat)
        tasks += [Task(net, settings, way, repeat, dense, context.data, seed) for way in WAYS]
    results = context.map(measure, tasks, "pruning and retraining")
    tables = tuple(_table(name, results) for name in settings.networks)
    return Findings(
        _reading(results, settings), to_plain({"results": results}), tables, tuple(_checks(results))
    )


def measure(task: Task) -> dict[str, Any]:
    """Run one loop; return the accuracies after each epoch, and what is left in the end."""
    model, split = restored(task.net, task.dense, task.data)
    before = accuracy(model, split.test)
    linear = [f"{path}.weight" for path, m in model.named_modules() if isinstance(m, nn.Linear)]
    loop = _Loop(model, linear, task)
    curve = [accuracy(model, split.validation)]
    seconds = []

    def after_epoch(epoch: int, optimizer: torch.optim.Optimizer) -> None:
        seconds.append(time.process_time() - loop.started)
        loop.after_epoch(epoch, optimizer)
        curve.append(accuracy(loop.model, split.validation))
        loop.started = time.process_time()

    masks = train(
        loop.model,
        split.train,
        task.settings.training,
        task.seed,
        prepare=loop.attach,
        after_epoch=after_epoch,
    )
    left = sum(int(mask.sum()) for mask in masks.values()) if masks is not None else loop.kept()
    model = loop.plain()
    return {
        "model": task.net.model,
        "way": task.way,
        "before": before,
        "accuracy": accuracy(model, split.test),
        "curve": curve,
        "seconds": median(seconds),
        "bytes": memory(model).total,
        "kept": left,
        "sparsity": task.settings.sparsity,
        "size": sparsity_of(model, linear).size,
    }


class _Loop:
    """What one way does before the first step and after each epoch."""

    def __init__(self, model: nn.Module, linear: list[str], task: Task) -> None:
        self.linear, self.way, self.settings = linear, task.way, task.settings
        on_sparse = task.way in ("prune_sparse_model", "snnkit, gradual, sparse")
        self.model = convert_model(model, nn.Linear, "csr") if on_sparse else model
        # Each pruning takes the same share of what is left.
        self.share = 1 - (1 - self.settings.sparsity) ** (1 / self.settings.prune_epochs)
        self.started = time.process_time()

    def attach(self, optimizer: torch.optim.Optimizer, steps: int) -> MaskHolder | None:
        if self.way == "torch, one shot":
            self._torch_prune(self.settings.sparsity)
        elif self.way == "snnkit, one shot":
            masks = prune_masks(self.model, self.settings.sparsity, names=self.linear, minimum=0)
            return hold_masks(self.model, masks, optimizer)
        elif self.way.startswith("snnkit, gradual"):
            end = max(1, round(0.7 * steps))
            return GradualPruning(
                self.model,
                optimizer,
                self.settings.sparsity,
                end=end,
                every=max(1, steps // 100),
                names=self.linear,
            )
        elif self.way == "prune_sparse_model":
            set_global_k(self.model, self.share)
        return None

    def after_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        if epoch > self.settings.prune_epochs:
            return
        if self.way == "prune_sparse_model":
            prune_sparse_model(self.model, optimizer=optimizer)
        elif self.way == "torch, each epoch":
            self._torch_prune(self.share)

    def _torch_prune(self, amount: float) -> None:
        layers = [self.model.get_submodule(name.removesuffix(".weight")) for name in self.linear]
        prune.global_unstructured([(m, "weight") for m in layers], prune.L1Unstructured, amount=amount)

    def kept(self) -> int:
        masks = torch_prune_masks(self.model)
        if masks:
            return sum(int(mask.sum()) for mask in masks.values())
        return sparsity_of(self.model, self.linear).kept

    def plain(self) -> nn.Module:
        """Return the network as it would be deployed: masks of torch turned into zeros."""
        from_torch_prune(self.model)
        return self.model


def _of(results: Sequence[Any], model: str, way: str, key: str) -> list[Any]:
    return [r[key] for r in results if (r["model"], r["way"]) == (model, way)]


def _table(model: str, results: Sequence[Any]) -> Table:
    dense = _of(results, model, next(iter(WAYS)), "before")
    rows: list[tuple[str | float | None, ...]] = [("dense", percent(dense), None, None, None)]
    for way in WAYS:
        kept, size = _of(results, model, way, "kept")[0], _of(results, model, way, "size")[0]
        rows.append(
            (
                way,
                percent(_of(results, model, way, "accuracy")),
                f"{1 - kept / size:.2%}",
                round(1e3 * median(_of(results, model, way, "seconds"))),
                round(_of(results, model, way, "bytes")[0] / 1024, 1),
            )
        )
    columns = ("loop", "test accuracy in per cent", "sparsity", "CPU ms of an epoch", "KiB of the model")
    return Table(f"{model}: fully connected layers pruned, mean of {len(dense)}", columns, tuple(rows))


def _checks(results: Sequence[Any]) -> list[Check]:
    checks = []
    for way in WAYS:
        if way.startswith("snnkit"):
            of_way = [r for r in results if r["way"] == way]
            worst = max(abs(r["kept"] - (r["size"] - round(r["sparsity"] * r["size"]))) for r in of_way)
            checks.append(Check(f"weights kept by {way}, against those asked for", worst, 0.0))
    return checks


def _reading(results: Sequence[Any], settings: Settings) -> str:
    sentences = []
    for model in settings.networks:
        means = {way: fmean(_of(results, model, way, "accuracy")) for way in WAYS}
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        sentences.append(
            f"{model}: from {100 * means[worst]:.1f} ({worst}) to {100 * means[best]:.1f} per cent ({best})."
        )
    return (
        f"All loops start from the same dense networks, get {settings.training.epochs} epochs on the same "
        f"batches and end at {settings.sparsity:.0%} sparsity of the fully connected layers. "
        f"{' '.join(sentences)} torch.nn.utils.prune holds a mask beside each dense weight: its network is "
        "as large as the dense one when it is made plain, and larger before; sparse layers store what is "
        "left. One-shot pruning by torch and by snnkit choose the same weights, and the loss sees the same "
        "network; prune_sparse_model takes the same share of every layer, the others the smallest weights "
        "wherever they are. Times are those of small layers on one thread and are no benchmark."
    )


def draw(findings: Findings) -> "dict[str, Figure]":
    """Draw validation accuracy by epoch, a panel for each network."""
    from snnkit.experiments.training.figures import lines, panels

    results = findings.data["results"]
    models = list(dict.fromkeys(r["model"] for r in results))
    figure, places = panels(len(models), list(WAYS))
    for axes, model in zip(places, models, strict=True):
        series = {}
        for way in WAYS:
            curves = torch.tensor(_of(results, model, way, "curve")) * 100
            error = curves.std(0) if len(curves) > 1 else torch.zeros(curves.shape[1])
            series[way] = (list(range(curves.shape[1])), curves.mean(0).tolist(), error.tolist())
        lines(axes, series, list(WAYS))
        axes.set(title=model, xlabel="epoch", ylabel="validation accuracy in per cent")
    return {"loops": figure}


EXPERIMENT = Experiment(
    name="sparse-retraining",
    title="Prune-and-retrain loops against torch's own pruners (ActuallySparse's training loop)",
    quick=Settings(),
    full=Settings(
        networks=("VGG11_bn",),
        hidden=(4096, 4096),
        data="cifar10",
        small=False,
        sparsity=0.99,
        training=Training(epochs=30, batch_size=128, learning_rate=3e-4),
        prune_epochs=21,
    ),
    run=run,
    draw=draw,
)
