"""Rockpool's mapper: a network's graph in, a dict of float arrays under Rockpool's keys out."""

from typing import Any

import numpy as np
from torch import nn

from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..violation import MappingError, Violation
from .lowering import inspect_network, refusal
from .mapped_network import MappedNetwork
from .network_limits import exact_dash

__all__ = ["mapper"]

_WEIGHTS = ("weights_in", "weights_rec", "weights_out")
_THRESHOLDS = ("threshold", "threshold_out")
_DASHES = ("dash_mem", "dash_mem_out", "dash_syn", "dash_syn_2", "dash_syn_out")


def mapper(  # noqa: PLR0917 - Rockpool's order of arguments
    graph: nn.Module,
    weight_dtype: Any = "float",
    threshold_dtype: Any = "float",
    dash_dtype: Any = "float",
    max_hidden_neurons: int | None = None,
    max_output_neurons: int | None = None,
    *,
    chip: str | Chip,
) -> dict[str, Any]:
    """Map a network onto a chip, in float; the graph is only read.

    Keys: ``mapped_graph`` (the graph), ``weights_in``, ``weights_rec``, ``weights_out``, ``dash_mem``,
    ``dash_mem_out``, ``dash_syn``, ``dash_syn_2``, ``dash_syn_out``, ``threshold``, ``threshold_out``,
    ``bias``, ``bias_out``, ``weight_shift_in``, ``weight_shift_rec``, ``weight_shift_out`` (0), ``aliases``
    (a list for each hidden neuron) and ``dt``. Shapes are Rockpool's: on A1 and A2 ``(Nin, Nhid[, 2])``,
    ``(Nhid, Nhid[, 2])``, ``(Nhid, Nout)``, without a synapse axis if there is one synapse; on A3 and IMU
    ``(Nin, Nien, S)``, ``(Nhid, Nhid, S)``, ``(Noen, Nout)``.

    Dashes are exact, ``-log2(1 - decay)`` (Rockpool gives ``log2(tau / dt)``). Biases of linear layers are
    part of ``bias`` as ``b * decay / (1 - decay)``, where a constant synaptic input settles. Weights that
    cancel copied events are included where a residual block is recurrent.

    Args:
        graph: ``net.as_graph()``, or the network itself.
        weight_dtype: ``"float"``, or an integer type to round to.
        threshold_dtype: the same for thresholds.
        dash_dtype: the same for dashes.
        max_hidden_neurons: fewer hidden neurons than the chip has.
        max_output_neurons: fewer outputs than the chip has.
        chip: name in the chip table.

    Raises:
        MappingError: with every violation (a ``DRCError``, which is a ``ValueError``).
        ConfigurationError: a type that is none, or a value that does not fit into it.
    """
    entry = get_chip(chip)
    inspection = inspect_network(graph, entry)
    mapped = inspection.mapped
    violations = (*inspection.violations, *_own_limits(mapped, max_hidden_neurons, max_output_neurons))
    if violations:
        raise MappingError(refusal(entry, violations), violations)
    spec = _arrays(mapped)
    for names, dtype in ((_WEIGHTS, weight_dtype), (_THRESHOLDS, threshold_dtype), (_DASHES, dash_dtype)):
        for name in names:
            spec[name] = _cast(name, spec[name], dtype)
    shifts = dict.fromkeys(("weight_shift_in", "weight_shift_rec", "weight_shift_out"), 0)
    aliases = [list(targets) for targets in mapped.aliases]
    return {"mapped_graph": graph, **spec, **shifts, "aliases": aliases, "dt": mapped.dt}


def _own_limits(
    mapped: MappedNetwork, max_hidden: int | None, max_output: int | None
) -> tuple[Violation, ...]:
    _, n_hidden, n_out = mapped.shape
    rows = (("hidden", n_hidden, max_hidden), ("output", n_out, max_output))
    return tuple(
        Violation(f"{layer} neurons", f"max_{layer}_neurons", used, limit, "Raise it, or use smaller layers.")
        for layer, used, limit in rows
        if limit is not None and used > limit
    )


def _arrays(mapped: MappedNetwork) -> dict[str, np.ndarray]:
    dash_syn = exact_dash(mapped.decay_syn)
    dash_syn_out = exact_dash(mapped.decay_syn_out)
    # 2**dash - 1 = decay / (1 - decay): where a constant input to a synapse settles.
    bias = mapped.bias + (mapped.synaptic_bias * (np.exp2(dash_syn) - 1)).sum(axis=1)
    bias_out = mapped.bias_out + mapped.synaptic_bias_out * (np.exp2(dash_syn_out) - 1)
    two = mapped.n_synapses == 2
    return {
        **_rockpool_weights(mapped),
        "dash_mem": exact_dash(mapped.decay_mem),
        "dash_mem_out": exact_dash(mapped.decay_mem_out),
        "dash_syn": dash_syn[:, 0],
        "dash_syn_2": dash_syn[:, 1] if two else np.ones(len(dash_syn)),
        "dash_syn_out": dash_syn_out,
        "threshold": mapped.threshold,
        "threshold_out": mapped.threshold_out,
        "bias": bias,
        "bias_out": bias_out,
    }


def _rockpool_weights(mapped: MappedNetwork) -> dict[str, np.ndarray]:
    w_in, w_rec, w_out = (getattr(mapped, name) for name in _WEIGHTS)
    n_hidden = mapped.shape[1]
    if mapped.chip.max_input_expansion >= mapped.chip.max_hidden:
        w_in = np.pad(w_in, ((0, 0), (0, n_hidden - w_in.shape[1]), (0, 0)))
        w_out = np.pad(w_out, ((n_hidden - w_out.shape[0], 0), (0, 0)))
        if mapped.n_synapses == 1:
            w_in, w_rec = w_in[:, :, 0], w_rec[:, :, 0]
    return {"weights_in": w_in, "weights_rec": w_rec, "weights_out": w_out}


def _cast(name: str, values: np.ndarray, dtype: Any) -> np.ndarray:
    """Return values in another type; nothing wraps around."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        known = ("float", "float32", "float64", "int", "int8", "int16", "uint8")
        raise ConfigurationError(unknown_key_message(f"type for {name}", str(dtype), known)) from None
    if wanted.kind not in "iu":
        return values.astype(wanted)
    rounded, limits = np.round(values), np.iinfo(wanted)
    if rounded.size and (rounded.min() < limits.min or rounded.max() > limits.max):
        raise ConfigurationError(
            f"{name} reaches from {rounded.min():g} to {rounded.max():g} and does not fit {wanted}: "
            "map in float and quantise the result."
        )
    return rounded.astype(wanted)
