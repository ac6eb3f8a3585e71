"""How far a trained network and its chip program agree, and where and why they first differ."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ...divergence.result import Comparison, Divergence, LayerAgreement
from ...divergence.trace import Trace, aligned
from ..deployment.float_run import Readout, summed_events
from ..simulator.counters import Counters
from ..specification.core import Specification
from .compare import Compared, compare
from .sides import ProgramSide

if TYPE_CHECKING:
    from ..deployment.deploy import Deployment

__all__ = ["Validation", "validate"]


@dataclass(frozen=True)
class Validation:
    """Agreement of a network and its program on a batch.

    Attributes:
        prediction_agreement: fraction of the samples that both put into the same class.
        net_accuracy: fraction that the network puts into the labelled class, if labels were given.
        chip_accuracy: the same for the chip.
        comparison: agreement layer by layer and the first difference, as :func:`snnkit.hw.diverge` tells.
        counters: saturations and clipped events on the chip.
    """

    prediction_agreement: float
    net_accuracy: float | None
    chip_accuracy: float | None
    comparison: Comparison
    counters: Counters

    @property
    def samples(self) -> int:
        """Number of rasters."""
        return self.comparison.samples

    @property
    def populations(self) -> tuple[LayerAgreement, ...]:
        """Agreement of each population."""
        return self.comparison.layers

    @property
    def divergence(self) -> Divergence | None:
        """Where they first differ, or None."""
        return self.comparison.divergence

    def __str__(self) -> str:
        return f"same class in {self.prediction_agreement:.1%} of {self.samples} samples\n{self.comparison}"


def validate(
    net: nn.Module,
    program: "Deployment | Specification",
    raster: Any,
    labels: Any = None,
    *,
    readout: Readout = summed_events,
) -> Validation:
    """Run network and chip program on the same rasters, from rest, and compare their events.

    The network runs in evaluation mode and is left as it is. Each population is compared at its own delay.
    :func:`snnkit.hw.diverge` compares any other two sides.

    Args:
        net: the network that the program was made of.
        program: its deployment, or the specification alone (the network is then mapped again).
        raster: ``(batch, time, Nin)`` or ``(time, Nin)`` event counts, numpy or torch.
        labels: ``(batch,)`` classes.
        readout: takes outputs ``(batch, time, Nout)`` and returns classes ``(batch,)``.

    Raises:
        ShapeError, DataError: for rasters that are no event counts.
        ConfigurationError: if the program is not one of this network.
    """
    found = compare(net, program, raster, titles=("net", "chip"))
    chip = found.sides[1]
    assert isinstance(chip, ProgramSide)
    net_classes, chip_classes = (readout(events) for events in _outputs(found, chip.specification.n_out))
    known = None if labels is None else np.asarray(torch.as_tensor(labels).cpu())
    return Validation(
        prediction_agreement=float((net_classes == chip_classes).mean()),
        net_accuracy=None if known is None else float((net_classes == known).mean()),
        chip_accuracy=None if known is None else float((chip_classes == known).mean()),
        comparison=found.comparison,
        counters=chip.counters,
    )


def _outputs(found: Compared, n_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the outputs (batch, time, Nout) of both sides, moved onto each other."""
    steps = found.counts.shape[1]
    outputs = tuple(np.zeros((len(found.counts), steps, n_out), np.int64) for _ in range(2))
    for place, population in enumerate(found.layout.populations):
        if population.layer == "output":
            for output, events in zip(outputs, _events(found.traces, place), strict=True):
                output[:, :, population.start : population.stop] = events[:, :steps]
    return outputs[0], outputs[1]


def _events(traces: tuple[Trace, Trace], place: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = (trace.layers[place] for trace in traces)
    assert a.events is not None and b.events is not None  # noqa: PT018
    return aligned(a.events, b.events, b.delay - a.delay)
