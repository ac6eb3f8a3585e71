"""Angles between micro-teleportations and gradients (figure 4)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor

from snnkit.experiments.experiment import Context, Experiment
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.measurements.figures import legend_above
from snnkit.experiments.measurements.networks import Subject, batches_of, moved_parameters, subject
from snnkit.experiments.settings import BatchSizes, DataNames, ModelNames
from snnkit.recipes.schema import Limits
from snnkit.teleport import random
from snnkit.teleport.training import angle, generator_cosines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

WIDER = 10.0
"""A second range, in units of the first."""
PAIRS = {
    "micro and gradient": "teleportation of range {narrow:g}, gradient",
    "wider and gradient": "teleportation of range {wide:g}, gradient",
    "random and gradient": "random direction, gradient",
    "micro and random": "teleportation, random direction",
    "random and random": "two random directions",
}
READING = """\
A micro-teleportation is orthogonal to the gradient. In a space of many dimensions, so is almost any \
direction: the histograms of random pairs lie around 90 degrees as well, and their width is what it must \
be, 57.3 / sqrt(n) degrees for n parameters. What sets the orbit apart is how narrow its histogram is, and \
the limit: the direction in which the orbit leaves the network has a cosine of zero with the gradient, to \
rounding. What remains at a finite range is the curvature of the orbit, and grows with the range. Nothing \
of this says how training would go on."""


@dataclass(frozen=True)
class Settings:
    """Which networks, on what, and how many draws."""

    models: ModelNames = ("MLP", "VGG11")
    data: DataNames = ("digits", "random")
    batch_sizes: BatchSizes = (8, 64)
    draws: Annotated[int, Limits(low=2)] = 30
    cob_range: Annotated[float, Limits(above=0.0, high=0.05)] = 0.001
    small: bool = True


def run(settings: Settings, context: Context) -> Findings:
    """Measure all networks on all data."""
    found = [
        _measured(model, data, size, settings, context)
        for model in settings.models
        for data in settings.data
        for size in settings.batch_sizes
    ]
    return Findings(READING, {"panels": found}, (_table(found),), tuple(_checks(found)))


def _measured(model: str, data: str, batch_size: int, settings: Settings, context: Context) -> dict[str, Any]:
    net = subject(model, data, context, small=settings.small)
    draw = context.generator("draws", model, data, batch_size)
    angles: dict[str, list[float]] = {pair: [] for pair in PAIRS}
    cosines = []
    context.progress.start(f"{model}, {data}, batches of {batch_size}", settings.draws)
    for done in range(settings.draws):
        loss = net.loss(batches_of(net.data.train, batch_size, 1, draw))
        gradient, before = loss.gradients(), net.parameters
        seed = int(torch.randint(2**62, (), generator=draw))
        micro, wider = (_way(net, settings.cob_range * factor, seed) for factor in (1.0, WIDER))
        one, two = (_random_direction(before, draw) for _ in range(2))
        pairs = (micro, gradient), (wider, gradient), (one, gradient), (micro, one), (one, two)
        for name, pair in zip(PAIRS, pairs, strict=True):
            angles[name].append(angle(*pair))
        cosines.append(float(generator_cosines(net.symmetries, loss, 1, draw).abs()))
        context.progress.advance(done + 1)
    context.progress.finish(f"largest cosine of the generator {max(cosines):.0e}")
    facts = {"model": model, "data": data, "batch_size": batch_size, "range": settings.cob_range}
    size = sum(p.numel() for p in net.parameters.values())
    found = {"parameters": size, "angles": angles, "generator_cosine": max(cosines)}
    return {key: to_plain(value) for key, value in {**facts, **found}.items()}


def _way(net: Subject, cob_range: float, seed: int) -> dict[str, Tensor]:
    """Return the displacement by a random element; equal seeds differ in their range only."""
    element = random(net.symmetries, cob_range, generator=torch.Generator().manual_seed(seed))
    before = net.parameters
    return {name: value - before[name] for name, value in moved_parameters(before, element).items()}


def _random_direction(like: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    return {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in like.items()}


def _title(panel: Mapping[str, Any]) -> str:
    return f"{panel['model']}, {panel['data']}, batch {panel['batch_size']}"


def _deviation(angles: Sequence[float]) -> float:
    """Root mean square of the distance from 90 degrees."""
    return math.sqrt(sum((angle - 90.0) ** 2 for angle in angles) / len(angles))


def _table(panels: Sequence[Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            _title(p),
            p["parameters"],
            *(_deviation(p["angles"][pair]) for pair in PAIRS),
            p["generator_cosine"],
        )
        for p in panels
    )
    columns = ("network", "parameters", *PAIRS, "largest cosine, generator and gradient")
    return Table("Root mean square distance from 90 degrees", columns, rows)


def _checks(panels: Sequence[Mapping[str, Any]]) -> Iterator[Check]:
    for panel in panels:
        title, angles = _title(panel), panel["angles"]
        yield Check(
            f"{title}: cosine of generator and gradient",
            panel["generator_cosine"],
            1e-12,
            relation="at most",
            law="the loss is constant along the orbit",
        )
        ratio = _deviation(angles["wider and gradient"]) / _deviation(angles["micro and gradient"])
        yield Check(
            f"{title}: distance from 90 degrees, ten times the range",
            ratio,
            WIDER,
            0.1 * WIDER,
            law="curvature of the orbit: linear in the range",
        )
        count = len(angles["random and random"])
        expected = math.degrees(1.0 / math.sqrt(panel["parameters"]))
        yield Check(
            f"{title}: distance from 90 degrees, random directions",
            _deviation(angles["random and random"]),
            expected,
            4.0 * expected / math.sqrt(2 * count),
            law="57.3 / sqrt(parameters)",
        )


def draw(findings: Findings) -> dict[str, "Figure"]:
    """Draw histograms of the angles, one row for each network."""
    from snnkit.report.style import bare, new_figure

    panels = findings.data["panels"]
    figure = new_figure(520, 60 + 85 * len(panels))
    rows = figure.subplots(len(panels), 2, squeeze=False)
    for (left, right), panel in zip(rows, panels, strict=True):
        _histograms(bare(left), panel, ("random and random", "micro and random", "random and gradient"))
        _histograms(bare(right), panel, ("wider and gradient", "micro and gradient"))
        left.set_title(_title(panel))
    for axes in rows[-1]:
        axes.set_xlabel("angle - 90 degrees")
    legend_above(figure, columns=2)
    return {"angles": figure}


def _histograms(axes: "Axes", panel: Mapping[str, Any], pairs: Sequence[str]) -> None:
    from snnkit.report.style import COLOURS

    colours = dict(zip(PAIRS, ("chip", "tuned", "bad", "ink", "float"), strict=True))
    limit = max(abs(angle - 90.0) for pair in pairs for angle in panel["angles"][pair])
    edges = [limit * (2.0 * i / 25 - 1.0) for i in range(26)]
    for pair in pairs:
        values = [angle - 90.0 for angle in panel["angles"][pair]]
        label = PAIRS[pair].format(narrow=panel["range"], wide=panel["range"] * WIDER)
        axes.hist(values, edges, histtype="step", color=COLOURS[colours[pair]], label=label, linewidth=1.1)
    axes.locator_params(nbins=5)
    axes.set_yticks([])


EXPERIMENT = Experiment(
    name="micro-teleportation",
    title="Angles between micro-teleportations and gradients (figure 4)",
    quick=Settings(),
    full=Settings(data=("cifar10", "random"), draws=100, small=False),
    run=run,
    draw=draw,
)
