"""The joint transform behind ``for_chip``: all that meets in a neuron is rounded under its one scale."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from snnkit.nn.leaks import tau_to_decay
from snnkit.nn.modules import LIFTorch, aLIFTorch
from snnkit.nn.modules.leak_modes import LEAK_MODES
from snnkit.utilities.chips import Chip

from .chip_graph import INPUT
from .passthrough import straight_through
from .scaling import (
    ScalePlan,
    dash_for_decay,
    decay_for_dash,
    fold_bias,
    neuron_scales,
    quantise_bias,
    quantise_threshold,
    quantise_weights,
)
from .wrappers import TWrapper, core_of, with_values

__all__ = ["ChipMember", "ChipPopulation", "Layer"]

Values = dict[str, dict[str, Any]]
"""Module path -> parameter name -> value."""


@dataclass(frozen=True)
class Layer:
    """Where the weights (and bias) of one matrix onto a population are stored."""

    path: str
    weight: str
    bias: str | None
    transposed: bool
    """True for ``torch.nn.Linear``, whose weight is ``(targets, sources)``."""
    factors: Mapping[int, int]
    """See :class:`snnkit.transforms.chip_graph.Weights`."""

    @property
    def carrier(self) -> int:
        """The source that these weights belong to in the first place."""
        return max(self.factors)


@dataclass(eq=False)
class ChipPopulation:
    """A LIF population and the layers that feed it: computes all their chip values together."""

    chip: Chip
    plan: ScalePlan
    path: str
    is_output: bool
    layers: list[Layer]
    wrappers: dict[str, TWrapper] = field(default_factory=dict, repr=False)

    def values_for(self, path: str, own: dict[str, Any]) -> dict[str, Any]:
        """Return the chip values of the module at ``path``, whose values before are ``own``."""
        before: Values = {
            name: own if name == path else dict(wrapper.single_values())
            for name, wrapper in self.wrappers.items()
        }
        scale, bias, dash_syn = self._scale(before)
        after = self._weights(before, scale)
        if path == self.path:
            after[path] = after.get(path, {}) | self._neurons(before, scale, bias, dash_syn)
        for layer in self.layers:
            if layer.path == path and layer.bias is not None:
                # The chip has no bias on a synapse: it is folded into the neurons' own.
                after[path][layer.bias] = torch.zeros_like(before[path][layer.bias])
        return after.get(path, {})

    def scales(self) -> Tensor:
        """Return the scale of each neuron as the parameters are now: ``(N,)`` float64."""
        before: Values = {name: dict(wrapper.single_values()) for name, wrapper in self.wrappers.items()}
        return self._scale(before)[0]

    def _scale(self, before: Values) -> tuple[Tensor, Tensor, Tensor]:
        """Return scale ``(N,)``, membrane bias with all that is folded in ``(N,)``, dashes ``(N, S)``."""
        neurons, synapses = _layout(self._module)
        own = before[self.path]
        dash_syn = dash_for_decay(with_values(self._module, own).beta, self.chip).expand(neurons, synapses)
        bias = own["bias"].to(torch.float64).expand(neurons)
        for layer in self.layers:
            if layer.bias is not None:
                bias = bias + fold_bias(before[layer.path][layer.bias], dash_syn)
        weights = [(matrix, self._shift(source)) for source, matrix in self._matrices(before).items()]
        if "w_ahp" in own:
            weights.append((own["w_ahp"].expand(neurons)[None], self._shift(self._own_source)))
        scale = neuron_scales(
            weights=weights,
            threshold=own["threshold"].expand(neurons),
            bias=bias,
            peak=self.plan.peaks.get(self.path),
            chip=self.chip,
            headroom=self.plan.headroom,
        )
        return scale, bias, dash_syn

    def _matrices(self, before: Values) -> dict[int, Tensor]:
        """Return the chip's weights from each source ``(Nsrc, N, S)`` float64, the latest source first."""
        total: dict[int, Tensor] = {}
        for layer in self.layers:
            matrix = self._matrix(layer, before)
            for source, factor in layer.factors.items():
                part = factor * matrix
                total[source] = total[source] + part if source in total else part
        return dict(sorted(total.items(), reverse=True))

    def _weights(self, before: Values, scale: Tensor) -> Values:
        """Return the stored weights whose sums are, source by source, what the chip holds."""
        after: Values = {}
        rounded: dict[tuple[str, str], Tensor] = {}
        for source, matrix in self._matrices(before).items():
            wanted = quantise_weights(matrix, scale, self._shift(source), self.chip)
            here = [layer for layer in self.layers if layer.carrier == source]
            for layer in self.layers:
                if source in layer.factors and layer not in here:
                    wanted = wanted - layer.factors[source] * rounded[layer.path, layer.weight]
            for layer in here[:-1]:
                part = self._matrix(layer, before)
                rounded[layer.path, layer.weight] = quantise_weights(
                    part, scale, self._shift(source), self.chip
                )
                wanted = wanted - layer.factors[source] * rounded[layer.path, layer.weight]
            if here:
                # What the sum lost or won by rounding goes to the last of the layers that it consists of.
                last = here[-1]
                rounded[last.path, last.weight] = wanted / last.factors[source]
        for layer in self.layers:
            original = before[layer.path][layer.weight]
            value = rounded[layer.path, layer.weight].flatten(1)
            stored = value.T if layer.transposed else value
            after.setdefault(layer.path, {})[layer.weight] = stored.to(original.dtype)
        return after

    def _neurons(self, before: Values, scale: Tensor, bias: Tensor, dash_syn: Tensor) -> dict[str, Any]:
        """Return threshold, bias, leaks and event cap of the neurons themselves."""
        own, module = before[self.path], self._module
        threshold = own["threshold"].expand(scale.shape)
        values = _snapped_leaks(module, own, self.chip)
        # A threshold that is there so as never to be reached stays where it is.
        rounded = quantise_threshold(threshold, scale, self.chip)
        values["threshold"] = torch.where(threshold >= self.chip.max_threshold, threshold, rounded)
        if self.chip.has_bias:
            values["bias"] = quantise_bias(bias, scale, self.chip).to(own["bias"].dtype)
        else:
            values["bias"] = own["bias"] * 0.0
        if "w_ahp" in own:
            shift = self._shift(self._own_source)
            strength = own["w_ahp"].expand(scale.shape)
            values["w_ahp"] = quantise_weights(strength[None], scale, shift, self.chip)[0]
        cap = self.chip.output_event_cap if self.is_output else self.chip.hidden_event_cap
        allowed = module.max_spikes_per_dt
        per_neuron = isinstance(allowed, Tensor)
        values["max_spikes_per_dt"] = allowed.clamp(max=cap) if per_neuron else min(allowed, cap)
        return values

    @property
    def _module(self) -> Any:
        return core_of(self.wrappers[self.path])

    @property
    def _own_source(self) -> int:
        """A source that is not the input: the weights of a population onto itself."""
        return INPUT + 1

    def _shift(self, source: int) -> int:
        if self.is_output:
            return self.plan.weight_shift_out
        return self.plan.weight_shift_in if source == INPUT else self.plan.weight_shift_rec

    def _matrix(self, layer: Layer, before: Values) -> Tensor:
        weight = before[layer.path][layer.weight].to(torch.float64)
        neurons, synapses = _layout(self._module)
        return (weight.T if layer.transposed else weight).reshape(-1, neurons, synapses)


@dataclass(eq=False)
class ChipMember:
    """The joint transform of one module of a population."""

    population: ChipPopulation
    path: str

    def __call__(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the module's chip values."""
        return self.population.values_for(self.path, values)


def _layout(module: LIFTorch | aLIFTorch) -> tuple[int, int]:
    return module.n_neurons, module.n_synapses


def _snapped_leaks(module: Any, own: Mapping[str, Tensor], chip: Chip) -> dict[str, Any]:
    """Return the leaks, in the module's own leak mode, whose decays are exact bit shifts."""
    mode = LEAK_MODES[module.leak_mode]
    shadow = with_values(module, own)
    snapped = {
        name: _leak_of(dash_for_decay(decay, chip), module.leak_mode, module.dt)
        for name, decay in ((mode.membrane, shadow.alpha), (mode.synapse, shadow.beta))
    }
    if "tau_ahp" in own:
        (gamma,) = tau_to_decay(module.dt, own["tau_ahp"])
        snapped["tau_ahp"] = _leak_of(dash_for_decay(gamma, chip), "taus", module.dt)
    return {name: straight_through(own[name], value) for name, value in snapped.items()}


def _leak_of(dash: Tensor, leak_mode: str, dt: float) -> Tensor:
    if leak_mode == "bitshifts":
        return dash
    decay = decay_for_dash(dash)
    return decay if leak_mode == "decays" else -dt / torch.log(decay)
