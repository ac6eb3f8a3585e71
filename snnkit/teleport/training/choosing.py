"""Where to teleport to: a random place, the best of several, or where the slope of a metric leads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from snnkit.teleport.element import Element, identity
from snnkit.teleport.sampling import random
from snnkit.teleport.symmetries import Symmetries
from snnkit.teleport.training.look_ahead import loss_after_step
from snnkit.teleport.training.losses import LossOnBatches
from snnkit.teleport.training.objectives import ObjectiveOptions, objective_named
from snnkit.teleport.training.search import find_element
from snnkit.teleport.training.settings import TeleportationSettings
from snnkit.utilities.errors import ConfigurationError

__all__ = ["Choice", "choose"]


@dataclass(frozen=True)
class Choice:
    """An element, and how the metric decided for it; None and empty where it was drawn blindly."""

    element: Element
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    candidates: tuple[float, ...] = ()


def choose(
    symmetries: Symmetries,
    settings: TeleportationSettings,
    optimisers: Sequence[Optimizer],
    loss: LossOnBatches | None,
    generator: torch.Generator,
) -> Choice:
    """Choose an element as the settings say.

    Raises:
        ConfigurationError: the mode has a metric, and there is no loss or, for a look-ahead, no optimiser.
    """
    if settings.mode not in ("optim", "gradient"):
        return Choice(_drawn(symmetries, settings, generator))
    if loss is None:
        raise ConfigurationError(
            f"The mode {settings.mode!r} compares places by {settings.metric}: give the callback a loss "
            "and batches."
        )
    if settings.metric == "loss_lookahead" and not optimisers:
        raise ConfigurationError("The metric loss_lookahead takes a step: give the callback the optimiser.")
    if settings.mode == "optim":
        return _best_of_several(symmetries, settings, optimisers, loss, generator)
    return _along_the_slope(symmetries, settings, optimisers, loss)


def _drawn(symmetries: Symmetries, settings: TeleportationSettings, generator: torch.Generator) -> Element:
    return random(
        symmetries,
        settings.cob_range,
        settings.cob_sampling,
        center=settings.center,
        generator=generator,
        permutations=settings.permutations,
    )


def _best_of_several(
    symmetries: Symmetries,
    settings: TeleportationSettings,
    optimisers: Sequence[Optimizer],
    loss: LossOnBatches,
    generator: torch.Generator,
) -> Choice:
    value, maximise = _metric(symmetries, settings, optimisers, loss)
    elements = [_drawn(symmetries, settings, generator) for _ in range(settings.num_teleportations)]
    values = [value(element) for element in elements]
    best = (max if maximise else min)(range(len(values)), key=values.__getitem__)
    return Choice(elements[best], settings.metric, value(identity(symmetries)), values[best], tuple(values))


def _metric(
    symmetries: Symmetries,
    settings: TeleportationSettings,
    optimisers: Sequence[Optimizer],
    loss: LossOnBatches,
) -> tuple[Callable[[Element], float], bool]:
    """Return the metric as a function of an element, and whether more of it is better."""
    if settings.metric == "loss_lookahead":
        return lambda element: loss_after_step(loss, optimisers, element, settings.transport), False
    objective = objective_named(settings.metric, loss, _options(settings, optimisers))

    def value(element: Element) -> float:
        with torch.no_grad():
            return float(objective(symmetries.log_factors(symmetries.flat(element).log())))

    return value, objective.maximise


def _along_the_slope(
    symmetries: Symmetries,
    settings: TeleportationSettings,
    optimisers: Sequence[Optimizer],
    loss: LossOnBatches,
) -> Choice:
    found = find_element(
        symmetries,
        objective_named(settings.metric, loss, _options(settings, optimisers)),
        method=settings.method,
        steps=settings.steps,
        max_log_scale=settings.max_log_scale,
    )
    return Choice(found.element, settings.metric, found.before, found.after)


def _options(settings: TeleportationSettings, optimisers: Sequence[Optimizer]) -> ObjectiveOptions:
    """Take the step of a look-ahead from the optimiser that is there."""
    if not optimisers:
        return ObjectiveOptions(seed=settings.seed)
    return ObjectiveOptions(learning_rate=float(optimisers[0].param_groups[0]["lr"]), seed=settings.seed)
