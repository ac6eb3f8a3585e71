"""The rules for what leaves a network, and for the circuit as a whole."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .values import INPUT, Current, Unknown, Value

if TYPE_CHECKING:
    from .reader import Reader

__all__ = ["close_outputs"]


def close_outputs(reader: "Reader", values: Sequence[Value], names: Sequence[str]) -> None:
    """Mark the output populations, then check what only the finished circuit shows."""
    for index, value in enumerate(values):
        name = names[index] if len(names) == len(values) else ", ".join(names)
        _mark_outputs(reader, value, name)
    _check_output_roles(reader)
    _check_layers(reader)
    _check_time_steps(reader)
    _check_skips(reader)


def _mark_outputs(reader: "Reader", value: Value, name: str) -> None:
    if isinstance(value, Unknown):
        return
    if isinstance(value, Current):
        fix = "End the network with a LIFTorch layer."
        reader.refuse("output neurons needed", name, "weighted currents", "events of neurons", fix)
        return
    for segment in value.segments:
        if segment.carrier == INPUT:
            fix = "End the network with a LIFTorch layer."
            reader.refuse("output neurons needed", name, "the network's input", "events of neurons", fix)
        elif len(segment.counts) > 1 or segment.counts[0][1] > 1:
            paths = " + ".join(reader.circuit.nodes[population].path for population, _ in segment.counts)
            fix = "Put a LinearTorch and a LIFTorch behind the residual block."
            reader.refuse("alias to an output", name, paths, "hidden neurons only", fix)
        elif segment.carrier in reader.circuit.outputs:
            fix = "List each output once, and copy its channels after the chip."
            reader.refuse("output used twice", name, reader.circuit.nodes[segment.carrier].path, "once", fix)
        else:
            reader.circuit.nodes[segment.carrier].is_output = True
            reader.circuit.outputs.append(segment.carrier)


def _check_output_roles(reader: "Reader") -> None:
    nodes = reader.circuit.nodes
    for projection in reader.circuit.projections:
        target = nodes[projection.target]
        if target.is_output and projection.recurrent:
            fix = "Use has_rec=False in the last layer, or add a LinearTorch and a LIFTorch behind it."
            reader.refuse("recurrent outputs", target.path, projection.path, "none", fix)
        elif target.is_output and projection.counts[0][0] == INPUT:
            fix = "Put a hidden LIFTorch layer between the input and these neurons."
            reader.refuse("input drives outputs", projection.path, target.path, "hidden neurons", fix)
        for population, _ in projection.counts:
            if population != INPUT and nodes[population].is_output and not projection.recurrent:
                fix = "Give the outputs a LinearTorch and a LIFTorch of their own."
                reader.refuse("outputs drive neurons", nodes[population].path, projection.path, "none", fix)
    for node in nodes:
        if node.is_output and node.hop_delay:
            fix = "Set hop_delay in neurons that drive others alone: the chip's outputs leave it at once."
            reader.refuse("hop delay of outputs", node.path, "1 step", "0 steps", fix)
        if node.is_output and node.synapses > 1:
            fix = "Give the last layer one synapse for each neuron."
            reader.refuse("synapses per output neuron", node.path, node.synapses, 1, fix)


def _check_layers(reader: "Reader") -> None:
    if reader.circuit.outputs and not reader.circuit.hidden:
        where = reader.circuit.nodes[reader.circuit.outputs[0]].path
        fix = "The chip's inputs reach hidden neurons only: put a LinearTorch and a LIFTorch in front."
        reader.refuse("hidden layer needed", where, 1, "2 layers of neurons", fix)


def _check_time_steps(reader: "Reader") -> None:
    nodes = reader.circuit.nodes
    for node in nodes[1:]:
        if not np.isclose(node.dt, nodes[0].dt, rtol=1e-5, atol=0):
            fix = "Build all layers with the same dt."
            reader.refuse("time step", node.path, f"{node.dt:g} s", f"{nodes[0].dt:g} s", fix)


def _check_skips(reader: "Reader") -> None:
    nodes, limit = reader.circuit.nodes, reader.chip.max_alias_targets
    targets: dict[int, list[int]] = {}
    for skip in reader.circuit.skips:
        targets.setdefault(skip.source, []).append(skip.target)
        if nodes[skip.source].is_output:
            fix = "Put the residual block in front of the last layer."
            reader.refuse("alias from an output", skip.path, nodes[skip.source].path, "hidden neurons", fix)
    for source, found in targets.items():
        if len(found) > limit:
            onto = " and ".join(nodes[target].path for target in found)
            fix = "A neuron's events are copied once: let only one residual block or skip start here."
            where = f"{nodes[source].path} (copied onto {onto})"
            reader.refuse("alias targets", where, len(found), limit, fix)
