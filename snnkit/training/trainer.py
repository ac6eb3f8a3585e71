"""The training loop: surrogate gradients on output events, resumable to the same bits.

Everything that decides the course of a run is in the checkpoint: weights, their average, the optimiser's
moments, the states of both random generators, epoch and history. The learning rate is a function of the
step. Bits repeat for one number of threads on one kind of processor; torch may sum in another order on
another.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnkit.training.augmentation import Augmentation
from snnkit.training.checkpoint import Checkpoint, joined
from snnkit.training.optimiser import ScaledAdam, cosine_schedule
from snnkit.training.readout import Readout
from snnkit.utilities.errors import ConfigurationError, FileFormatError

__all__ = [
    "Epoch",
    "FitSettings",
    "Trainer",
    "predict",
    "read_history",
    "torch_threads",
    "trained_parameters",
]


@dataclass(frozen=True)
class FitSettings:
    """How long and how hard to train; see the recipe's ``[training]`` for what each number means."""

    epochs: int
    batch_size: int = 64
    learning_rate: float = 0.02
    warmup: float = 0.1
    label_smoothing: float = 0.05
    logit_scale: float = 10.0
    rate_limit: float = 3.0
    rate_weight: float = 0.0
    averaging: float = 0.05
    checkpoint_seconds: float = 20.0


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to; accuracy is that of the training batches as they were drawn."""

    stage: str
    epoch: int
    loss: float
    train_accuracy: float


class Trainer:
    """Trains one network on one set of levels.

    Args:
        net: Takes events ``(batch, time, channels)``; parameters that require a gradient are trained.
        levels: Training inputs ``(recordings, time, channels)`` before rounding to events.
        labels: ``(recordings,)``, int64.
        readout: How output events stand for classes.
        settings: Course of the training.
        augmentation: Random changes of the inputs, and their rounding to events.
        stage: Name that history and checkpoints carry.
        seed: Decides order, augmentation and dropout.
        lag: Time steps by which the net's outputs come late, as those of a chip-exact net do. Recordings are
            followed by as many empty steps, and the first ``lag`` outputs do not count.
    """

    def __init__(
        self,
        net: nn.Module,
        levels: Tensor,
        labels: Tensor,
        *,
        readout: Readout,
        settings: FitSettings,
        augmentation: Augmentation,
        stage: str,
        seed: int,
        lag: int = 0,
    ) -> None:
        self.net, self.levels, self.labels = net, levels, labels
        self.readout, self.settings, self.augmentation, self.stage = readout, settings, augmentation, stage
        self.lag = lag
        self.parameters = trained_parameters(net)
        if not self.parameters:
            raise ConfigurationError(
                "The network has no parameter that requires a gradient: nothing to train."
            )
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        scales = [_typical_size(p.detach()) for p in self.parameters.values()]
        self.optimiser = ScaledAdam(list(self.parameters.values()), scales, lr=settings.learning_rate)
        self.generator = torch.Generator().manual_seed(seed)
        self._torch_state = torch.Generator().manual_seed(seed + 1).get_state()
        self.history: tuple[Epoch, ...] = ()

    def fit(self, checkpoint: Path | None = None, on_epoch: Callable[[Epoch], None] | None = None) -> None:
        """Train to the last epoch and leave the averaged weights in the network.

        Args:
            checkpoint: File to save to between epochs, no more often than the settings say.
            on_epoch: Called after every epoch.
        """
        saved = time.monotonic()
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._torch_state)
            for epoch in range(len(self.history), self.settings.epochs):
                self.history += (self._epoch(epoch),)
                self._torch_state = torch.get_rng_state()
                if on_epoch is not None:
                    on_epoch(self.history[-1])
                if checkpoint and time.monotonic() - saved >= self.settings.checkpoint_seconds:
                    self.state().save(checkpoint)
                    saved = time.monotonic()
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.average[name])
        self.net.eval()

    def _epoch(self, epoch: int) -> Epoch:
        self.net.train()
        count = len(self.labels)
        batches = torch.randperm(count, generator=self.generator).split(self.settings.batch_size)
        loss, correct = 0.0, 0
        for i, batch in enumerate(batches):
            step, steps = epoch * len(batches) + i, self.settings.epochs * len(batches)
            factor = cosine_schedule(step, steps, self.settings.warmup)
            for group in self.optimiser.param_groups:
                group["lr"] = self.settings.learning_rate * factor
            batch_loss, batch_correct = self._step(self.levels[batch], self.labels[batch])
            loss, correct = loss + batch_loss * len(batch), correct + batch_correct
        return Epoch(self.stage, epoch, loss / count, correct / count)

    def _step(self, levels: Tensor, labels: Tensor) -> tuple[float, int]:
        self.optimiser.zero_grad()
        _reset(self.net)
        rated = self.settings.rate_weight > 0.0
        inputs = _followed(self.augmentation(levels, self.generator), self.lag)
        events, _, record = self.net(inputs, record=rated)
        logits = self.readout.logits(events[:, self.lag :], self.settings.logit_scale)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.settings.label_smoothing)
        if rated:
            loss = loss + self.settings.rate_weight * _excess_rate(record, self.settings.rate_limit)
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter, self.settings.averaging)
        return float(loss.detach()), int((logits.detach().argmax(dim=1) == labels).sum())

    def state(self) -> Checkpoint:
        """Return all that :meth:`restore` needs to go on."""
        moments: dict[str, Tensor] = {}
        for (name, parameter), group in zip(
            self.parameters.items(), self.optimiser.param_groups, strict=True
        ):
            kept = {"scale": group["scale"], **self.optimiser.state[parameter]}
            moments |= {f"{name}.{key}": value for key, value in kept.items()}
        random = {"batches": self.generator.get_state(), "torch": self._torch_state}
        tensors = joined(parameter=self.parameters, average=self.average, moment=moments, random=random)
        history = [asdict(epoch) for epoch in self.history]
        return Checkpoint(tensors, {"stage": self.stage, "history": history})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue where :meth:`state` was taken.

        Raises:
            FileFormatError: the checkpoint is of another network or stage.
        """
        if checkpoint.about.get("stage") != self.stage:
            raise FileFormatError(f"The checkpoint is not one of the stage {self.stage!r}.")
        history, moments = read_history(checkpoint), checkpoint.part("moment")
        load_parameters(self.parameters, checkpoint.part("parameter"), "checkpoint")
        average, random = checkpoint.part("average"), checkpoint.part("random")
        try:
            if history:  # Before the first step there are none.
                self._restore_moments(moments)
            self.average = {name: average[name].reshape(p.shape) for name, p in self.parameters.items()}
            self.generator.set_state(random["batches"])
            self._torch_state = random["torch"]
        except (KeyError, RuntimeError, TypeError) as error:
            raise FileFormatError(f"The checkpoint is damaged: {error}") from error
        self.history = history

    def _restore_moments(self, moments: Mapping[str, Tensor]) -> None:
        for (name, parameter), group in zip(
            self.parameters.items(), self.optimiser.param_groups, strict=True
        ):
            sizes = {"step": (1,), "mean": parameter.shape, "square": parameter.shape}
            kept = {key: moments[f"{name}.{key}"].clone().reshape(size) for key, size in sizes.items()}
            self.optimiser.state[parameter] = kept
            group["scale"] = moments[f"{name}.scale"].reshape(group["scale"].shape)


def read_history(checkpoint: Checkpoint) -> tuple[Epoch, ...]:
    """Return the epochs that a checkpoint knows; FileFormatError if it is damaged."""
    try:
        return tuple(Epoch(**entry) for entry in checkpoint.about["history"])
    except (KeyError, TypeError) as error:
        raise FileFormatError(f"The checkpoint holds no history of training: {error}") from error


def trained_parameters(net: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient, by path, in the network's order."""
    # Our own modules answer `parameters()` with a tree; torch's method is meant here.
    return {name: p for name, p in nn.Module.named_parameters(net) if p.requires_grad}


def load_parameters(
    parameters: Mapping[str, nn.Parameter], values: Mapping[str, Tensor], source: str
) -> None:
    """Copy ``values`` into ``parameters`` by name.

    Raises:
        FileFormatError: names or shapes differ: ``source`` is of another network.
    """
    wrong = sorted(parameters.keys() ^ values.keys())
    common = [name for name in parameters if name in values]
    wrong += [name for name in common if parameters[name].shape != values[name].shape]
    if wrong:
        raise FileFormatError(
            f"The {source} is of another network: {', '.join(wrong[:4])}{', ...' if len(wrong) > 4 else ''} "
            "missing or of another shape."
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def predict(net: nn.Module, events: Tensor, batch_size: int = 256, *, lag: int = 0) -> Tensor:
    """Return the output events ``(recordings, time, outputs)`` of the net in evaluation mode.

    ``lag``: time steps by which the net's outputs come late; they are moved back by as many.
    """
    net.eval()
    outputs = []
    with torch.no_grad():
        for batch in events.split(batch_size):
            _reset(net)
            data = _followed(batch.to(torch.get_default_dtype()), lag)
            outputs.append(net(data)[0][:, lag:])
    _reset(net)
    return torch.cat(outputs)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch use ``threads`` threads inside, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _reset(net: nn.Module) -> None:
    reset: Any = getattr(net, "reset_state", None)
    if reset is not None:
        reset()


def _followed(events: Tensor, steps: int) -> Tensor:
    """Return ``(batch, time + steps, channels)``: the events, then silence."""
    return nn.functional.pad(events, (0, 0, 0, steps)) if steps else events


def _typical_size(parameter: Tensor) -> Tensor:
    """Root mean square over a neuron's incoming weights (columns); a vector is in units of the threshold."""
    if parameter.ndim < 2:
        return torch.full_like(parameter, _BIAS_SCALE)
    size = parameter.square().mean(dim=0, keepdim=True).sqrt()
    return size.clamp(min=1e-6 * float(size.max()) + 1e-12)


_BIAS_SCALE = 0.3


def _excess_rate(record: Mapping[str, Any], limit: float) -> Tensor:
    """Mean squared excess of neurons' mean events per step over ``limit``, over all recorded populations.

    A chip-exact net records its hidden neurons together, as ``"Spikes"``.
    """
    found = [v["spikes"] for v in record.values() if isinstance(v, Mapping) and "spikes" in v]
    rates = [events.mean(dim=(0, 1)) for events in found or [record["Spikes"]]]
    return torch.stack([(rate - limit).clamp(min=0.0).square().mean() for rate in rates]).mean()
