"""Loss and accuracy between two trained networks, before and after teleporting them (figure 5)."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from snnkit.experiments.data import LabelledImages
from snnkit.experiments.experiment import Context, Experiment
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.measurements.figures import legend_above, plain_log
from snnkit.experiments.measurements.networks import (
    Subject,
    batches_of,
    cross_entropy,
    moved_parameters,
    subject,
)
from snnkit.experiments.settings import BatchSizes, DataName, ModelName
from snnkit.recipes.schema import Limits
from snnkit.teleport import random
from snnkit.utilities.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

PATHS = {
    "before": "between A and B",
    "apart": "teleported, each by its own element",
    "together": "teleported, both by the same element",
}
READING = """\
All three paths end at the same two functions, with the same losses. With two different elements the \
highest loss between them is {apart:.3g}, with none {before:.3g}, and the curvature of the loss at the \
ends, in units of the path's length, goes from {flat:.3g} to {sharp:.3g}. With one and the same element \
nothing changes at all: an element is a linear map and takes the straight line between A and B to the \
straight line between their images. So how sharp such a profile looks is a property of the places on two \
orbits at which the functions were put, not of the functions: it says nothing of how well they generalise, \
and a comparison of A with B by the same profile has the same flaw."""

Ends = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Parameters of the two networks."""
Profiles = Mapping[str, Sequence[Mapping[str, list[float]]]]
"""Kind of path -> for each pair of elements the places, losses and accuracies along it."""


@dataclass(frozen=True)
class Settings:
    """How the two networks are trained, and how finely the paths are looked at."""

    model: ModelName = "MLP"
    data: DataName = "digits"
    batch_sizes: BatchSizes = (8, 1024)
    steps: Annotated[int, Limits(low=1)] = 1500
    """Of each of them: not epochs, of which the larger batches would need many more."""
    learning_rates: Annotated[tuple[float, ...], Limits(above=0.0)] = (0.01, 0.1)
    momentum: Annotated[float, Limits(low=0.0, high=0.99)] = 0.9
    cob_range: Annotated[float, Limits(above=0.0, high=0.99)] = 0.9
    points: Annotated[int, Limits(low=5)] = 31
    elements: Annotated[int, Limits(low=1)] = 5
    small: bool = True

    def __post_init__(self) -> None:
        if len(self.batch_sizes) != 2 or len(self.learning_rates) != 2:
            raise ConfigurationError(
                f"batch_sizes are {self.batch_sizes}, learning_rates {self.learning_rates}: the two networks "
                "have one each."
            )


def run(settings: Settings, context: Context) -> Findings:
    """Train both networks, teleport them and follow the paths between them."""
    net = subject(settings.model, settings.data, context, small=settings.small)
    if any(True for _ in net.model.buffers()):
        raise ConfigurationError(
            f"{settings.model} has running statistics, which belong to no place between two networks; "
            "choose a model without batch normalisation."
        )
    ends = (_trained(net, 0, settings, context), _trained(net, 1, settings, context))
    profiles = {"before": [_profile(net, ends, settings.points)]}
    for kind in ("apart", "together"):
        profiles[kind] = [
            _profile(net, _teleported(net, ends, kind == "apart", settings.cob_range, draw), settings.points)
            for draw in (context.generator("elements", i) for i in range(settings.elements))
        ]
    return Findings(
        _reading(profiles),
        to_plain({"settings": {"batch_sizes": settings.batch_sizes}, "profiles": profiles}),
        (_table(profiles),),
        tuple(_checks(profiles)),
    )


def _trained(net: Subject, which: int, settings: Settings, context: Context) -> dict[str, Tensor]:
    """Return the parameters of a copy of the network after training."""
    model, images = copy.deepcopy(net.model), net.data.train
    size, rate = settings.batch_sizes[which], settings.learning_rates[which]
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=settings.momentum)
    order = context.generator("batches", which)
    context.progress.start(f"training with batches of {size}", settings.steps)
    for done in range(settings.steps):
        [batch] = batches_of(images, min(size, len(images)), 1, order)
        optimiser.zero_grad()
        loss = cross_entropy(model, batch)
        loss.backward()
        optimiser.step()
        if done % 50 == 0:
            context.progress.advance(done, f"loss {float(loss.detach()):.3f}")
    context.progress.finish()
    return {name: p.detach() for name, p in model.named_parameters()}


def _teleported(net: Subject, ends: Ends, apart: bool, cob_range: float, generator: torch.Generator) -> Ends:
    first = random(net.symmetries, cob_range, generator=generator)
    second = random(net.symmetries, cob_range, generator=generator) if apart else first
    return moved_parameters(ends[0], first), moved_parameters(ends[1], second)


def _profile(net: Subject, ends: Ends, points: int) -> dict[str, list[float]]:
    places = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    found: dict[str, list[float]] = {"place": places.tolist(), "loss": [], "accuracy": []}
    for place in places:
        between = {name: value.lerp(ends[1][name], place) for name, value in ends[0].items()}
        found["loss"].append(_evaluated(net.model, between, net.data.train)[0])
        found["accuracy"].append(_evaluated(net.model, between, net.data.test)[1])
    return found


@torch.no_grad()
def _evaluated(
    model: nn.Module, parameters: dict[str, Tensor], images: LabelledImages
) -> tuple[float, float]:
    """Return loss and accuracy."""
    loss, right = 0.0, 0
    for place in range(0, len(images), 1024):
        part = images[place : place + 1024]
        logits = functional_call(model, parameters, (part.images.double(),))
        loss += float(nn.functional.cross_entropy(logits, part.labels, reduction="sum"))
        right += int((logits.argmax(1) == part.labels).sum())
    return loss / len(images), right / len(images)


def _reading(profiles: Profiles) -> str:
    before = profiles["before"][0]["loss"]
    apart = [profile["loss"] for profile in profiles["apart"]]
    return READING.format(
        before=_inner(before),
        apart=_mean([_inner(losses) for losses in apart]),
        flat=_curvature(before),
        sharp=_mean([_curvature(losses) for losses in apart]),
    )


def _inner(losses: Sequence[float]) -> float:
    """Return the highest loss between the ends."""
    return max(losses[1:-1])


def _table(profiles: Profiles) -> Table:
    rows = tuple(
        (
            words,
            _mean([p["loss"][0] for p in profiles[kind]]),
            _mean([p["loss"][-1] for p in profiles[kind]]),
            _mean([_inner(p["loss"]) for p in profiles[kind]]),
            _mean([min(p["accuracy"]) for p in profiles[kind]]),
            _mean([_curvature(p["loss"]) for p in profiles[kind]]),
        )
        for kind, words in PATHS.items()
    )
    columns = (
        "path",
        "loss of A",
        "loss of B",
        "highest loss between",
        "lowest accuracy",
        "curvature at the ends",
    )
    return Table("Training loss and test accuracy along the paths, means over elements", columns, rows)


def _curvature(losses: Sequence[float]) -> float:
    """Mean second difference at the two ends, in units of the path's length squared."""
    step = 1.0 / (len(losses) - 1)
    first, last = losses[0] - 2 * losses[1] + losses[2], losses[-1] - 2 * losses[-2] + losses[-3]
    return (first + last) / (2.0 * step**2)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _checks(profiles: Profiles) -> list[Check]:
    before = profiles["before"][0]["loss"]
    apart = [p["loss"] for p in profiles["apart"]]
    ends = max(abs(losses[i] - before[i]) / abs(before[i]) for losses in apart for i in (0, -1))
    same = max(
        abs(a - b) / max(abs(b), 1e-300)
        for p in profiles["together"]
        for a, b in zip(p["loss"], before, strict=True)
    )
    higher = _mean([math.log(_inner(losses) / _inner(before)) for losses in apart])
    return [
        Check(
            "relative change of the ends' losses", ends, 1e-9, relation="at most", law="the same functions"
        ),
        Check(
            "relative change of the path under one element",
            same,
            1e-9,
            relation="at most",
            law="an element is linear: a line goes to a line",
        ),
        Check(
            "log ratio of the highest losses, two elements and none",
            higher,
            0.0,
            relation="at least",
            law="claim of figure 5: the path gets higher",
        ),
    ]


def draw(findings: Findings) -> dict[str, "Figure"]:
    """Draw loss and accuracy along the three paths."""
    from snnkit.report.style import COLOURS, bare, new_figure

    figure = new_figure(520, 230)
    left, right = figure.subplots(1, 2)
    first, second = findings.data["settings"]["batch_sizes"]
    for axes, key, words in ((left, "loss", "training loss"), (right, "accuracy", "test accuracy")):
        bare(axes, grid="y")
        for (kind, label), colour in zip(PATHS.items(), ("ink", "bad", "chip"), strict=True):
            for i, profile in enumerate(findings.data["profiles"][kind]):
                axes.plot(
                    profile["place"],
                    profile[key],
                    color=COLOURS[colour],
                    label=label if i == 0 else None,
                    linestyle="--" if kind == "together" else "-",
                    linewidth=1.0 if kind == "apart" else 2.0,
                )
        axes.set_title(words)
        axes.set_xticks([0, 1], [f"A, batch {first}", f"B, batch {second}"])
    left.set_yscale("log")
    plain_log(left.yaxis)
    legend_above(figure, columns=3)
    return {"profiles": figure}


EXPERIMENT = Experiment(
    name="interpolation-flatness",
    title="Loss between two trained networks, before and after teleporting them (figure 5)",
    quick=Settings(),
    full=Settings(data="cifar10", steps=50_000, points=101, elements=10, small=False),
    run=run,
    draw=draw,
)
