"""Trains one job: a pure function from a job to plain numbers, the same on every machine of one kind."""

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkit.experiments.data import ImageSplit, LabelledImages, load_images
from snnkit.experiments.experiment import seed_of
from snnkit.experiments.findings import to_plain
from snnkit.experiments.matrix.job import Job
from snnkit.experiments.models import build_model
from snnkit.experiments.training.initialisation import initialise
from snnkit.experiments.training.schedules import Schedule, torch_arguments
from snnkit.teleport import with_scaled_activations
from snnkit.teleport.training import TeleportationCallback

__all__ = ["Assignment", "run_job"]

_EVALUATED_AT_ONCE = 1024


@dataclass(frozen=True)
class Assignment:
    """A job and the folder of the user's data on this machine, which does not count as content."""

    job: Job
    data: Path | None = None


def run_job(assignment: Assignment) -> dict[str, Any]:
    """Train and return the result, as plain values.

    * ``curves``: lists over the epochs 0 (before training), 1, ...: ``train_loss`` (None for epoch 0),
      ``val_loss``, ``val_accuracy``, ``lr`` (that of the epoch's last step). A loss that is not finite is
      None.
    * ``test_loss`` and ``test_accuracy``: once, after the last epoch; nothing is chosen by them.
    * ``diverged_at``: the first epoch with a loss that is not finite, or None; training stops there, and the
      curves go on with the last values.
    * ``teleportations``: what each of them did (:class:`snnkit.teleport.training.TeleportationRecord`).
    * ``parameters``: how many numbers the model has. ``seconds``: how long it took.
    """
    began = time.perf_counter()
    run = _Training(assignment.job, load_images(assignment.job.dataset.name, assignment.data))
    run.train()
    test_loss, test_accuracy = run.evaluate(run.images.test)
    records = [record.to_dict() for record in run.teleports.records] if run.teleports else []
    return to_plain(
        {
            "curves": run.curves,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "diverged_at": run.diverged_at,
            "teleportations": records,
            "parameters": sum(p.numel() for p in run.model.parameters()),
            "seconds": time.perf_counter() - began,
        }
    )


@dataclass
class _Training:
    """The state of one training run."""

    job: Job
    images: ImageSplit
    diverged_at: int | None = None
    curves: dict[str, list[float]] = field(
        default_factory=lambda: {"train_loss": [], "val_loss": [], "val_accuracy": [], "lr": []}
    )

    def __post_init__(self) -> None:
        job, self.device = self.job, torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.images = self.images.first(job.dataset.train or None).to(self.device)
        model = build_model(
            job.model.cls,
            self.images.shape,
            self.images.classes,
            job.model.kwargs,
            small=job.model.small,
            generator=self._generator("weights"),
        )
        initialise(model, job.initializer, self._generator("initializer"))
        if job.model.scaled_activations:
            model = with_scaled_activations(model, self.images.train.images[:2])
        self.model = model.to(self.device)
        self.optimizer = getattr(torch.optim, job.optimizer.cls)(
            self.model.parameters(), **torch_arguments(job.optimizer.kwargs)
        )
        steps = self._steps()
        self.schedule = Schedule(
            self.optimizer, job.optimizer.lr_scheduler, steps, job.training_params.epochs
        )
        self.rate = self._rate()
        self.batches = self._generator("batches")
        self.teleports = self._teleports()

    def _generator(self, purpose: str) -> torch.Generator:
        # The same for all jobs of one run: what else they differ in is then all that differs.
        return torch.Generator().manual_seed(seed_of(self.job.seed, purpose, self.job.run))

    def _rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _steps(self) -> int:
        params, count = self.job.training_params, len(self.images.train)
        return max(1, count // params.batch_size if params.drop_last else -(-count // params.batch_size))

    def _teleports(self) -> TeleportationCallback | None:
        settings = self.job.teleport
        if settings is None:
            return None
        size = self.job.training_params.batch_size
        count = min(settings.num_batches * size, len(self.images.train))
        chosen = self.images.train[:count]
        return TeleportationCallback(
            self.model,
            self.images.train.images[:2],
            replace(settings, seed=seed_of(self.job.seed, "teleport", self.job.run)),
            optimisers=self.optimizer,
            loss=_loss,
            batches=list(zip(chosen.images.split(size), chosen.labels.split(size), strict=True)),
        )

    def train(self) -> None:
        """Train all epochs, or up to the one in which the loss stops being a number."""
        self._note(math.nan)
        epochs = self.job.training_params.epochs
        for epoch in range(epochs):
            if self.teleports is not None:
                self.teleports.on_epoch_start(epoch)
            loss = self._epoch()
            self._note(loss)
            if not (math.isfinite(loss) and math.isfinite(self.curves["val_loss"][-1])):
                self.diverged_at = epoch + 1
                for _ in range(epoch + 1, epochs):
                    self._repeat()
                return
            self.schedule.after_epoch(self.curves["val_loss"][-1])

    def _epoch(self) -> float:
        self.model.train()
        params, train = self.job.training_params, self.images.train
        count = len(train)
        order = torch.randperm(count, generator=self.batches) if params.shuffle else torch.arange(count)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        steps = self._steps()
        for step in range(steps):
            chosen = order[step * params.batch_size : (step + 1) * params.batch_size].to(self.device)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(train.images[chosen]), train.labels[chosen])
            loss.backward()
            self.optimizer.step()
            self.rate = self._rate()
            self.schedule.after_step()
            total += loss.detach()
        return float(total) / steps

    @torch.no_grad()
    def evaluate(self, part: LabelledImages) -> tuple[float, float]:
        """Return mean loss and accuracy on ``part``."""
        self.model.eval()
        loss, right = 0.0, 0
        for begin in range(0, len(part), _EVALUATED_AT_ONCE):
            some = part[begin : begin + _EVALUATED_AT_ONCE]
            scores = self.model(some.images)
            loss += float(F.cross_entropy(scores, some.labels, reduction="sum"))
            right += int((scores.argmax(1) == some.labels).sum())
        return loss / len(part), right / len(part)

    def _note(self, train_loss: float) -> None:
        val_loss, val_accuracy = self.evaluate(self.images.validation)
        values = {
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "lr": self.rate,
        }
        for key, value in values.items():
            self.curves[key].append(value)

    def _repeat(self) -> None:
        for values in self.curves.values():
            values.append(values[-1])


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])
