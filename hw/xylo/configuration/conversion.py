"""From a specification to a chip configuration and back; the vendor's own objects are read too."""

from typing import Any

import numpy as np

from snnkit.utilities.chips import CHIPS, Chip, get_chip
from snnkit.utilities.errors import ConfigurationError

from ..specification.core import Specification
from ..specification.rockpool_dict import full_width
from ..violation import MappingError
from .objects import XyloConfiguration, configuration_class

__all__ = ["chip_of_configuration", "configuration_from_specification", "specification_from_configuration"]


def configuration_from_specification(spec: Specification) -> XyloConfiguration:
    """Write a specification into a new configuration of its chip; limits are not checked here.

    Raises:
        MappingError: if the configuration has no place for it: a second synapse on a chip with
            one, or several alias targets of one neuron.
    """
    chip = get_chip(spec.chip)
    unplaced = [v for v in spec.violations() if v.rule in ("synapses per hidden neuron", "alias targets")]
    if unplaced:
        raise MappingError(f"A configuration of {chip.title} has no place for this.", unplaced)
    config: Any = configuration_class(chip)()
    weights_in, weights_out = spec.weights_in, spec.weights_out
    if hasattr(config, "reservoir"):  # these chips count rows and columns from neuron 0
        weights_in, weights_out = full_width(spec).values()
    hidden = _hidden_layer(config)
    config.input.weights, hidden.weights = weights_in[:, :, 0], spec.weights_rec[:, :, 0]
    config.readout.weights = weights_out
    if chip.hidden_synapses == 2:
        config.synapse2_enable = spec.n_synapses == 2
        config.input.syn2_weights = _second_synapse(weights_in)
        hidden.syn2_weights = _second_synapse(spec.weights_rec)
    config.input.weight_bit_shift = spec.weight_shift_in
    hidden.weight_bit_shift = spec.weight_shift_rec
    config.readout.weight_bit_shift = spec.weight_shift_out
    hidden.neurons = _hidden_neurons(spec, config)
    config.readout.neurons = _output_neurons(spec, config)
    hidden.aliasing = any(spec.aliases)
    config.bias_enable = bool(spec.bias.any() or spec.bias_out.any())
    _enable_clocks(config)
    return config


def specification_from_configuration(config: Any, dt: float | None = None) -> Specification:
    """Read a configuration, ours or the vendor's object; ``dt`` in seconds is not part of one.

    Raises:
        ConfigurationError: if a feature is used but switched off, or the chip is unknown.
        SpecificationError: if the parts do not fit each other.
    """
    chip = chip_of_configuration(config)
    hidden = _hidden_layer(config)
    _refuse_contradictions(config, hidden, chip)
    neurons, outputs = list(hidden.neurons), list(config.readout.neurons)
    n_hidden = len(neurons)
    two = chip.hidden_synapses == 2 and config.synapse2_enable
    weights_in = _synapses(config.input, two)
    weights_rec = _synapses(hidden, two)
    if weights_rec.size == 0:
        weights_rec = np.zeros((n_hidden, n_hidden, 2 if two else 1), np.int8)
    weights_out = np.asarray(config.readout.weights)
    if hasattr(config, "reservoir") and weights_out.ndim == 2:
        weights_out = np.pad(weights_out, ((0, max(0, n_hidden - len(weights_out))), (0, 0)))
    return Specification.create(
        chip=chip,
        weights_in=weights_in,
        weights_rec=weights_rec,
        weights_out=weights_out,
        dash_mem=[n.v_mem_decay for n in neurons],
        dash_mem_out=[n.v_mem_decay for n in outputs],
        dash_syn=[n.i_syn_decay for n in neurons],
        dash_syn_2=[n.i_syn2_decay for n in neurons] if chip.hidden_synapses == 2 else None,
        dash_syn_out=[n.i_syn_decay for n in outputs],
        threshold=[n.threshold for n in neurons],
        threshold_out=[n.threshold for n in outputs],
        bias=[n.v_mem_bias for n in neurons],
        bias_out=[n.v_mem_bias for n in outputs],
        weight_shift_in=config.input.weight_bit_shift,
        weight_shift_rec=hidden.weight_bit_shift,
        weight_shift_out=config.readout.weight_bit_shift,
        aliases=[() if n.alias_target is None else (n.alias_target,) for n in neurons],
        dt=dt,
    )


def chip_of_configuration(config: Any) -> Chip:
    """Return the chip of a configuration; the vendor's objects are told by their module."""
    if isinstance(config, XyloConfiguration):
        return get_chip(config.chip)
    module = type(config).__module__.split(".")
    for chip in CHIPS.values():
        if chip.samna_module in module:
            return chip
    raise ConfigurationError(f"{type(config).__name__} is not the configuration of a known chip.")


def _hidden_layer(config: Any) -> Any:
    return config.reservoir if hasattr(config, "reservoir") else config.hidden


def _second_synapse(weights: np.ndarray) -> np.ndarray:
    return weights[:, :, 1] if weights.shape[2] == 2 else np.zeros_like(weights[:, :, 0])


def _hidden_neurons(spec: Specification, config: Any) -> list[Any]:
    hidden = _hidden_layer(config)
    kind = type(hidden).neurons.kind
    neurons = [
        kind(
            threshold=int(spec.threshold[i]),
            v_mem_decay=int(spec.dash_mem[i]),
            i_syn_decay=int(spec.dash_syn[i]),
            v_mem_bias=int(spec.bias[i]),
            alias_target=spec.aliases[i][0] if spec.aliases[i] else None,
        )
        for i in range(spec.n_hidden)
    ]
    if hasattr(config, "synapse2_enable"):
        for neuron, dash in zip(neurons, spec.dash_syn_2.tolist(), strict=True):
            neuron.i_syn2_decay = dash
    return neurons


def _output_neurons(spec: Specification, config: Any) -> list[Any]:
    kind = type(config.readout).neurons.kind
    return [
        kind(
            threshold=int(spec.threshold_out[i]),
            v_mem_decay=int(spec.dash_mem_out[i]),
            i_syn_decay=int(spec.dash_syn_out[i]),
            v_mem_bias=int(spec.bias_out[i]),
        )
        for i in range(spec.n_out)
    ]


def _enable_clocks(config: Any) -> None:
    """Switch on what the program needs; the core of a Xylo-Audio 2 stands still without."""
    if hasattr(config, "reservoir"):
        config.debug.isyn_clock_enable = True
        config.debug.isyn2_clock_enable = config.synapse2_enable
        config.debug.ra_clock_enable = True
        config.debug.bias_clock_enable = config.bias_enable
        config.debug.hm_clock_enable = True
        config.debug.ram_power_enable = True
    if hasattr(config, "imu_if_input_enable"):
        config.imu_if_input_enable = False
        config.debug.always_update_omp_stat = True


def _synapses(part: Any, two: bool) -> np.ndarray:
    """Return the weights of a part as (sources, targets, synapses)."""
    first = np.asarray(part.weights)
    if first.ndim != 2:
        first = first.reshape(0, 0)
    if not two:
        return first[:, :, None]
    second = np.asarray(part.syn2_weights)
    if second.size == 0:
        second = np.zeros_like(first)
    if second.shape != first.shape:
        raise ConfigurationError(f"weights are {first.shape}, but syn2_weights {second.shape}.")
    return np.stack([first, second], axis=2)


def _refuse_contradictions(config: Any, hidden: Any, chip: Chip) -> None:
    """Refuse what the chip would ignore: a feature that is used but not enabled."""
    neurons, outputs = list(hidden.neurons), list(config.readout.neurons)
    problems = []
    if not hidden.aliasing and any(n.alias_target is not None for n in neurons):
        problems.append("neurons have alias targets, but `aliasing` is False")
    if not config.bias_enable and any(n.v_mem_bias for n in [*neurons, *outputs]):
        problems.append("neurons have a bias, but `bias_enable` is False")
    if chip.hidden_synapses == 2 and not config.synapse2_enable:
        used = [np.asarray(part.syn2_weights).any() for part in (config.input, hidden)]
        if any(used):
            problems.append("there are `syn2_weights`, but `synapse2_enable` is False")
    if problems:
        raise ConfigurationError(
            f"The chip would ignore a part of this configuration: {'; '.join(problems)}."
        )
