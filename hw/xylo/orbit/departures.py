"""How a program departs from the plain rule, neuron by neuron: scales, offsets, weights turned."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from snnkit.transforms.scaling import ScalePlan

from ..deployment.quantising import QuantisedNetwork, integers_of
from ..mapping.mapped_network import MappedNetwork

__all__ = ["Departures", "departures_of"]

ByNeuron = dict[str, np.ndarray]
"""Module path -> (N,)."""


@dataclass(frozen=True, eq=False)
class Departures:
    """See :class:`.result.OrbitReport` for the meaning."""

    scales: ByNeuron
    threshold_offsets: ByNeuron
    bias_offsets: ByNeuron
    turned: ByNeuron


def departures_of(mapped: MappedNetwork, quantised: QuantisedNetwork, plan: ScalePlan) -> Departures:
    """Compare a program with the one that its own scales give by rounding alone.

    Args:
        mapped: the network.
        quantised: the program and its scales.
        plan: with the program's weight shifts.
    """
    spec = quantised.specification
    largest = integers_of(mapped, replace(plan, peaks={}))
    own = {"hidden": quantised.scale, "output": quantised.scale_out}
    scales = {p.path: torch.from_numpy(own[p.layer][p.start : p.stop]) for p in mapped.populations}
    plain = integers_of(mapped, plan, scales).arrays
    turned = {
        "hidden": _turned(spec.weights_in, plain["weights_in"], mapped.shape[1])
        + _turned(spec.weights_rec, plain["weights_rec"], mapped.shape[1]),
        "output": _turned(spec.weights_out[:, :, None], plain["weights_out"][:, :, None], mapped.shape[2]),
    }

    def by_path(hidden: np.ndarray, output: np.ndarray) -> ByNeuron:
        layers = {"hidden": hidden, "output": output}
        return {p.path: layers[p.layer][p.start : p.stop].copy() for p in mapped.populations}

    return Departures(
        scales=by_path(quantised.scale / largest.scale, quantised.scale_out / largest.scale_out),
        threshold_offsets=by_path(
            spec.threshold - plain["threshold"], spec.threshold_out - plain["threshold_out"]
        ),
        bias_offsets=by_path(spec.bias - plain["bias"], spec.bias_out - plain["bias_out"]),
        turned=by_path(turned["hidden"], turned["output"]),
    )


def _turned(found: np.ndarray, plain: np.ndarray, neurons: int) -> np.ndarray:
    """Return for each neuron how many of its weights (sources, N, synapses) differ."""
    counts = np.zeros(neurons, np.int64)
    counts[: found.shape[1]] = (found != plain).sum(axis=(0, 2))
    return counts
