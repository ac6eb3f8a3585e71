"""Runs that were recorded elsewhere, checked and in the simulator's own types."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from snnkit.utilities.errors import ConfigurationError, DataError, ShapeError, unknown_key_message

from ..mapping.mapped_network import MappedNetwork
from ..simulator.run import RECORDS, CoreState
from .course import Course

__all__ = ["last_state", "read_recording"]


def read_recording(
    recorded: Mapping[str, Any], axes: Sequence[int], mapped: MappedNetwork
) -> dict[str, np.ndarray]:
    """Return recordings as integer arrays (time, batch, neurons) of the simulator's types.

    Args:
        recorded: by name; see :data:`.course.RECORDED`.
        axes: batch and time.
        mapped: the network.

    Raises:
        ConfigurationError: a name that is no recording of this network.
        ShapeError: a recording of another shape.
        DataError: numbers that are not whole, or beyond their type.
    """
    known = [name for name in RECORDS if name != "Isyn2" or mapped.n_synapses == 2]
    unknown = [name for name in recorded if name not in known]
    if unknown:
        raise ConfigurationError(unknown_key_message("recording", unknown[0], known))
    _, n_hidden, n_out = mapped.shape
    found = {}
    for name, values in recorded.items():
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
        shape = (*axes, n_out if name.endswith("_out") else n_hidden)
        if array.shape != shape:
            raise ShapeError(f"The recording {name} has shape {array.shape}; {shape} is needed.")
        with np.errstate(invalid="ignore"):
            whole: np.ndarray = np.ascontiguousarray(array, dtype=RECORDS[name])
        if not np.array_equal(whole, array):
            raise DataError(
                f"The recording {name} holds numbers that are not whole, or beyond the chip's range."
            )
        found[name] = np.ascontiguousarray(whole.swapaxes(0, 1))
    return found


def last_state(course: Course, after: CoreState) -> CoreState:
    """Return the state that a recording ends in; that of the simulation if it has no steps."""
    recorded = course.recorded
    if not course.counts.shape[1]:
        return after
    isyn = [recorded[name][-1] for name in ("Isyn", "Isyn2") if name in recorded]
    return CoreState(
        np.stack(isyn, axis=1),
        *(recorded[name][-1].astype(np.int16) for name in ("Vmem", "Spikes", "Isyn_out", "Vmem_out")),
    )
