"""What the trained network does on calibration data, left as it was found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkit.nn.modules import LIFBaseTorch, TorchModule
from snnkit.transforms.calibration import like_the_values_of, observe_state_peaks, quiet_copy
from snnkit.transforms.patching import bare_path
from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import DataError, ShapeError

from ..mapping.values import Circuit

__all__ = [
    "Calibration",
    "Readout",
    "check_labels",
    "class_labels",
    "event_counts",
    "module_path",
    "module_paths",
    "summed_events",
]

Readout = Callable[[np.ndarray], np.ndarray]
"""Takes outputs ``(batch, time, Nout)`` and returns the class of each sample, ``(batch,)``."""

_RECORDED_VALUES = 2**26
"""Values that one run may record."""


def summed_events(output: np.ndarray) -> np.ndarray:
    """Return the output neuron with the most events (or the largest summed state) of each sample."""
    return output.sum(axis=1).argmax(axis=1)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration data and the network's answer to it.

    Attributes:
        raster: (batch, time, Nin) event counts.
        output: (batch, time, Nout) of the network in torch, evaluation mode, without noise.
        peaks: for each population on the chip the largest state of each neuron, in float units.
        unobserved: populations of which nothing is known, because the network does not hold their module.
        labels: (batch,) classes, or None.
        readout: how outputs become classes.
    """

    raster: np.ndarray
    output: np.ndarray
    peaks: dict[str, Tensor]
    unobserved: tuple[str, ...]
    labels: np.ndarray | None
    readout: Readout

    @classmethod
    def of(
        cls,
        net: nn.Module,
        circuit: Circuit,
        chip: Chip,
        batch: Any,
        *,
        labels: Any = None,
        readout: Readout | None = None,
    ) -> "Calibration":
        """Run ``net`` on ``batch`` (batch, time, channels), or (time, channels) for one sample.

        States are observed with the chip's limits of events per step.

        Raises:
            DataError: counts that are not whole numbers of 0 or more; another number of labels, or labels
                that are no output neurons where ``readout`` does not say what they are.
            ShapeError: the batch has other axes.
        """
        data = event_counts(batch)
        answers = class_labels(labels, len(data))
        paths = module_paths(net, circuit)
        quiet, limited = quiet_copy(net), _limited(quiet_copy(net), circuit, paths, chip)
        outputs: list[np.ndarray] = []
        peaks: dict[str, Tensor] = {}
        for share in _shares(data, circuit):
            values = like_the_values_of(net, share)
            outputs.append(_output(quiet, values))
            _raise_peaks(peaks, observe_state_peaks(limited, values))
        output = np.concatenate(outputs)
        if answers is not None and readout is None:
            check_labels(answers, output.shape[-1])
        return cls(
            raster=data.cpu().numpy().astype(np.int64),
            output=output,
            peaks={node: peaks[bare_path(path)] for node, path in paths.items() if bare_path(path) in peaks},
            unobserved=tuple(node.path for node in circuit.nodes if node.path not in paths),
            labels=answers,
            readout=readout or summed_events,
        )


def event_counts(batch: Any) -> Tensor:
    """Return calibration data as event counts (batch, time, channels).

    Raises:
        DataError: counts that are not whole numbers of 0 or more, or none at all.
        ShapeError: the batch has other axes.
    """
    data = torch.as_tensor(batch).detach()
    data = data[None] if data.ndim == 2 else data
    if data.ndim != 3:
        raise ShapeError(
            f"Calibration data has shape {tuple(data.shape)}; (batch, time, channels) is needed."
        )
    if data.numel() == 0:
        raise DataError(f"Calibration needs data, but the batch has shape {tuple(data.shape)}.")
    values = data.to(torch.float64)
    if not bool((torch.isfinite(values) & (values >= 0) & (values == values.floor())).all()):
        raise DataError(
            "Calibration data must be event counts (whole numbers of 0 or more), as the chip will receive: "
            "encode the recordings first."
        )
    return data


def class_labels(labels: Any, count: int) -> np.ndarray | None:
    """Return the classes of ``count`` samples, or None; DataError for another number of them."""
    answers = None if labels is None else np.asarray(torch.as_tensor(labels).cpu())
    if answers is not None and answers.shape != (count,):
        raise DataError(f"{count} calibration samples need {count} labels, not {answers.shape}.")
    return answers


def check_labels(labels: np.ndarray, n_outputs: int) -> None:
    """Raise a DataError unless every class is the number of an output neuron."""
    wrong = np.flatnonzero(~np.isin(labels, np.arange(n_outputs)))
    if wrong.size:
        raise DataError(
            f"{wrong.size} of {labels.size} labels are no output neuron, 0 to {n_outputs - 1} (the first: "
            f"{labels[wrong[0]]} at sample {wrong[0]}). Number the classes so, or pass a readout."
        )


def _shares(data: Tensor, circuit: Circuit) -> tuple[Tensor, ...]:
    """Split the samples so that the recordings of one run fit into memory."""
    recorded = data.shape[1] * max(1, sum(node.size * (node.synapses + 2) for node in circuit.nodes))
    return data.split(max(1, _RECORDED_VALUES // recorded))


def module_path(path: str) -> str:
    """Return the path in the network of a module that may stand in a DagModule or in a wrapper."""
    parts = [part.replace("/", ".") for part in path.split(".") if part != "vertex_modules"]
    return bare_path(".".join(parts))


def module_paths(net: nn.Module, circuit: Circuit) -> dict[str, str]:
    """Return for each population where its module stands in the network.

    A wrapped network's graph holds copies of its modules: these are known by their path.
    """
    by_module = {id(module): path for path, module in net.named_modules()}
    by_path = {module_path(path): path for path in by_module.values()}
    found = {node.path: by_module.get(id(node.module), by_path.get(node.path)) for node in circuit.nodes}
    return {node: path for node, path in found.items() if path is not None}


def _limited(net: nn.Module, circuit: Circuit, paths: dict[str, str], chip: Chip) -> nn.Module:
    """Let the neurons of ``net`` emit at most as many events per step as the chip's.

    What a state could reach beyond them is nothing that the chip has to hold.
    """
    modules = dict(net.named_modules())
    for node in circuit.nodes:
        module = modules.get(paths.get(node.path, ""))
        if isinstance(module, LIFBaseTorch):
            cap = chip.output_event_cap if node.is_output else chip.hidden_event_cap
            allowed = torch.as_tensor(module.max_spikes_per_dt).clamp(max=cap)
            module.max_spikes_per_dt = allowed if allowed.ndim else float(allowed)
    return net


def _output(net: nn.Module, data: Tensor) -> np.ndarray:
    for _, module in net.named_modules():
        if isinstance(module, TorchModule):
            module.reset_state()
    with torch.no_grad():
        output = net(data)
    if isinstance(output, tuple):
        # A graph returns a tensor for each of its outputs, a module its output, state and record.
        several = all(isinstance(value, Tensor) for value in output)
        output = torch.cat(output, dim=-1) if several else output[0]
    return output.detach().cpu().numpy()


def _raise_peaks(peaks: dict[str, Tensor], more: dict[str, Tensor]) -> None:
    for path, values in more.items():
        found = values.cpu()
        peaks[path] = torch.maximum(peaks[path], found) if path in peaks else found
