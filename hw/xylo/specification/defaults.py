"""What :meth:`Specification.create` fills in."""

from typing import Any

import numpy as np

from snnkit.utilities.chips import get_chip

from .core import SpecificationError
from .integers import exact_integers

__all__ = ["filled"]

_DEFAULTS = {
    "dash_mem": 1,
    "dash_syn": 1,
    "dash_syn_2": 1,
    "dash_mem_out": 1,
    "dash_syn_out": 1,
    "threshold": 1,
    "threshold_out": 1,
    "bias": 0,
    "bias_out": 0,
}


def filled(given: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments from those of ``create``; None stands for left out."""
    try:
        return _filled(dict(given))
    except ValueError as error:
        if isinstance(error, SpecificationError):
            raise
        raise SpecificationError(f"Not a specification: {error}") from error


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    chip = get_chip(values["chip"])
    values["chip"] = chip.name
    values["weights_in"] = _with_synapse_axis("weights_in", values["weights_in"])
    values["weights_out"] = exact_integers("weights_out", values["weights_out"], np.int8)
    if values["weights_out"].ndim != 2:
        raise SpecificationError(
            f"weights_out has shape {values['weights_out'].shape}; (Noen, Nout) is needed."
        )
    if values["weights_rec"] is not None:
        values["weights_rec"] = _with_synapse_axis("weights_rec", values["weights_rec"])
    n_hidden = _hidden_count(values)
    _match_synapses(values, n_hidden)
    n_out = values["weights_out"].shape[1]
    for name, default in _DEFAULTS.items():
        value = default if values[name] is None else values[name]
        if np.ndim(value) == 0:
            value = np.full(
                n_out if name.endswith("_out") else n_hidden, exact_integers(name, value, np.int64)
            )
        values[name] = value
    if values["aliases"] is None:
        values["aliases"] = ((),) * n_hidden
    if values["dt"] is None:
        values["dt"] = chip.default_dt
    return values


def _with_synapse_axis(name: str, value: Any) -> np.ndarray:
    weights = exact_integers(name, value, np.int8)
    if weights.ndim not in (2, 3):
        raise SpecificationError(f"{name} has shape {weights.shape}; (sources, targets[, synapses]).")
    return weights if weights.ndim == 3 else weights[:, :, None]


def _hidden_count(values: dict[str, Any]) -> int:
    if values["weights_rec"] is not None:
        return values["weights_rec"].shape[0]
    per_neuron = ("dash_mem", "dash_syn", "dash_syn_2", "threshold", "bias")
    sizes = [len(values[name]) for name in per_neuron if np.ndim(values[name]) == 1]
    if values["aliases"] is not None:
        sizes.append(len(values["aliases"]))
    return max([*sizes, values["weights_in"].shape[1], values["weights_out"].shape[0]])


def _match_synapses(values: dict[str, Any], n_hidden: int) -> None:
    """Give input and recurrent weights the same number of synapses; the missing weights are zero."""
    w_in, w_rec = values["weights_in"], values["weights_rec"]
    n_synapses = w_in.shape[2] if w_rec is None else max(w_in.shape[2], w_rec.shape[2])
    if w_rec is None:
        w_rec = np.zeros((n_hidden, n_hidden, n_synapses), np.int8)
    for name, weights in (("weights_in", w_in), ("weights_rec", w_rec)):
        missing = n_synapses - weights.shape[2]
        values[name] = np.pad(weights, ((0, 0), (0, 0), (0, missing)))
