"""What the trained network does on calibration data, left as it was found."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.modules import LIFBaseTorch
from snnkit.transforms.calibration import observe_state_peaks
from snnkit.transforms.patching import bare_path
from snnkit.utilities.errors import DataError, ShapeError

from .mapped_network import MappedNetwork

__all__ = ["Calibration", "Readout", "summed_events"]

Readout = Callable[[np.ndarray], np.ndarray]
"""Takes outputs ``(batch, time, Nout)`` and returns the class of each sample, ``(batch,)``."""


def summed_events(output: np.ndarray) -> np.ndarray:
    """Return the output neuron with the most events (or the largest summed state) of each sample."""
    return output.sum(axis=1).argmax(axis=1)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration data and the network's answer to it.

    Attributes:
        raster: (batch, time, Nin) event counts.
        output: (batch, time, Nout) of the network in torch, evaluation mode.
        peaks: for each LIF population the largest state of each neuron, in float units.
        labels: (batch,) classes, or None.
        readout: how outputs become classes.
    """

    raster: np.ndarray
    output: np.ndarray
    peaks: dict[str, Tensor]
    labels: np.ndarray | None
    readout: Readout

    @classmethod
    def of(
        cls,
        net: nn.Module,
        mapped: MappedNetwork,
        batch: Any,
        labels: Any = None,
        readout: Readout | None = None,
    ) -> "Calibration":
        """Run ``net`` on ``batch`` (batch, time, channels), or (time, channels) for one sample.

        States are observed with the chip's limits of events per step.

        Raises:
            DataError: counts that are not whole numbers of 0 or more, or another number of labels.
            ShapeError: the batch has other axes.
        """
        data = torch.as_tensor(batch).detach()
        data = data[None] if data.ndim == 2 else data
        _check(data)
        answers = None if labels is None else np.asarray(torch.as_tensor(labels).cpu())
        if answers is not None and answers.shape != (len(data),):
            raise DataError(f"{len(data)} calibration samples need {len(data)} labels, not {answers.shape}.")
        values = data.to(_precision(net))
        observed = observe_state_peaks(_limited(net, mapped), values)
        # A network may hold neurons that nothing reads; they are not on the chip.
        placed = {population.path for population in mapped.populations}
        peaks = {module_path(path): peak for path, peak in observed.items() if module_path(path) in placed}
        raster = data.cpu().numpy().astype(np.int64)
        return cls(raster, _output(net, values), peaks, answers, readout or summed_events)


def _check(data: Tensor) -> None:
    if data.ndim != 3:
        raise ShapeError(
            f"Calibration data has shape {tuple(data.shape)}; (batch, time, channels) is needed."
        )
    values = data.to(torch.float64)
    if not bool((torch.isfinite(values) & (values >= 0) & (values == values.floor())).all()):
        raise DataError(
            "Calibration data must be event counts (whole numbers of 0 or more), as the chip will receive: "
            "encode the recordings first."
        )


def _precision(net: nn.Module) -> torch.dtype:
    tensors = [tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
    return tensors[0].dtype if tensors else torch.get_default_dtype()


def _output(net: nn.Module, data: Tensor) -> np.ndarray:
    copied = copy.deepcopy(net).eval()
    for _, module in copied.named_modules():
        reset = getattr(module, "reset_state", None)
        if callable(reset):
            reset()
    with torch.no_grad():
        output = copied(data)
    if isinstance(output, tuple):
        output = output[0]
    return output.detach().cpu().numpy()


def module_path(path: str) -> str:
    """Return the path in the network of a module that may stand in a DagModule or in a wrapper."""
    parts = [part.replace("/", ".") for part in path.split(".") if part != "vertex_modules"]
    return bare_path(".".join(parts))


def _limited(net: nn.Module, mapped: MappedNetwork) -> nn.Module:
    """Return a copy whose neurons emit at most as many events per step as the chip's.

    What a state could reach beyond them is nothing that the chip has to hold.
    """
    limited = copy.deepcopy(net)
    chip = mapped.chip
    caps = {"hidden": chip.hidden_event_cap, "output": chip.output_event_cap}
    layers = {population.path: population.layer for population in mapped.populations}
    for path, module in limited.named_modules():
        layer = layers.get(module_path(path))
        if layer is not None and isinstance(module, LIFBaseTorch):
            allowed = torch.as_tensor(module.max_spikes_per_dt).clamp(max=caps[layer])
            module.max_spikes_per_dt = allowed if allowed.ndim else float(allowed)
    return limited
