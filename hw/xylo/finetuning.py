"""From a trained float network and labelled recordings to a network fine-tuned for one chip."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.hop_delays import count_hops
from snnkit.nn.modules import TorchModule
from snnkit.training import Augmentation, Epoch, FitSettings, Readout, Trainer
from snnkit.transforms.scaling import ScalePlan
from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import DataError, ShapeError

from .exact.conversion import chip_exact
from .exact.module import ChipExact

__all__ = ["FINE_TUNING", "finetune"]

FINE_TUNING = FitSettings(epochs=40, learning_rate=0.005, warmup=0.0)
"""A low rate that only falls, as suits a network that has learned already."""
_CALIBRATION = 256


def finetune(
    net: TorchModule,
    chip: str | Chip,
    events: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | Sequence[int],
    *,
    settings: FitSettings = FINE_TUNING,
    readout: Readout | None = None,
    plan: ScalePlan | None = None,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> ChipExact:
    """Return ``net`` trained on in the chip's own arithmetic, which :func:`deploy` puts on the chip as it is.

    Weight shifts and state ranges are chosen on up to 256 of the recordings, unless a plan brings them. The
    chip answers one step later for each hop between layers: recordings are followed by as many empty
    steps, and the first outputs do not count, so the network learns to answer in the chip's time.

    For losses or data of another kind train :func:`chip_exact` in a loop of your own.

    Args:
        net: a trained float network, which stays as it is; parameters that require a gradient are trained.
        chip: name or table entry; ``get_chip("a3").with_weight_bits(4)`` for narrower weights.
        events: training inputs ``(recordings, time, channels)``, counts as the chip will receive.
        labels: ``(recordings,)`` classes.
        settings: course of the training.
        readout: how outputs stand for classes; by default one output for each, the most events win.
        plan: weight shifts and state ranges, as of an earlier deployment.
        augmentation: random changes of the inputs in training; None for none.
        seed: decides order and augmentation.
        on_epoch: called after every epoch.

    Raises:
        MappingError: with every violation, if the network does not fit.
        ShapeError: events that are not ``(recordings, time, channels)``.
        DataError: another number of labels than of recordings, or labels that are no classes.
    """
    entry = get_chip(chip)
    readout = readout or Readout(int(net.size_out or 0))
    events, labels = torch.as_tensor(events), torch.as_tensor(labels)
    _check(events, labels, readout)
    labels = labels.long()
    chosen = torch.linspace(0, len(events) - 1, min(len(events), _CALIBRATION)).round().long()
    exact = chip_exact(
        net,
        entry,
        calibration=None if plan else events[chosen],
        labels=None if plan else labels[chosen],
        plan=plan,
        readout=None if plan else readout.predict,
    )
    trainer = Trainer(
        exact,
        events.to(torch.get_default_dtype()),
        labels,
        readout=readout,
        settings=settings,
        augmentation=augmentation or Augmentation(0.0, 0.0, 0.0, cap=entry.input_event_cap),
        stage="chip_exact",
        seed=seed,
        lag=count_hops(net),
    )
    trainer.fit(on_epoch=on_epoch)
    nn.Module.eval(exact)
    return exact


def _check(events: Tensor, labels: Tensor, readout: Readout) -> None:
    if events.ndim != 3:
        raise ShapeError(
            f"The events have shape {tuple(events.shape)}; (recordings, time, channels) is needed."
        )
    if labels.shape != (len(events),):
        raise DataError(f"{len(events)} recordings need {len(events)} labels, not {tuple(labels.shape)}.")
    wrong = labels[~((labels >= 0) & (labels < readout.classes) & (labels == labels.long()))]
    if len(wrong):
        raise DataError(
            f"{len(wrong)} of {len(labels)} labels are no class, 0 to {readout.classes - 1} "
            f"(the first: {wrong[0].item():g})."
        )
