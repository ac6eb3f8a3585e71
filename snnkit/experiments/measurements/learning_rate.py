"""What a tuned learning rate gives, beside what teleporting before the first step gives."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import Tensor, nn

from snnkit.experiments.data import LabelledImages
from snnkit.experiments.experiment import Context, Experiment
from snnkit.experiments.findings import Check, Findings, Table, to_plain
from snnkit.experiments.measurements.figures import legend_above, plain_log
from snnkit.experiments.measurements.networks import Subject, cross_entropy, subject
from snnkit.experiments.settings import DataName, ModelName
from snnkit.recipes.schema import Limits
from snnkit.teleport import Element, identity, random
from snnkit.teleport.training import GradientNorm, Transport, find_element, moves_of, teleport_in_training
from snnkit.utilities.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "Settings"]

ARMS = {"none": "not teleported", "random": "random place", "steepest": "steepest place found"}
READING = """\
At one small learning rate a network that was teleported before its first step trains faster: its gradients \
are larger. But a step of gradient descent from c p is, seen from p, a step with the learning rate divided \
by c^2, for each weight its own: the first check holds the two together to rounding. So at one learning \
rate two learning rates are compared. With the learning rate that the validation loss chooses, the \
validation losses are {losses}. The largest learning rate of the grid at which the training loss fell below \
half that of guessing was {limits}. With the optimiser transported transparently nothing changes at all \
(second check). What a teleportation leaves beyond a tuned learning rate is one of each weight, chosen at \
random or by the gradient: a preconditioner."""


@dataclass(frozen=True)
class Settings:
    """How the networks are trained."""

    model: ModelName = "MLP"
    data: DataName = "digits"
    rates: Annotated[tuple[float, ...], Limits(above=0.0, fewest=1)] = (
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    )  # fmt: skip
    steps: Annotated[int, Limits(low=2)] = 100
    """Of gradient descent on all training images, or on batches."""
    batch_size: Annotated[int, Limits(low=1)] = 2048
    elements: Annotated[int, Limits(low=1)] = 3
    cob_range: Annotated[float, Limits(above=0.0, high=0.95)] = 0.9
    max_scale: Annotated[float, Limits(above=1.0)] = 4.0
    """Largest scale of the steepest place, and the inverse of the smallest."""
    small: bool = True


def run(settings: Settings, context: Context) -> Findings:
    """Train every arm with every learning rate."""
    net = subject(settings.model, settings.data, context, small=settings.small)
    places = _places(net, settings, context)
    context.progress.start("training", len(settings.rates) * sum(len(e) for e in places.values()))
    done, results = 0, []
    for arm, elements in places.items():
        for element in elements:
            for rate in settings.rates:
                model = _trained(net, (element, "kick"), rate, settings, context)
                results.append({"arm": arm, "rate": rate, **_outcome(net, model)})
                done += 1
                context.progress.advance(done, f"{ARMS[arm]}, learning rate {rate:g}")
    context.progress.finish()
    best = {arm: _best([r for r in results if r["arm"] == arm]) for arm in ARMS}
    return Findings(
        _reading(results, best, net.data.classes), to_plain({"results": results, "best": best}),
        (_table(results, best, settings),), tuple(_checks(net, places["random"][0], settings, context)),
    )  # fmt: skip


def _places(net: Subject, settings: Settings, context: Context) -> dict[str, list[Element]]:
    generator = context.generator("elements")
    first = _batch(net.data.train, settings.batch_size, context.generator("batches"))
    steepest = find_element(
        net.symmetries, GradientNorm(net.loss([first])), max_log_scale=math.log(settings.max_scale)
    )
    drawn = [
        random(net.symmetries, settings.cob_range, generator=generator) for _ in range(settings.elements)
    ]
    return {"none": [identity(net.symmetries)], "random": drawn, "steepest": [steepest.element]}


def _trained(
    net: Subject, start: tuple[Element, Transport], rate: float, settings: Settings, context: Context
) -> nn.Module:
    model, (element, mode) = copy.deepcopy(net.model), start
    optimiser = torch.optim.SGD(model.parameters(), rate)
    teleport_in_training(model, element, optimiser, mode)
    order = context.generator("batches")
    for _ in range(settings.steps):
        optimiser.zero_grad()
        cross_entropy(model, _batch(net.data.train, settings.batch_size, order)).backward()
        optimiser.step()
    return model


def _batch(images: LabelledImages, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    part = torch.randperm(len(images), generator=generator)[:size]
    return images.images[part].double(), images.labels[part]


@torch.no_grad()
def _outcome(net: Subject, model: nn.Module) -> dict[str, float]:
    """Return losses of training and validation images, and the accuracy on test images."""
    found = {}
    for part in ("train", "validation", "test"):
        images: LabelledImages = getattr(net.data, part)
        logits = model(images.images.double())
        found[f"{part}_loss"] = float(nn.functional.cross_entropy(logits, images.labels))
        found[f"{part}_accuracy"] = float((logits.argmax(1) == images.labels).double().mean())
    return found


def _best(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return means over the elements at the learning rate that the validation loss chooses."""
    finite = [mean for mean in _means(results) if math.isfinite(mean["validation_loss"])]
    if not finite:
        raise ConfigurationError("Training diverged at every learning rate; give smaller rates.")
    return min(finite, key=lambda mean: mean["validation_loss"])


def _means(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_mean_at(results, rate) for rate in dict.fromkeys(r["rate"] for r in results)]


def _mean_at(results: Sequence[Mapping[str, Any]], rate: float) -> dict[str, Any]:
    here = [r for r in results if r["rate"] == rate]
    keys = [key for key in here[0] if key not in ("arm", "rate")]
    return {"rate": rate, **{key: sum(r[key] for r in here) / len(here) for key in keys}}


def _reading(
    results: Sequence[Mapping[str, Any]], best: Mapping[str, Mapping[str, Any]], classes: int
) -> str:
    losses = [f"{best[arm]['validation_loss']:.3f} ({words})" for arm, words in ARMS.items()]
    limits = []
    for arm, words in ARMS.items():
        means = _means([r for r in results if r["arm"] == arm])
        stable = [mean["rate"] for mean in means if mean["train_loss"] < 0.5 * math.log(classes)]
        limits.append(f"{max(stable, default=0.0):g} ({words})")
    return READING.format(losses=", ".join(losses), limits=", ".join(limits))


def _table(results: Sequence[Mapping[str, Any]], best: Mapping[str, Any], settings: Settings) -> Table:
    small = settings.rates[len(settings.rates) // 3]
    rows = tuple(
        (
            words,
            _mean_at([r for r in results if r["arm"] == arm], small)["train_loss"],
            *(best[arm][key] for key in ("rate", "train_loss", "validation_loss", "test_accuracy")),
        )
        for arm, words in ARMS.items()
    )
    columns = (
        "start", f"training loss at learning rate {small:g}", "tuned learning rate", "training loss",
        "validation loss", "test accuracy",
    )  # fmt: skip
    return Table(f"After {settings.steps} steps", columns, rows)


def _checks(net: Subject, element: Element, settings: Settings, context: Context) -> Iterator[Check]:
    rate = settings.rates[len(settings.rates) // 3]
    plain = _trained(net, (identity(net.symmetries), "kick"), rate, settings, context)
    kicked = _trained(net, (element, "kick"), rate, settings, context)
    yield Check(
        "teleported, and learning rates divided by c^2 instead: relative distance of the weights",
        _distance(_brought_back(kicked, element), _with_own_rates(net, element, rate, settings, context)),
        1e-10, relation="at most", law="a kick of gradient descent is a learning rate for each weight",
    )  # fmt: skip
    followed = _trained(net, (element, "transparent"), rate, settings, context)
    yield Check(
        "teleported with the optimiser, and not at all: relative distance of the weights",
        _distance(_brought_back(followed, element), dict(plain.named_parameters())),
        1e-10, relation="at most", law="teleportation and a transported optimiser commute",
    )  # fmt: skip


def _brought_back(model: nn.Module, element: Element) -> dict[str, Tensor]:
    moves = moves_of(model, element)
    return {
        name: moves[p].brought_back(p.detach()) if p in moves else p.detach()
        for name, p in model.named_parameters()
    }


def _with_own_rates(
    net: Subject, element: Element, rate: float, settings: Settings, context: Context
) -> dict[str, Tensor]:
    """Train without teleporting, with a learning rate of ``rate / c^2`` for each weight."""
    model = copy.deepcopy(net.model)
    logs = net.symmetries.log_factors(net.symmetries.flat(element).log())
    order = context.generator("batches")
    for _ in range(settings.steps):
        model.zero_grad()
        cross_entropy(model, _batch(net.data.train, settings.batch_size, order)).backward()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.grad is None:
                    continue
                own = (2.0 * logs[name]).exp() if name in logs else 1.0
                # With c: p' = c p moves by -lr g / c; p by -lr g / c^2.
                parameter.sub_(rate * parameter.grad / own)
    return {name: p.detach() for name, p in model.named_parameters()}


def _distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    difference = sum(float((value - other[name].detach()).square().sum()) for name, value in one.items())
    return math.sqrt(difference / sum(float(value.square().sum()) for value in one.values()))


def draw(findings: Findings) -> dict[str, "Figure"]:
    """Draw training loss and validation loss against the learning rate."""
    from snnkit.report.style import COLOURS, bare, new_figure

    figure = new_figure(520, 230)
    both = figure.subplots(1, 2, sharey=True)
    for axes, key, words in zip(
        both, ("train_loss", "validation_loss"), ("training loss", "validation loss"), strict=True
    ):
        bare(axes, grid="y")
        for (arm, label), colour in zip(ARMS.items(), ("ink", "chip", "bad"), strict=True):
            results = [r for r in findings.data["results"] if r["arm"] == arm]
            rates = sorted({r["rate"] for r in results})
            for n in range(sum(r["rate"] == rates[0] for r in results)):
                line = [[r for r in results if r["rate"] == rate][n][key] for rate in rates]
                finite = [math.nan if value is None else value for value in line]
                axes.plot(
                    rates,
                    finite,
                    marker=".",
                    color=COLOURS[colour],
                    label=None if n else label,
                    linewidth=1.2,
                )
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_log(axes.xaxis, rates)
        plain_log(axes.yaxis)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(words)
        axes.set_xlabel("learning rate")
    legend_above(figure, columns=3)
    return {"learning-rate": figure}


EXPERIMENT = Experiment(
    name="learning-rate",
    title="What a tuned learning rate gives, beside a teleportation (reading figures 6 and 7)",
    quick=Settings(),
    full=Settings(data="cifar10", steps=2000, batch_size=256, elements=5, small=False),
    run=run,
    draw=draw,
)
