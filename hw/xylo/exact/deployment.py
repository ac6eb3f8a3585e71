"""The program that a chip-exact network computes with, as a deployment."""

from typing import Any

import numpy as np

from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError

from ..deployment.deploy import Deployment, deployment_of
from ..deployment.float_run import (
    Calibration,
    Readout,
    check_labels,
    class_labels,
    event_counts,
    summed_events,
)
from ..deployment.quantising import quantise
from .module import ChipExact

__all__ = ["deploy_exact"]


def deploy_exact(
    net: ChipExact, chip: Chip, calibration: Any, labels: Any, readout: Readout | None
) -> Deployment:
    """Return the module's own program; see :func:`snnkit.hw.xylo.deploy`.

    Raises:
        ConfigurationError: the network computes as another chip, or with wider weights.
        MappingError: training made the program break a limit (recurrent weights that were zero, say).
    """
    if net.chip.name != chip.name:
        raise ConfigurationError(
            f"This network computes as {net.chip.title} ({net.chip.name}), not as {chip.title}: make one for "
            "that chip with chip_exact(net.net, chip)."
        )
    if net.chip.weight_bits > chip.weight_bits:
        raise ConfigurationError(
            f"This network computes with weights of {net.chip.weight_bits} bits, not of "
            f"{chip.weight_bits}: make one for narrower weights with chip_exact(net.net, chip)."
        )
    data = None if calibration is None else _calibration(net, calibration, labels, readout)
    mapped = net.mapped
    return deployment_of(mapped, quantise(mapped, net.plan), net.plan, data, notes=mapped.notes, curve=())


def _calibration(net: ChipExact, batch: Any, labels: Any, readout: Readout | None) -> Calibration:
    """Return the data and the network's own answer, from rest."""
    counts = event_counts(batch)
    answers = class_labels(labels, len(counts))
    raster = counts.cpu().numpy().astype(np.int64)
    output = net.simulator()(raster)[0]
    if answers is not None and readout is None:
        check_labels(answers, output.shape[-1])
    return Calibration(
        raster=raster,
        output=output,
        peaks=dict(net.plan.peaks),
        unobserved=(),
        labels=answers,
        readout=readout or summed_events,
    )
