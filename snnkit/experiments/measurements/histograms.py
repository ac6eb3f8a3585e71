"""Histograms of the weights before and after a teleportation (figure 11)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from torch import Tensor

from snnkit.experiments.experiment import Context, Experiment
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.measurements.networks import Subject, moved_parameters, subject
from snnkit.experiments.settings import DataName, ModelNames
from snnkit.recipes.schema import Limits
from snnkit.teleport import Element, random, teleport
from snnkit.teleport.training import Layer, layer_of, weight_growth

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

LAYERS: tuple[Layer, ...] = ("first", "hidden", "last")
READING = """\
One function, two distributions of weights: from the uniform distribution of the initialisation to one with \
a narrow peak and long tails, because a weight is multiplied by the ratio of two random scales. The mean \
square grows by the same laws as that of the gradient, with the scales of input and output exchanged. So a \
teleported network is one that no usual initialisation draws, although it computes what one of those \
computes; and regularisers, quantisers and pruning that look at the size of weights see another network."""


@dataclass(frozen=True)
class Settings:
    """Which networks, how far, and how fine the histograms."""

    models: ModelNames = ("MLP", "VGG11")
    data: DataName = "digits"
    cob_range: Annotated[float, Limits(above=0.0, high=0.95)] = 0.9
    law_range: Annotated[float, Limits(above=0.0, high=0.95)] = 0.5
    """Of the draws that are held against the law; wide ranges have heavy tails, in which means converge
    slowly."""
    draws: Annotated[int, Limits(low=8)] = 200
    bins: Annotated[int, Limits(low=10)] = 61
    """At most; layers of few weights get fewer."""
    layers: Annotated[int, Limits(low=1)] = 4
    """Shown of each network: these many, from first to last."""
    small: bool = True


def run(settings: Settings, context: Context) -> Findings:
    """Draw one element of each network for the histograms, and many for the law."""
    found = [_measured(name, settings, context) for name in settings.models]
    return Findings(READING, to_plain({"networks": found}), (_table(found),), tuple(_checks(found)))


def _measured(name: str, settings: Settings, context: Context) -> dict[str, Any]:
    net = subject(name, settings.data, context, small=settings.small)
    before = net.parameters
    weights = [n for n in before if n.endswith("weight") and layer_of(net.symmetries, n) is not None]
    places = np.linspace(0, len(weights) - 1, min(settings.layers, len(weights))).round().astype(int)
    generator = context.generator("elements", name)
    element = random(net.symmetries, settings.cob_range, generator=generator)
    after = moved_parameters(before, element)
    layers = [_histogram(weights[i], before[weights[i]], after[weights[i]], settings.bins) for i in places]
    growths = _growths(net, weights, settings, generator)
    return {"model": name, "layers": layers, "growths": growths, "error": _output_error(net, element)}


def _output_error(net: Subject, element: Element) -> float:
    """Teleport the network itself and return the relative change of its outputs."""
    images = net.data.test.images.double()
    with torch.no_grad():
        net.model.eval()
        before = net.model(images)
        teleport(net.model, element)
        return float((net.model(images) - before).norm() / before.norm())


def _histogram(name: str, before: Tensor, after: Tensor, bins: int) -> dict[str, Any]:
    count = min(bins, max(10, round(math.sqrt(before.numel()))))
    edges = np.linspace(-1.0, 1.0, count + 1) * float(max(before.abs().max(), after.abs().quantile(0.995)))
    densities = {
        key: np.histogram(values.numpy().clip(edges[0], edges[-1]), edges, density=True)[0]
        for key, values in (("before", before), ("after", after))
    }
    return {"name": name, "edges": edges, **densities, "kurtosis": [_kurtosis(before), _kurtosis(after)]}


def _kurtosis(values: Tensor) -> float:
    """Return the fourth moment over the square of the second: 3 if normal, 1.8 if uniform."""
    centred = values - values.mean()
    return float(centred.pow(4).mean() / centred.pow(2).mean() ** 2)


def _growths(
    net: Subject, weights: Sequence[str], settings: Settings, generator: torch.Generator
) -> list[dict[str, Any]]:
    ratios: dict[Layer, list[float]] = {}
    before = {name: net.parameters[name] for name in weights}
    for _ in range(settings.draws):
        moved = moved_parameters(before, random(net.symmetries, settings.law_range, generator=generator))
        for layer in LAYERS:
            names = [name for name in weights if layer_of(net.symmetries, name) == layer]
            if names:
                squares = [sum(float(v[n].square().sum()) for n in names) for v in (moved, before)]
                ratios.setdefault(layer, []).append(squares[0] / squares[1])
    return [
        {
            "layer": layer, "range": settings.law_range, "measured": float(np.mean(values)),
            "error": float(np.std(values, ddof=1)) / math.sqrt(len(values)),
            "law": weight_growth(layer, settings.law_range),
        }
        for layer, values in ratios.items()
    ]  # fmt: skip


def _table(networks: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple((n["model"], layer["name"], *layer["kurtosis"]) for n in networks for layer in n["layers"])
    return Table("Kurtosis of the weights", ("network", "layer", "before", "after"), rows)


def _checks(networks: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    formulas = {"first": "1+s^2/3", "hidden": "(1+s^2/3)/(1-s^2)", "last": "1/(1-s^2)"}
    for network in networks:
        yield Check(
            f"{network['model']}: relative change of the outputs", network["error"], 1e-12,
            relation="at most", law="the same function",
        )  # fmt: skip
        for growth in network["growths"]:
            yield Check(
                f"{network['model']}, {growth['layer']} layer, range {growth['range']:g}: "
                "growth of the mean square of the weights",
                growth["measured"], growth["law"], 4.0 * growth["error"], law=formulas[growth["layer"]],
            )  # fmt: skip


def draw(findings: Findings) -> dict[str, "Figure"]:
    """Draw the histograms, one row for each network."""
    from snnkit.report.style import COLOURS, bare, new_figure

    networks = findings.data["networks"]
    columns = max(len(network["layers"]) for network in networks)
    figure = new_figure(540, 20 + 130 * len(networks))
    rows = figure.subplots(len(networks), columns, squeeze=False)
    for axes_of_row, network in zip(rows, networks, strict=True):
        for axes in axes_of_row[len(network["layers"]) :]:
            axes.set_visible(False)
        for axes, layer in zip(axes_of_row, network["layers"], strict=False):
            bare(axes)
            for key, colour in (("before", "float"), ("after", "bad")):
                axes.stairs(layer[key], layer["edges"], color=COLOURS[colour], label=key)
            axes.set_title(f"{network['model']}\n{layer['name']}", fontsize=8)
            axes.set_yticks([])
    rows[0][0].legend(fontsize=7, frameon=False)
    return {"weights": figure}


EXPERIMENT = Experiment(
    name="weight-histograms",
    title="Histograms of the weights before and after a teleportation (figure 11)",
    quick=Settings(),
    full=Settings(
        models=("MLP", "VGG16", "ResNet18", "DenseNet121"), data="cifar10", draws=1000, small=False
    ),
    run=run,
    draw=draw,
)
