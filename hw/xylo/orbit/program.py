"""From the integers that were found to a program, and what a program does in free run."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..deployment.quantising import QuantisedNetwork
from ..mapping.mapped_network import MappedNetwork
from ..simulator.xylo_sim import XyloSim
from ..specification.core import Specification
from .layers import LayerChoice, mismatch_of
from .lines import biases, thresholds
from .neurons import Layer
from .teacher import Teacher

__all__ = ["FreeRun", "forced_mismatch", "free_run", "program_of"]

_RECORDED_VALUES = 2**26
"""Values that one run of the simulator may record."""


@dataclass(frozen=True, eq=False)
class FreeRun:
    """A program on recordings, with its own events.

    Attributes:
        hidden: int16 (samples, steps, Nhid) events, copies included.
        outputs: int16 (samples, steps, Nout).
        saturations: clamped sums.
    """

    hidden: np.ndarray
    outputs: np.ndarray
    saturations: int


def program_of(
    mapped: MappedNetwork,
    layers: tuple[Layer, Layer],
    chosen: tuple[LayerChoice | None, LayerChoice | None],
    start: QuantisedNetwork,
) -> QuantisedNetwork:
    """Put the integers of hidden and output neurons into a program.

    Args:
        mapped: the network.
        layers: hidden and output neurons.
        chosen: their integers; None leaves a layer as it is in ``start``.
        start: a program of the network.
    """
    hidden, output = chosen
    changes: dict[str, Any] = {}
    scale, scale_out = start.scale, start.scale_out
    if hidden is not None:
        n_in, receiving, _ = mapped.weights_in.shape
        weights = _weights(layers[0], hidden)
        changes |= {"weights_in": weights[:n_in, :receiving], "weights_rec": weights[n_in:]}
        changes["threshold"], changes["bias"] = _bounds(layers[0], hidden)
        changes["weight_shift_in"], changes["weight_shift_rec"] = hidden.shifts
        scale = _scales(hidden)
    if output is not None:
        changes["weights_out"] = _weights(layers[1], output)[:, :, 0]
        changes["threshold_out"], changes["bias_out"] = _bounds(layers[1], output)
        changes["weight_shift_out"] = output.shifts[0]
        scale_out = _scales(output)
    return QuantisedNetwork(replace(start.specification, **changes), scale, scale_out)


def _weights(layer: Layer, chosen: LayerChoice) -> np.ndarray:
    weights = np.zeros(layer.weights.shape, np.int64)
    for number, choice in enumerate(chosen.neurons):
        weights[layer.sources_of(number), number] = choice.weights
    return weights


def _bounds(layer: Layer, chosen: LayerChoice) -> tuple[np.ndarray, np.ndarray]:
    scale = _scales(chosen)
    threshold_offset = np.array([choice.threshold_offset for choice in chosen.neurons])
    bias_offset = np.array([choice.bias_offset for choice in chosen.neurons])
    return (
        thresholds(layer.threshold, scale, threshold_offset, layer.chip),
        biases(layer.bias, scale, bias_offset, layer.chip),
    )


def _scales(chosen: LayerChoice) -> np.ndarray:
    return np.array([choice.scale for choice in chosen.neurons])


def forced_mismatch(spec: Specification, layers: tuple[Layer, Layer]) -> tuple[np.ndarray, np.ndarray]:
    """Return by how many events each neuron of a program differs if the layers' own events drive it."""
    n_in, receiving, synapses = spec.weights_in.shape
    hidden, output = layers
    inputs = np.zeros((n_in, spec.n_hidden, synapses), np.int64)
    inputs[:, :receiving] = spec.weights_in
    weights = np.concatenate([inputs, spec.weights_rec.astype(np.int64)])
    shifts = (spec.weight_shift_in, spec.weight_shift_rec)
    weights_out = spec.weights_out.astype(np.int64)[:, :, None]
    return (
        mismatch_of(hidden, weights, shifts, spec.threshold, spec.bias),
        mismatch_of(output, weights_out, (spec.weight_shift_out,), spec.threshold_out, spec.bias_out),
    )


def free_run(spec: Specification, teacher: Teacher) -> FreeRun:
    """Simulate a program on the teacher's inputs, from rest in every sample."""
    samples, steps, _ = teacher.inputs.shape
    recorded = steps * (spec.n_hidden * (spec.n_synapses + 2) + 3 * spec.n_out)
    share = max(1, _RECORDED_VALUES // max(1, recorded))
    hidden, outputs, saturations = [], [], 0
    for start in range(0, samples, share):
        sim = XyloSim(spec)
        output, _, record = sim(teacher.inputs[start : start + share], record=True)
        hidden.append(record["Spikes"].astype(np.int16))
        outputs.append(output.astype(np.int16))
        saturations += sim.counters.total_saturations
    return FreeRun(np.concatenate(hidden), np.concatenate(outputs), saturations)
