"""The specification as the dict that Rockpool's mapper and quantisers pass around."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from .core import ARRAYS, SHIFTS, Specification

__all__ = ["ROCKPOOL_KEYS", "from_rockpool_dict", "full_width", "normalised_keys", "to_rockpool_dict"]

ROCKPOOL_KEYS = (*ARRAYS, *SHIFTS, "aliases", "dt", "mapped_graph", "bias_hidden")
"""Every key that a Rockpool specification may have; ``bias_hidden`` is its other name for ``bias``."""

# What Rockpool documents for parameters that are left out.
_DEFAULTS = {"threshold": 0, "threshold_out": 0}


def to_rockpool_dict(spec: Specification) -> dict[str, Any]:
    """Return ``spec`` under Rockpool's keys, arrays as writeable copies.

    Where all hidden neurons may take input and drive outputs (A1, A2), weights cover all of them,
    and a single synapse has no axis of its own; elsewhere shapes are those of the specification.
    """
    result: dict[str, Any] = {name: getattr(spec, name).copy() for name in ARRAYS}
    if _is_full_width(get_chip(spec.chip)):
        result |= full_width(spec)
        if spec.n_synapses == 1:
            result["weights_in"] = result["weights_in"][:, :, 0]
            result["weights_rec"] = result["weights_rec"][:, :, 0]
    result |= {name: getattr(spec, name) for name in SHIFTS}
    result["aliases"] = [list(targets) for targets in spec.aliases]
    result["dt"] = spec.dt
    return result


def from_rockpool_dict(spec: Mapping[str, Any], chip: str | Chip) -> Specification:
    """Read a Rockpool specification; every value must be a whole number already.

    Weights narrower than the hidden layer reach its first neurons, or come from its last ones.
    Left out: dashes 1, thresholds 0, no bias, no aliases, the chip's default ``dt``. ``bias_hidden``
    is taken for ``bias``; ``mapped_graph`` is not part of a program and is passed over.

    Raises:
        ConfigurationError: for an unknown key, a missing one, or two names for one thing.
        SpecificationError: if values are not whole numbers (quantise first) or do not fit.
    """
    entry = get_chip(chip)
    values = normalised_keys(spec)
    values.pop("mapped_graph", None)
    missing = [name for name in ("weights_in", "weights_out") if values.get(name) is None]
    if missing:
        raise ConfigurationError(f"The specification has no {' and no '.join(missing)}.")
    for name, default in _DEFAULTS.items():
        if values.get(name) is None:
            values[name] = default
    return Specification.create(chip=entry, **values)


def normalised_keys(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``spec`` with ``bias_hidden`` renamed ``bias``; an unknown key is an error."""
    unknown = [name for name in spec if name not in ROCKPOOL_KEYS]
    if unknown:
        raise ConfigurationError(unknown_key_message("specification key", unknown[0], ROCKPOOL_KEYS))
    values = dict(spec)
    other = values.pop("bias_hidden", None)
    if other is not None:
        if values.get("bias") is not None and not np.array_equal(values["bias"], other):
            raise ConfigurationError("`bias` and `bias_hidden` name the same thing, but differ: give one.")
        values["bias"] = other
    return values


def full_width(spec: Specification) -> dict[str, np.ndarray]:
    """Return input and output weights over all hidden neurons: (Nin, Nhid, S) and (Nhid, Nout)."""
    n_ien, n_oen = spec.weights_in.shape[1], spec.weights_out.shape[0]
    return {
        "weights_in": np.pad(spec.weights_in, ((0, 0), (0, spec.n_hidden - n_ien), (0, 0))),
        "weights_out": np.pad(spec.weights_out, ((spec.n_hidden - n_oen, 0), (0, 0))),
    }


def _is_full_width(chip: Chip) -> bool:
    return chip.max_input_expansion >= chip.max_hidden
