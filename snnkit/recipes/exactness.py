"""Whether a deployed program does what the chip-exact net did: every event and every state compared."""

import numpy as np
import torch
from torch import nn

from snnkit.hw.xylo.simulator.xylo_sim import XyloSim
from snnkit.hw.xylo.specification.core import Specification
from snnkit.report.data import Exactness

__all__ = ["Exactness", "compare_exactly", "net_record"]

_BATCH = 64
_EVENTS = ("Spikes", "Spikes_out")


def compare_exactly(net: nn.Module, specification: Specification, inputs: np.ndarray) -> Exactness:
    """Run a chip-exact net and a program on the same inputs, from rest, and compare all that they record.

    Args:
        net: The chip-exact net.
        specification: The program that was deployed.
        inputs: Event counts ``(recordings, time, channels)``.
    """
    totals = dict.fromkeys(("events", "states", "differing_events", "differing_states"), 0)
    for start in range(0, len(inputs), _BATCH):
        batch = inputs[start : start + _BATCH]
        own, simulated = net_record(net, batch), _chip_record(specification, batch)
        for name, values in own.items():
            kind = "events" if name in _EVENTS else "states"
            totals[kind] += values.size
            totals[f"differing_{kind}"] += int((values != simulated[name]).sum())
    return Exactness(**totals)


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
