"""Events of net and chip on one recording, neuron beside neuron, and the chip's states."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from snnkit.hw.xylo.mapping.lowering import inspect_network
from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Specification

__all__ = ["chip_record", "hidden_in_net_time", "net_events"]


def net_events(net: nn.Module, specification: Specification, events: np.ndarray) -> dict[str, np.ndarray]:
    """Run the net on one recording and lay its events out as the chip does.

    Args:
        net: The net that the program was made of.
        specification: The program; its populations say which neuron is which.
        events: ``(time, channels)``.

    Returns:
        "hidden" ``(time, hidden neurons)`` and "output" ``(time, outputs)``: events, in the net's time.
    """
    net.eval()
    _reset(net)
    with torch.no_grad():
        record: Mapping[str, Any] = net(torch.from_numpy(events[None]).float(), record=True)[2]
    _reset(net)
    sizes = {"hidden": specification.n_hidden, "output": specification.n_out}
    found = {layer: np.zeros((len(events), size), dtype=np.int64) for layer, size in sizes.items()}
    for population in specification.populations:
        part = record
        for name in population.path.split("."):
            part = part[name]
        spikes = np.rint(part["spikes"][0].numpy()).astype(np.int64)
        found[population.layer][:, population.start : population.stop] = spikes
    return found


def chip_record(specification: Specification, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Record all states of the chip from rest on inputs ``(recordings, time, channels)``."""
    record: dict[str, np.ndarray] = XyloSim(specification)(inputs, record=True)[2]
    return record


def hidden_in_net_time(net: nn.Module, specification: Specification, events: np.ndarray) -> np.ndarray:
    """Move each layer of the chip back by its own delay.

    Args:
        net: The net that the program was made of.
        specification: The program.
        events: ``(time + delay, hidden neurons)`` as the chip timed them, with the delay of the outputs.

    Returns:
        ``(time, hidden neurons)``.
    """
    mapped = inspect_network(net, specification.chip).mapped
    steps = len(events) - max(mapped.delays)
    found = np.zeros((steps, events.shape[1]), events.dtype)
    for population, delay in zip(mapped.populations, mapped.delays, strict=True):
        if population.layer == "hidden":
            neurons = slice(population.start, population.stop)
            found[:, neurons] = events[delay : delay + steps, neurons]
    return found


def _reset(net: nn.Module) -> None:
    reset: Any = getattr(net, "reset_state", None)
    if callable(reset):
        reset()
