"""How much a teleportation changes the gradient, against its range (figure 7)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor

from snnkit.experiments.experiment import Context, Experiment
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.measurements.networks import Subject, batches_of, moved_parameters, subject
from snnkit.experiments.settings import DataName, ModelNames
from snnkit.recipes.schema import Limits
from snnkit.teleport import random
from snnkit.teleport.training import Layer, LossOnBatches, gradient_growth, layer_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

READING = """\
Gradients grow with the range of a teleportation, in every network, by the law of the layer: a weight whose \
scale is c has a gradient of 1 / c, and the mean of 1 / c^2 is more than one. It is a law of random \
numbers, not of the network, the data or the loss. A step of gradient descent from there is, seen from the \
place before, a step with the learning rate divided by c^2, for each weight its own; see the experiment \
learning-rate for what a tuned one gives."""
LAYERS: tuple[Layer, ...] = ("first", "hidden", "last")


@dataclass(frozen=True)
class Settings:
    """Which networks, which ranges, and how many draws."""

    models: ModelNames = ("MLP", "VGG11", "ResNet18", "DenseNet121")
    data: DataName = "digits"
    ranges: Annotated[tuple[float, ...], Limits(above=0.0, high=0.95, fewest=1)] = (
        0.01, 0.07, 0.14, 0.2, 0.26, 0.33, 0.39, 0.46, 0.52, 0.58, 0.65, 0.71, 0.77, 0.84, 0.9,
    )  # fmt: skip
    draws: Annotated[int, Limits(low=2)] = 20
    law_draws: Annotated[int, Limits(low=8)] = 200
    """Of the first of the networks, at three ranges, for the comparison with the law."""
    law_ranges: Annotated[tuple[float, ...], Limits(above=0.0, high=0.95)] = (0.3, 0.5, 0.7)
    batch_size: Annotated[int, Limits(low=1)] = 64
    small: bool = True


def run(settings: Settings, context: Context) -> Findings:
    """Measure all networks, and hold the first against the law."""
    curves = [_curve(name, settings, context) for name in settings.models]
    laws = _growths(settings, context)
    return Findings(
        READING, to_plain({"curves": curves, "laws": laws}), (_table(curves, settings),), tuple(_checks(laws))
    )


def _loss(net: Subject, settings: Settings, context: Context) -> LossOnBatches:
    batches = batches_of(net.data.train, settings.batch_size, 1, context.generator("batch", net.name))
    return net.loss(batches)


def _gradients_at(loss: LossOnBatches, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients at other parameters, by backward passes there: the law is not put in."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    found = torch.autograd.grad(loss.value(leaves), list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def _curve(name: str, settings: Settings, context: Context) -> dict[str, Any]:
    """Return the change of the gradient's norm in units of the weights' norm, for each range."""
    net = subject(name, settings.data, context, small=settings.small)
    loss, parameters = _loss(net, settings, context), net.parameters
    before = _norm(loss.gradients()) / _norm(parameters)
    generator = context.generator("elements", name)
    means, errors = [], []
    context.progress.start(f"{name}: {net.symmetries.n_scales} scales", len(settings.ranges))
    for done, cob_range in enumerate(settings.ranges):
        found = []
        for _ in range(settings.draws):
            moved = moved_parameters(parameters, random(net.symmetries, cob_range, generator=generator))
            found.append(abs(_norm(_gradients_at(loss, moved)) / _norm(moved) - before))
        means.append(_mean(found))
        errors.append(_error(found))
        context.progress.advance(done + 1)
    context.progress.finish()
    return {"model": name, "before": before, "ranges": settings.ranges, "change": means, "error": errors}


def _growths(settings: Settings, context: Context) -> list[dict[str, Any]]:
    """Return measured and expected growth of the squared gradient norm of every kind of layer."""
    net = subject(settings.models[0], settings.data, context, small=settings.small)
    loss, parameters = _loss(net, settings, context), net.parameters
    gradients = loss.gradients()
    layers = {name: layer_of(net.symmetries, name) for name in gradients if name.endswith("weight")}
    found = []
    for cob_range in settings.law_ranges:
        generator = context.generator("law", str(cob_range))
        ratios: dict[Layer, list[float]] = {layer: [] for layer in LAYERS}
        for _ in range(settings.law_draws):
            element = random(net.symmetries, cob_range, generator=generator)
            moved = _gradients_at(loss, moved_parameters(parameters, element))
            for layer, values in ratios.items():
                names = [name for name, kind in layers.items() if kind == layer]
                if names:
                    values.append((_norm(moved, names) / _norm(gradients, names)) ** 2)
        found += [
            {
                "model": net.name, "layer": layer, "range": cob_range, "measured": _mean(values),
                "error": _error(values), "law": gradient_growth(layer, cob_range),
            }
            for layer, values in ratios.items()
            if values
        ]  # fmt: skip
    return found


def _norm(values: Mapping[str, Tensor], names: Sequence[str] | None = None) -> float:
    chosen = values.values() if names is None else [values[name] for name in names]
    return math.sqrt(sum(float(value.square().sum()) for value in chosen))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean."""
    return float(torch.tensor(values, dtype=torch.float64).std()) / math.sqrt(len(values))


def _table(curves: Sequence[Mapping[str, Any]], settings: Settings) -> Table:
    shown = (0, len(settings.ranges) // 2, len(settings.ranges) - 1)
    rows = tuple((c["model"], c["before"], *(c["change"][i] for i in shown)) for c in curves)
    columns = ("network", "before", *(f"change at range {settings.ranges[i]:g}" for i in shown))
    return Table("Norm of the gradient in units of the norm of the weights", columns, rows)


def _checks(laws: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    formulas = {"first": "1/(1-s^2)", "hidden": "(1+s^2/3)/(1-s^2)", "last": "1+s^2/3"}
    for law in laws:
        yield Check(
            f"{law['model']}, {law['layer']} layer, range {law['range']:g}: squared gradient norm grows by",
            law["measured"], law["law"], 4.0 * law["error"], law=formulas[law["layer"]],
        )  # fmt: skip


def draw(findings: Findings) -> dict[str, "Figure"]:
    """Draw the change against the range, and the growth of each kind of layer against the law."""
    from snnkit.report.style import COLOURS, bare, new_figure

    figure = new_figure(520, 230)
    left, right = figure.subplots(1, 2)
    bare(left, grid="y")
    colours = [COLOURS[name] for name in ("chip", "tuned", "bad", "float", "ink", "muted")]
    for i, curve in enumerate(findings.data["curves"]):
        relative = [change / curve["before"] for change in curve["change"]]
        left.plot(curve["ranges"], relative, color=colours[i % len(colours)], label=curve["model"])
    left.set_title("relative change of the gradient norm")
    left.set_xlabel("range")
    left.legend(fontsize=7, frameon=False)
    bare(right, grid="y")
    ranges = [i / 100.0 for i in range(81)]
    for layer, colour in zip(LAYERS, colours, strict=False):
        law = [gradient_growth(layer, s) for s in ranges]
        right.plot(ranges, law, color=colour, label=f"{layer} layer: law, and measured")
        points = [found for found in findings.data["laws"] if found["layer"] == layer]
        right.errorbar(
            [p["range"] for p in points], [p["measured"] for p in points], [4.0 * p["error"] for p in points],
            fmt="o", markersize=3, color=colour,
        )  # fmt: skip
    right.set_title("growth of the squared gradient norm")
    right.set_xlabel("range")
    right.legend(fontsize=7, frameon=False)
    return {"gradient-change": figure}


EXPERIMENT = Experiment(
    name="gradient-change",
    title="How much a teleportation changes the gradient (figure 7)",
    quick=Settings(),
    full=Settings(data="cifar10", draws=100, law_draws=1000, batch_size=256, small=False),
    run=run,
    draw=draw,
)
