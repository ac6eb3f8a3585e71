"""Events and states of net and chip on the same recordings, neuron beside neuron."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from snnkit.hw.xylo.simulator import XyloSim
from snnkit.hw.xylo.specification import Population, Specification

__all__ = ["PopulationActivity", "chip_record", "net_record", "populations_of"]


@dataclass(frozen=True, eq=False)
class PopulationActivity:
    """One population in net and chip; both in the net's time and in units of the thresholds.

    Attributes:
        population: Its place in the chip.
        net_events, chip_events: ``(recordings, time, neurons)``.
        net_level, chip_level: Membrane before reset over threshold, same shape: at 1 a neuron fires.
        saturated: Whether the chip's membrane or synapse stood at the end of its range, same shape.
    """

    population: Population
    net_events: np.ndarray
    chip_events: np.ndarray
    net_level: np.ndarray
    chip_level: np.ndarray
    saturated: np.ndarray


def net_record(net: nn.Module, events: np.ndarray) -> Mapping[str, Any]:
    """Record the net in evaluation mode on events ``(recordings, time, channels)``."""
    net.eval()
    _reset(net)
    with torch.no_grad():
        record: Mapping[str, Any] = net(torch.from_numpy(events).float(), record=True)[2]
    _reset(net)
    return record


def chip_record(specification: Specification, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Record the chip from rest on padded inputs ``(recordings, time + delay, channels)``."""
    output, _, record = XyloSim(specification)(inputs, record=True)
    return {**record, "Spikes_out": output}


def populations_of(
    net: nn.Module,
    specification: Specification,
    delays: Mapping[str, int],
    events: np.ndarray,
    inputs: np.ndarray,
) -> list[PopulationActivity]:
    """Run both and line their populations up.

    Args:
        net: The net that the program was made of.
        specification: The program.
        delays: Steps by which each population lags on the chip, by module path.
        events: ``(recordings, time, channels)``.
        inputs: The same with empty steps at the end.
    """
    net_side, chip_side = net_record(net, events), chip_record(specification, inputs)
    found = []
    for population in specification.populations:
        start = delays[population.path]
        window = slice(start, start + events.shape[1])
        net_part = _inside(net_side, population.path)
        found.append(_line_up(population, specification, net_part, chip_side, window))
    return found


def _line_up(
    population: Population,
    specification: Specification,
    net_side: Mapping[str, Any],
    chip_side: Mapping[str, np.ndarray],
    window: slice,
) -> PopulationActivity:
    place, suffix = slice(population.start, population.stop), "_out" if population.layer == "output" else ""
    threshold = getattr(specification, f"threshold{suffix}")[place].astype(np.float64)
    events = chip_side[f"Spikes{suffix}"][:, window, place].astype(np.int64)
    membrane = chip_side[f"Vmem{suffix}"][:, window, place].astype(np.int64)
    current = chip_side[f"Isyn{suffix}"][:, window, place].astype(np.int64)
    net_events = net_side["spikes"].numpy()
    # Records hold membranes after the reset. A recipe's net has thresholds of 1.
    return PopulationActivity(
        population=population,
        net_events=np.rint(net_events).astype(np.int64),
        chip_events=events,
        net_level=net_side["vmem"].numpy() + net_events,
        chip_level=membrane / threshold + events,
        saturated=_at_limit(membrane) | _at_limit(current),
    )


def _at_limit(state: np.ndarray) -> np.ndarray:
    info = np.iinfo(np.int16)
    return (state >= info.max) | (state <= info.min)


def _inside(record: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    for name in path.split("."):
        record = record[name]
    return record


def _reset(net: nn.Module) -> None:
    reset: Any = getattr(net, "reset_state", None)
    if callable(reset):
        reset()
