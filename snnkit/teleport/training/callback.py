"""Teleporting during training."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from snnkit.teleport.element import Element
from snnkit.teleport.symmetries import symmetries
from snnkit.teleport.training.choosing import choose
from snnkit.teleport.training.controls import pseudo_teleported, same_distribution
from snnkit.teleport.training.losses import LossFunction, LossOnBatches
from snnkit.teleport.training.records import TeleportationRecord, displacement
from snnkit.teleport.training.settings import TeleportationSettings
from snnkit.teleport.training.transport import forget_states, teleport_in_training
from snnkit.utilities.errors import ConfigurationError

__all__ = ["TeleportationCallback"]

Batches = Iterable[Any] | Callable[[], Iterable[Any]]


class TeleportationCallback:
    """Teleports a model between the epochs of any training loop.

    Call :meth:`on_epoch_start` before the first step of every epoch. Whether and where to is decided by the
    settings, their seed and the number of the epoch alone: a run that is resumed teleports as one that was
    not.

    Args:
        model: Teleported in place: its parameters stay the same objects.
        example_inputs: As for :func:`snnkit.teleport.symmetries`.
        settings: When and how.
        optimisers: Those that train the model; they follow as ``settings.transport`` says.
        loss: ``loss(model, batch)``. Needed by the modes with a metric; for others it puts losses and
            gradient norms into the record.
        batches: What the loss is taken on: a list, a data loader, or a function that returns one, asked
            before every teleportation. The first ``settings.num_batches`` are used.

    Attributes:
        records: What every teleportation did.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        settings: TeleportationSettings,
        *,
        optimisers: Optimizer | Sequence[Optimizer] = (),
        loss: LossFunction | None = None,
        batches: Batches | None = None,
    ) -> None:
        if (loss is None) != (batches is None):
            raise ConfigurationError("TeleportationCallback: a loss needs batches, and batches need a loss.")
        self.model, self.settings = model, settings
        self.optimisers = [optimisers] if isinstance(optimisers, Optimizer) else list(optimisers)
        self.symmetries = symmetries(model, example_inputs, batch_norm=settings.batch_norm)
        self.records: list[TeleportationRecord] = []
        self._loss, self._batches = loss, batches

    def on_epoch_start(self, epoch: int) -> TeleportationRecord | None:
        """Teleport, if the settings want it before this epoch (counted from 0), and say what was done.

        Raises:
            ConfigurationError: the mode has a metric, and the callback no loss or no optimiser for it.
        """
        if not self.settings.wanted(epoch):
            return None
        generator = torch.Generator().manual_seed(self.settings.seed_of(epoch))
        if float(torch.rand((), generator=generator)) >= self.settings.teleport_prob:
            return None
        record = self._teleport(epoch, generator)
        self.records.append(record)
        return record

    def _teleport(self, epoch: int, generator: torch.Generator) -> TeleportationRecord:
        loss = self._loss_now()
        choice = choose(self.symmetries, self.settings, self.optimisers, loss, generator)
        before, facts = self._parameters(), _facts(loss, "before")
        if self.settings.mode in ("pseudo", "same_distr"):
            self._control(choice.element, generator)
        else:
            teleport_in_training(self.model, choice.element, self.optimisers, self.settings.transport)
        return TeleportationRecord(
            epoch=epoch,
            mode=self.settings.mode,
            seed=self.settings.seed,
            displacement=displacement(before, self._parameters()),
            metric=choice.metric,
            metric_before=choice.before,
            metric_after=choice.after,
            candidates=choice.candidates,
            **facts,
            **_facts(loss, "after"),
        )

    @torch.no_grad()
    def _control(self, element: Element, generator: torch.Generator) -> None:
        """Move parameters as far, or to as large ones, as a teleportation would; buffers stay."""
        changes = element.changes()
        before = {name: value.cpu() for name, value in self._parameters().items()}
        after = {n: changes[n].apply(value) if n in changes else value for n, value in before.items()}
        if self.settings.mode == "pseudo":
            moved: Mapping[str, Tensor] = pseudo_teleported(before, after, generator)
        else:
            moved = same_distribution(after, generator)
        for name, parameter in nn.Module.named_parameters(self.model):
            parameter.copy_(moved[name])
        forget_states(self.optimisers)

    def _loss_now(self) -> LossOnBatches | None:
        if self._loss is None or self._batches is None:
            return None
        batches = self._batches() if callable(self._batches) else self._batches
        return LossOnBatches(
            self.model, self._loss, islice(batches, self.settings.num_batches), self.settings.seed
        )

    def _parameters(self) -> dict[str, Tensor]:
        # Our own modules answer `parameters()` with a tree; torch's method is meant here.
        return {name: p.detach().clone() for name, p in nn.Module.named_parameters(self.model)}


def _facts(loss: LossOnBatches | None, when: str) -> dict[str, Any]:
    if loss is None:
        return {}
    squares = [g.to(torch.float64).square().sum() for g in loss.gradients().values()]
    with torch.no_grad():
        value = float(loss.value())
    return {f"loss_{when}": value, f"gradient_norm_{when}": float(torch.stack(squares).sum().sqrt())}
