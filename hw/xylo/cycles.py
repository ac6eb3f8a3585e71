"""Clock cycles that a chip needs for one time step, and the clock that keeps up with real time.

The model is the vendor's, published with Rockpool. Per time step, with probabilities of an event
``p_i`` (an input channel) and ``p_h`` (a hidden neuron), mean recurrent fan-out ``F`` of synapse 1
and mean alias targets and sources ``a_t``, ``a_s`` of a hidden neuron::

    input weights      Nin * (3.5 * p_i * Nien + 1)
    recurrent weights  Nhid * (7 * F * p_h + 3)
    output weights     Noen * p_h * (1 + 8 * Nout)
    hidden neurons     Nhid * (19 + 2 max(p_h, a_t a_s) + 3 max(p_h a_t, a_t a_s) + p_h + max(p_h, a_t) a_s)
    output neurons     12 * Nout
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from snnkit.utilities.chips import Chip, get_chip
from snnkit.utilities.errors import ParameterError

from .configuration.conversion import chip_of_configuration, specification_from_configuration
from .specification.core import Specification

__all__ = ["CycleCount", "chip_of", "count_cycles", "cycles_model", "est_clock_freq", "time_step_of"]


@dataclass(frozen=True)
class CycleCount:
    """Clock cycles per time step, by what they are spent on.

    Attributes:
        input_weights: delivery of input events.
        recurrent_weights: delivery of hidden events to hidden neurons.
        output_weights: delivery of hidden events to output neurons.
        hidden_neurons: update of hidden neurons, aliases included.
        output_neurons: update of output neurons.
        second_synapse: operations of synapse 2, which run beside the others and add no cycles.
    """

    input_weights: float
    recurrent_weights: float
    output_weights: float
    hidden_neurons: float
    output_neurons: float
    second_synapse: float

    @property
    def total(self) -> float:
        """Cycles per time step."""
        return (
            self.input_weights
            + self.recurrent_weights
            + self.output_weights
            + self.hidden_neurons
            + self.output_neurons
        )


def count_cycles(config: Any, input_sp: Any = 1.0, hidden_sp: Any = 1.0) -> CycleCount:
    """Count the cycles per time step of a specification or configuration, by part.

    Args:
        config: a :class:`Specification`, or a chip configuration (ours or the vendor's).
        input_sp: probability of an event in an input channel and time step, or a raster of any
            shape, of which the fraction of non-zero bins is taken. 1 is the worst case.
        hidden_sp: the same for hidden neurons.

    Raises:
        ParameterError: if a probability is outside 0..1.
    """
    spec = config if isinstance(config, Specification) else specification_from_configuration(config)
    p_in, p_hid = _probability("input_sp", input_sp), _probability("hidden_sp", hidden_sp)
    n_in, n_hidden, n_out = spec.shape
    n_ien, n_oen = _expansion_neurons(spec)
    fan_out = int(np.count_nonzero(spec.weights_rec[:, :, 0])) / n_hidden
    # Each alias has one source and one target, so both means are the same number.
    alias = sum(len(targets) for targets in spec.aliases) / n_hidden
    per_hidden = 19 + 2 * max(p_hid, alias**2) + 3 * max(p_hid * alias, alias**2)
    per_hidden += p_hid + max(p_hid, alias) * alias
    second = 1.5 * p_in * n_in * n_ien + 5 * fan_out * p_hid * n_hidden + n_hidden
    return CycleCount(
        input_weights=n_in * (3.5 * p_in * n_ien + 1),
        recurrent_weights=n_hidden * (7 * fan_out * p_hid + 3),
        output_weights=n_oen * p_hid * (1 + 8 * n_out),
        hidden_neurons=n_hidden * per_hidden,
        output_neurons=12.0 * n_out,
        second_synapse=second if spec.n_synapses == 2 else 0.0,
    )


def cycles_model(
    config: Any,
    input_sp: Any = 1.0,
    hidden_sp: Any = 1.0,
    output_sp: Any = 1.0,
) -> float | tuple[float, float]:
    """Return the clock cycles per time step; for A1 and A2 also the operations of synapse 2.

    Arguments as in :func:`count_cycles`. ``output_sp`` is part of Rockpool's signature; output
    events cost nothing in the model.
    """
    _probability("output_sp", output_sp)
    cycles = count_cycles(config, input_sp, hidden_sp)
    if _counts_all_neurons(chip_of(config)):
        return cycles.total, cycles.second_synapse
    return cycles.total


def est_clock_freq(config: Any, dt: float | None = None, margin: float = 0.2) -> float:
    """Return the main clock in Hz that keeps up with real time when every neuron fires at each step.

    Args:
        config: a :class:`Specification`, or a chip configuration (ours or the vendor's).
        dt: time step in seconds; that of the specification if left out.
        margin: share added on top.

    Raises:
        ParameterError: if ``dt`` is missing or not positive, or ``margin`` is negative.
    """
    seconds = time_step_of(config, dt)
    if not 0 <= margin < float("inf"):
        raise ParameterError(f"margin = {margin} must not be negative.")
    return count_cycles(config).total * (1 + margin) / seconds


def chip_of(config: Any) -> Chip:
    """Return the chip of a specification or configuration."""
    return get_chip(config.chip) if isinstance(config, Specification) else chip_of_configuration(config)


def time_step_of(config: Any, dt: float | None) -> float:
    """Return ``dt``, or that of a specification; ParameterError if it is missing or not positive."""
    if dt is None and isinstance(config, Specification):
        dt = config.dt
    if dt is None or not 0 < dt < float("inf"):
        raise ParameterError(f"dt = {dt} must be a positive number of seconds; a configuration has none.")
    return dt


def _counts_all_neurons(chip: Chip) -> bool:
    """Whether the chip goes through all hidden neurons for input and output, having no windows."""
    return chip.max_input_expansion >= chip.max_hidden


def _expansion_neurons(spec: Specification) -> tuple[int, int]:
    if _counts_all_neurons(get_chip(spec.chip)):
        return spec.n_hidden, spec.n_hidden
    n_ien = int(spec.weights_in.any(axis=(0, 2)).sum())
    return n_ien, int(spec.weights_out.any(axis=1).sum())


def _probability(name: str, value: Any) -> float:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.ndim:
        if array.size == 0:
            raise ParameterError(f"{name} is an empty raster.")
        return float(np.count_nonzero(array)) / array.size
    if not 0 <= float(array) <= 1:
        raise ParameterError(f"{name} = {float(array)} is no probability, which is 0..1.")
    return float(array)
