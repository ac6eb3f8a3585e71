"""Whether a deployed program does what the chip-exact net did: every event and every state compared."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Specification
from snnkit.report.data import Exactness

__all__ = ["Exactness", "PopulationEvents", "compare_exactly", "net_record"]

_BATCH = 64
_EVENTS = ("Spikes", "Spikes_out")


@dataclass(frozen=True)
class PopulationEvents:
    """Events of one population in net and simulation, and the fraction of neurons and steps that agree."""

    path: str
    net_events: int
    chip_events: int
    same_events: float


def compare_exactly(
    net: nn.Module, specification: Specification, inputs: np.ndarray
) -> tuple[Exactness, tuple[PopulationEvents, ...]]:
    """Run a chip-exact net and a program on the same inputs, from rest, and compare all that they record.

    Args:
        net: The chip-exact net.
        specification: The program that was deployed.
        inputs: Event counts ``(recordings, time, channels)``.
    """
    totals = dict.fromkeys(("events", "states", "differing_events", "differing_states"), 0)
    events = {p.path: [0, 0, 0, 0] for p in specification.populations}
    for start in range(0, len(inputs), _BATCH):
        batch = inputs[start : start + _BATCH]
        own, simulated = net_record(net, batch), _chip_record(specification, batch)
        for name, values in own.items():
            kind = "events" if name in _EVENTS else "states"
            totals[kind] += values.size
            totals[f"differing_{kind}"] += int((values != simulated[name]).sum())
        for population in specification.populations:
            name = "Spikes" if population.layer == "hidden" else "Spikes_out"
            neurons = slice(population.start, population.stop)
            mine, its = own[name][..., neurons], simulated[name][..., neurons]
            found = (int(mine.sum()), int(its.sum()), int((mine == its).sum()), its.size)
            events[population.path] = [a + b for a, b in zip(events[population.path], found, strict=True)]
    populations = tuple(
        PopulationEvents(path, mine, its, same / size if size else 1.0)
        for path, (mine, its, same, size) in events.items()
    )
    return Exactness(**totals), populations


def _chip_record(specification: Specification, batch: np.ndarray) -> dict[str, np.ndarray]:
    output, _, record = XyloSim(specification)(batch, record=True)
    return {**record, "Spikes_out": output}


def net_record(net: nn.Module, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Run a chip-exact net from rest; return its events ``Spikes``, ``Spikes_out`` and its states.

    ``inputs``: ``(recordings, time, channels)``; values: ``(recordings, time, neurons)``, whole numbers.
    """
    net.eval()
    net.reset_state()  # type: ignore[operator]
    with torch.no_grad():
        output, _, record = net(torch.from_numpy(inputs), record=True)
    net.reset_state()  # type: ignore[operator]
    return {name: tensor.numpy() for name, tensor in {**record, "Spikes_out": output}.items()}
