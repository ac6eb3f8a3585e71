"""From a mapped network in float to the integer program, by the rule of ``snnkit.transforms.scaling``."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from snnkit.transforms.scaling import (
    ScalePlan,
    dash_for_decay,
    fold_bias,
    neuron_scales,
    quantise_bias,
    quantise_threshold,
    quantise_weights,
)
from snnkit.utilities.chips import Chip
from snnkit.utilities.errors import ConfigurationError, unknown_key_message

from ..mapping.mapped_network import MappedNetwork
from ..specification.core import Specification

__all__ = ["Integers", "QuantisedNetwork", "dashes_of", "folded_bias", "integers_of", "quantise"]


@dataclass(frozen=True, eq=False)
class Integers:
    """The integers of a program before they are a specification, and the scales they were made with.

    Attributes:
        arrays: keyword arguments of :meth:`Specification.create`; those of arrays alone.
        scale: (Nhid,) float64, state units per float unit.
        scale_out: (Nout,).
    """

    arrays: dict[str, np.ndarray]
    scale: np.ndarray
    scale_out: np.ndarray


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A program and the scales it was made with.

    Attributes:
        specification: the integers.
        scale: (Nhid,) float64, state units per float unit.
        scale_out: (Nout,).
    """

    specification: Specification
    scale: np.ndarray
    scale_out: np.ndarray


@dataclass(frozen=True, eq=False)
class _Layer:
    """What quantising hidden and output neurons have in common."""

    threshold: Tensor
    bias: Tensor
    """(N,) with the constant synaptic input folded in."""
    dash_syn: Tensor
    """(N, S)."""
    weights: tuple[tuple[Tensor, int], ...]
    """(Nsrc, N, S) or (Nsrc, N) with their shifts, over all neurons of the layer."""
    peak: Tensor | None


def quantise(
    mapped: MappedNetwork, plan: ScalePlan | None = None, scales: Mapping[str, Tensor] | None = None
) -> QuantisedNetwork:
    """Return the program of a mapped network under a plan (shifts, state peaks, headroom).

    ``scales`` by module path, those that a network was trained with, take the place of the rule.

    Output neurons whose threshold is at least the largest of the chip, as networks have that are read out by
    their membrane, do not fire: their threshold limits no scale and becomes the chip's largest.

    Raises:
        ConfigurationError: the plan has peaks, or ``scales`` has scales, for populations that are not in
            the network.
    """
    plan = plan or ScalePlan()
    found = integers_of(mapped, plan, scales)
    specification = Specification.create(
        chip=mapped.chip,
        **found.arrays,
        weight_shift_in=plan.weight_shift_in,
        weight_shift_rec=plan.weight_shift_rec,
        weight_shift_out=plan.weight_shift_out,
        aliases=mapped.aliases,
        dt=mapped.dt,
        populations=mapped.populations,
    )
    return QuantisedNetwork(specification, found.scale, found.scale_out)


def integers_of(
    mapped: MappedNetwork, plan: ScalePlan, scales: Mapping[str, Tensor] | None = None
) -> Integers:
    """Return the integers of a mapped network; see :func:`quantise`."""
    chip = mapped.chip
    peaks = _by_neuron(mapped, plan.peaks, "peaks")
    hidden = _hidden_layer(mapped, plan, peaks.get("hidden"))
    output = _output_layer(mapped, plan, peaks.get("output"))
    given = _by_neuron(mapped, scales or {}, "scales")
    scale = given["hidden"] if given else _scales(hidden, plan, chip)
    scale_out = given["output"] if given else _scales(output, plan, chip)
    n_receiving = mapped.weights_in.shape[1]
    dash_syn = _whole(hidden.dash_syn)
    arrays = {
        "weights_in": _integers(mapped.weights_in, scale[:n_receiving], plan.weight_shift_in, chip),
        "weights_rec": _integers(mapped.weights_rec, scale, plan.weight_shift_rec, chip),
        "weights_out": _integers(mapped.weights_out, scale_out, plan.weight_shift_out, chip),
        "dash_mem": _whole(dashes_of(mapped.decay_mem, chip)),
        "dash_syn": dash_syn[:, 0],
        "dash_mem_out": _whole(dashes_of(mapped.decay_mem_out, chip)),
        "dash_syn_out": _whole(output.dash_syn)[:, 0],
        "threshold": _thresholds(hidden.threshold, scale, chip),
        "threshold_out": _thresholds(output.threshold, scale_out, chip),
        "bias": _biases(hidden, scale, chip),
        "bias_out": _biases(output, scale_out, chip),
    }
    if mapped.n_synapses == 2:
        arrays["dash_syn_2"] = dash_syn[:, 1]
    return Integers(arrays, scale.numpy(), scale_out.numpy())


def _hidden_layer(mapped: MappedNetwork, plan: ScalePlan, peak: Tensor | None) -> _Layer:
    n_in, n_hidden, _ = mapped.shape
    inputs = np.zeros((n_in, n_hidden, mapped.n_synapses))
    inputs[:, : mapped.weights_in.shape[1]] = mapped.weights_in
    weights = (
        (torch.from_numpy(inputs), plan.weight_shift_in),
        (torch.from_numpy(mapped.weights_rec), plan.weight_shift_rec),
    )
    dash_syn = dashes_of(mapped.decay_syn, mapped.chip)
    bias = folded_bias(mapped.bias, mapped.synaptic_bias, dash_syn)
    return _Layer(torch.from_numpy(mapped.threshold), bias, dash_syn, weights, peak)


def _output_layer(mapped: MappedNetwork, plan: ScalePlan, peak: Tensor | None) -> _Layer:
    dash_syn = dashes_of(mapped.decay_syn_out[:, None], mapped.chip)
    bias = folded_bias(mapped.bias_out, mapped.synaptic_bias_out[:, None], dash_syn)
    weights = ((torch.from_numpy(mapped.weights_out), plan.weight_shift_out),)
    return _Layer(torch.from_numpy(mapped.threshold_out), bias, dash_syn, weights, peak)


def _scales(layer: _Layer, plan: ScalePlan, chip: Chip) -> Tensor:
    return neuron_scales(
        weights=layer.weights,
        threshold=layer.threshold,
        bias=layer.bias,
        peak=layer.peak,
        chip=chip,
        headroom=plan.headroom,
    )


def folded_bias(bias: np.ndarray, synaptic_bias: np.ndarray, dash_syn: Tensor) -> Tensor:
    """Return the biases (N,) of membranes, with constant synaptic input (N, S) folded in."""
    own = torch.from_numpy(bias)
    return (
        own + fold_bias(torch.from_numpy(synaptic_bias).reshape(-1), dash_syn) if synaptic_bias.any() else own
    )


def _integers(weights: np.ndarray, scale: Tensor, shift: int, chip: Chip) -> np.ndarray:
    return quantise_weights(torch.from_numpy(weights), scale, shift, chip, integers=True).numpy()


def _thresholds(threshold: Tensor, scale: Tensor, chip: Chip) -> np.ndarray:
    return quantise_threshold(threshold, scale, chip, integers=True).numpy()


def _biases(layer: _Layer, scale: Tensor, chip: Chip) -> np.ndarray:
    return quantise_bias(layer.bias, scale, chip, integers=True).numpy()


def dashes_of(decays: np.ndarray, chip: Chip) -> Tensor:
    """Return the bit shifts that stand for decays in a chip's layout, float64."""
    return dash_for_decay(torch.from_numpy(np.ascontiguousarray(decays)), chip)


def _whole(values: Tensor) -> np.ndarray:
    return values.to(torch.int64).numpy()


def _by_neuron(mapped: MappedNetwork, values: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Return what is given by population for each layer's neurons; 0 where a population has nothing."""
    if not values:
        return {}
    paths = {population.path for population in mapped.populations}
    unknown = [path for path in values if path not in paths]
    if unknown:
        raise ConfigurationError(f"{what}: {unknown_key_message('population', unknown[0], paths)}")
    sizes = {"hidden": mapped.shape[1], "output": mapped.shape[2]}
    found = {layer: torch.zeros(size, dtype=torch.float64) for layer, size in sizes.items()}
    for population in mapped.populations:
        if population.path in values:
            mine = values[population.path].detach().cpu().to(torch.float64)
            found[population.layer][population.start : population.stop] = mine
    return found
