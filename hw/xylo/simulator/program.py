"""A specification as the flat arrays that the kernels run."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from snnkit.utilities.chips import Chip, get_chip

from ..specification.core import ARRAYS, SHIFTS, Specification

__all__ = ["WIDTH", "Connections", "Layer", "Program", "compile_program", "padded", "program_of"]

WIDTH = 32
"""Numbers that one vector instruction of the kernels takes: samples, or neighbouring neurons."""

DENSE_FILL = 0.04
"""From this share of non-zero weights on, whole rows are added faster than single weights."""

FULL_FILL = 0.5
"""The same for samples side by side."""

MAX_DENSE_BYTES = 2**26


class Connections(NamedTuple):
    """Weights of one layer to another, by source; targets count ``synapse * padded neurons + neuron``.

    ``dense`` (sources, synapses * padded neurons) holds the same weights, or is empty if they are few.
    """

    first: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    peak: np.ndarray
    """Largest weight magnitude of each source."""
    reach: int
    """How far one event of every source can move a target up or down."""
    dense: np.ndarray
    fours: np.ndarray
    """First targets of all groups of four that have weights, if most weights are present; else empty."""


class Layer(NamedTuple):
    """Constants of a layer's neurons, padded with neurons that stay at rest and never fire."""

    size: int
    synapses: int
    cap: int
    dash_syn: np.ndarray
    dash_mem: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray


class Program(NamedTuple):
    """All that the kernels need to know of a specification."""

    version: int
    has_bias: bool
    inputs: Connections
    recurrent: Connections
    outputs: Connections
    hidden: Layer
    output: Layer
    alias_first: np.ndarray
    alias_target: np.ndarray


def padded(size: int) -> int:
    """Return ``size`` rounded up to whole vectors."""
    return -(-size // WIDTH) * WIDTH


def compile_program(spec: Specification) -> Program:
    """Flatten ``spec``; nothing of it is judged here."""
    return program_of(
        get_chip(spec.chip),
        {name: getattr(spec, name) for name in (*ARRAYS, *SHIFTS)},
        spec.aliases,
    )


def program_of(chip: Chip, values: Mapping[str, Any], aliases: Sequence[Sequence[int]]) -> Program:
    """Flatten the arrays and shifts of a specification, given by name."""
    n_hidden, n_synapses = len(values["threshold"]), values["weights_in"].shape[2]
    n, n_out = padded(n_hidden), padded(len(values["threshold_out"]))
    silent = n_hidden - values["weights_out"].shape[0]
    weights_out = np.zeros((n_hidden, len(values["threshold_out"]), 1), values["weights_out"].dtype)
    weights_out[silent:, :, 0] = values["weights_out"]
    dash_syn = np.stack([values[name] for name in ("dash_syn", "dash_syn_2")[:n_synapses]])
    targets = [np.asarray(row, np.int32) for row in aliases]
    return Program(
        version=chip.core_version,
        has_bias=bool(values["bias"].any() or values["bias_out"].any()),
        inputs=_connections(values["weights_in"], values["weight_shift_in"], n),
        recurrent=_connections(values["weights_rec"], values["weight_shift_rec"], n),
        outputs=_connections(weights_out, values["weight_shift_out"], n_out),
        hidden=_layer(
            chip.hidden_event_cap, dash_syn, values["dash_mem"], values["bias"], values["threshold"]
        ),
        output=_layer(
            chip.output_event_cap,
            values["dash_syn_out"][None],
            values["dash_mem_out"],
            values["bias_out"],
            values["threshold_out"],
        ),
        alias_first=_offsets([len(row) for row in targets]),
        alias_target=np.concatenate([*targets, np.zeros(0, np.int32)]),
    )


def _offsets(lengths: list[int] | np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _connections(weights: np.ndarray, shift: int, n_padded: int) -> Connections:
    """Shift ``weights`` (sources, targets, synapses) into 16 bits, where they wrap, and list them."""
    n_sources, n_targets, n_synapses = weights.shape
    shifted = (weights.astype(np.int64) << shift).astype(np.int16)
    by_synapse = np.zeros((n_sources, n_synapses, n_padded), np.int16)
    by_synapse[:, :, :n_targets] = shifted.transpose(0, 2, 1)
    present = np.zeros(by_synapse.shape, bool)
    present[:, :, :n_targets] = (weights != 0).transpose(0, 2, 1)
    rows = by_synapse.reshape(n_sources, -1)
    source, target = np.nonzero(present.reshape(n_sources, -1))
    is_dense = len(source) > DENSE_FILL * weights.size and rows.nbytes <= MAX_DENSE_BYTES
    is_full = is_dense and len(source) > FULL_FILL * weights.size
    rises = np.maximum(rows, 0).sum(axis=0, dtype=np.int64)
    falls = rises - rows.sum(axis=0, dtype=np.int64)
    return Connections(
        first=_offsets(np.bincount(source, minlength=n_sources)),
        target=target.astype(np.uint32),
        weight=rows[source, target],
        peak=np.abs(rows.astype(np.int32)).max(axis=1, initial=0).astype(np.int64),
        reach=int(max(rises.max(initial=0), falls.max(initial=0))),
        dense=rows if is_dense else np.zeros((0, 0), np.int16),
        fours=4 * np.unique(target // 4) if is_full else np.zeros(0, np.int64),
    )


def _layer(
    cap: int, dash_syn: np.ndarray, dash_mem: np.ndarray, bias: np.ndarray, threshold: np.ndarray
) -> Layer:
    size = len(threshold)

    def widened(values: np.ndarray, fill: int) -> np.ndarray:
        result = np.full((*values.shape[:-1], padded(size)), fill, np.int16)
        result[..., :size] = values
        return result

    # Beyond 15 a shift of a 16-bit number changes nothing any more.
    return Layer(
        size,
        len(dash_syn),
        cap,
        widened(np.minimum(dash_syn, 15), 0),
        widened(np.minimum(dash_mem, 15), 0),
        widened(bias, 0),
        widened(threshold, 2**15 - 1),
    )
